"""The line that `kosmos2 serve` prints when it is ready, to a terminal and to a pipe."""

import json
from dataclasses import replace
from io import StringIO

from app.supervisor.ready_line import Ready, read_ready

READY = Ready("http://127.0.0.1:8000", "http://127.0.0.1:9000", "curl http://127.0.0.1:8000")


class Terminal(StringIO):
    """Captures the output to a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_program_can_read_the_url_from_a_pipe() -> None:
    pipe = StringIO()
    READY.print_to(pipe)
    assert read_ready(pipe.getvalue().splitlines()) == READY.url


def test_the_json_line_has_both_urls_and_the_message() -> None:
    pipe = StringIO()
    READY.print_to(pipe)
    (line,) = pipe.getvalue().splitlines()
    assert json.loads(line) == {
        "event": "ready",
        "url": "http://127.0.0.1:8000",
        "ops_url": "http://127.0.0.1:9000",
        "message": "Ready at http://127.0.0.1:8000. Try: curl http://127.0.0.1:8000",
    }


def test_a_terminal_shows_text() -> None:
    terminal = Terminal()
    READY.print_to(terminal)
    assert terminal.getvalue() == (
        "Health and metrics at http://127.0.0.1:9000.\n"
        "Ready at http://127.0.0.1:8000. Try:\n"
        "  curl http://127.0.0.1:8000\n"
    )


def test_a_terminal_shows_one_url_if_there_is_one_port() -> None:
    terminal = Terminal()
    replace(READY, ops_url=None).print_to(terminal)
    assert terminal.getvalue().startswith("Ready at http://127.0.0.1:8000. Try:\n")


def test_reading_returns_none_if_the_service_ends_before_it_is_ready() -> None:
    assert read_ready(['{"event": "started"}']) is None
    assert read_ready([]) is None
