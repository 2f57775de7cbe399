"""Logs of processes that see what users send: where a failure was, but none of its words."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

PROGRAM = """
import asyncio, logging, sys
from app.telemetry.logs import configure_logs, get_logger, log_unforeseen
configure_logs("debug", sys.argv[1])
sys.excepthook = log_unforeseen

def fail():
    try:
        {}["a planted marker"]
    except KeyError:
        raise ValueError("a planted marker")

try:
    fail()
except ValueError:
    get_logger().exception("request failed")
logging.getLogger("PIL.TiffImagePlugin").debug("tag: a planted marker")
logging.getLogger("python_multipart.multipart").warning("a planted marker")
fail()
"""


def log_of(process: str) -> list[str]:
    """What a failing process of that kind writes."""
    command = [sys.executable, "-c", PROGRAM, process]
    return subprocess.run(command, capture_output=True, text=True).stderr.splitlines()


@pytest.mark.parametrize("process", ["http", "pictures"])
def test_of_an_exception_its_kind_and_place_are_told_and_not_its_message(process: str) -> None:
    """A message may quote what a user sent."""
    logged = [json.loads(line) for line in log_of(process)]
    assert [line["event"] for line in logged] == ["request failed", "process failed"]
    assert all("in fail" in line["exception"] for line in logged)
    assert all("ValueError" in line["exception"] for line in logged)
    assert all("KeyError" in line["exception"] for line in logged)
    assert "planted" not in str(logged)


def test_where_nobody_sends_anything_an_exception_is_told_whole() -> None:
    """The engine's operator needs the words of CUDA."""
    logged = "\n".join(log_of("engine"))
    assert "ValueError: a planted marker" in logged
    assert "tag: a planted marker" not in logged
