"""A run shows its progress on a terminal and in a file."""

import io

import pytest

from harness.scripted_service import FakeTime
from kosmos2_client.batch.progress import Counts, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(output: io.StringIO, num_pictures: int, pause_s: float) -> str:
    """Return what is printed during a run of pictures, of which the first one fails."""
    time = FakeTime()
    progress = Progress(Counts(num_pictures, 0), output, time.clock)
    for number in range(num_pictures):
        time.advance(pause_s)
        progress.count(is_error=number == 0)
    progress.close()
    return output.getvalue()


def test_a_file_gets_a_line_every_half_minute_and_a_last_one() -> None:
    assert run(io.StringIO(), 8, pause_s=10).splitlines() == [
        "3 of 8 pictures, 0.1 per second, 50 s left, 1 failed",
        "6 of 8 pictures, 0.1 per second, 20 s left, 1 failed",
        "8 of 8 pictures, 0.1 per second, 1 failed",
    ]


def test_a_line_on_a_terminal_replaces_the_one_before() -> None:
    printed = run(Terminal(), 2, pause_s=1)
    assert printed == (
        "\r1 of 2 pictures, 1.0 per second, 1 s left, 1 failed\033[K"
        "\r2 of 2 pictures, 1.0 per second, 1 failed\033[K"
        "\r2 of 2 pictures, 1.0 per second, 1 failed\033[K\n"
    )


@pytest.mark.parametrize("output", [io.StringIO(), Terminal()])
def test_a_run_without_pictures_shows_one_line(output: io.StringIO) -> None:
    printed = run(output, 0, pause_s=1)
    assert printed.count("0 of 0 pictures, 0.0 per second, 0 failed") == 1


def test_the_rate_is_that_of_the_last_minute() -> None:
    """A slow start would otherwise make every estimate too long."""
    time, output = FakeTime(), io.StringIO()
    progress = Progress(Counts(1000, 0), output, time.clock)
    for pause_s in [40.0] * 3 + [1.0] * 90:
        time.advance(pause_s)
        progress.count(is_error=False)
    assert "1.0 per second" in output.getvalue().splitlines()[-1]
