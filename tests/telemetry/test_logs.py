"""Logs: their format, and that no words of a user appear in them."""

import json
import os
import pty
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

PROGRAM = """
import asyncio, logging, sys, threading, warnings
from app.telemetry.logs import configure_logs, get_logger
configure_logs("debug", *sys.argv[1:])

def fail():
    try:
        {}["a planted marker"]
    except KeyError:
        raise ValueError("a planted marker")

try:
    fail()
except ValueError:
    get_logger().exception("request failed", num_slots=4)
logging.getLogger("PIL.TiffImagePlugin").debug("tag: a planted marker")
logging.getLogger("python_multipart.multipart").warning("a planted marker")
thread = threading.Thread(target=warnings.warn, args=("a library warns",))
thread.start()
thread.join()
fail()
"""


def log_of(*arguments: str) -> list[str]:
    """Return the lines that a failing process writes to a pipe; the first argument is its kind."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True).stderr.splitlines()


def terminal_log_of(*arguments: str) -> str:
    """Return the text that a failing process writes to a terminal."""
    terminal, process_side = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stderr=process_side)
    os.close(process_side)
    chunks = []
    try:
        while chunk := os.read(terminal, 4096):
            chunks.append(chunk)
    except OSError:  # Linux reports the closed terminal as an I/O error, macOS as an empty read
        pass
    os.close(terminal)
    process.wait()
    return b"".join(chunks).decode()


@pytest.mark.parametrize("process", ["http", "pictures"])
def test_a_process_with_user_data_logs_where_it_failed_but_not_the_message(process: str) -> None:
    """A message may quote the request."""
    logged = [json.loads(line) for line in log_of(process)]
    failed, warning, ended = logged
    assert "a library warns" in warning["event"]
    assert [line["event"] for line in (failed, ended)] == ["request failed", "process failed"]
    assert all("in fail" in line["exception"] for line in (failed, ended))
    assert all("ValueError" in line["exception"] for line in (failed, ended))
    assert all("KeyError" in line["exception"] for line in (failed, ended))
    assert "planted" not in str(logged)


def test_the_engine_logs_messages_of_exceptions() -> None:
    """An operator needs the text of a CUDA error."""
    logged = "\n".join(log_of("engine"))
    assert "ValueError: a planted marker" in logged
    assert "tag: a planted marker" not in logged


def test_warnings_and_the_exception_that_ends_a_process_are_log_lines_too() -> None:
    """A program that reads the log as JSON would otherwise stop at the first traceback."""
    lines = [json.loads(line) for line in log_of("engine")]
    assert [line["level"] for line in lines] == ["error", "warning", "critical"]


def test_every_line_names_its_process_those_of_other_threads_too() -> None:
    """The sender of traces logs in a thread of its own."""
    assert [json.loads(line)["process"] for line in log_of("engine")] == ["engine"] * 3


def test_a_pipe_gets_json_and_a_terminal_gets_text() -> None:
    first = json.loads(log_of("engine")[0])
    assert (first["event"], first["num_slots"], first["level"]) == ("request failed", 4, "error")
    shown = terminal_log_of("engine")
    assert "request failed" in shown
    assert "\x1b[" in shown, "a terminal shows colors"
    assert '"event"' not in shown


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_format_that_is_set_applies_to_pipes_and_terminals(log_format: str) -> None:
    is_json = log_format == "json"
    assert ('"event": "request failed"' in terminal_log_of("engine", log_format)) == is_json
    piped = "\n".join(log_of("engine", log_format))
    assert ('"event": "request failed"' in piped) == is_json
    assert "request failed" in piped
    assert "\x1b[" not in piped, "escape codes make a file unreadable"


@pytest.mark.parametrize("process", ["http", "pictures"])
def test_text_of_a_process_with_user_data_omits_messages_too(process: str) -> None:
    logged = "\n".join(log_of(process, "text"))
    assert "in fail" in logged
    assert "planted" not in logged
