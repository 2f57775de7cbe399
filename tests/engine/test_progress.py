"""The progress of loading in the log."""

from structlog.testing import capture_logs

from app.engine.progress import LOG_PERIOD_S, LoggedProgress, showing_progress


class StandingClock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_loading_logs_a_line_every_few_seconds() -> None:
    clock = StandingClock()
    with capture_logs() as logs:
        progress = LoggedProgress(4_000_000_000, clock)
        for _ in range(40):
            clock.now += LOG_PERIOD_S / 10
            progress.advance(100_000_000)
    assert [(line["event"], line["percent"], line["of_gb"]) for line in logs] == [
        ("loading weights", 25, 4.0),
        ("loading weights", 50, 4.0),
        ("loading weights", 75, 4.0),
        ("loading weights", 100, 4.0),
    ]


def test_a_fast_load_logs_its_end_only() -> None:
    with capture_logs() as logs, showing_progress(1000) as advance:
        advance(1000)
    assert [line["event"] for line in logs] == ["weights loaded"]
    assert 0 <= logs[0]["took_s"] < 60
