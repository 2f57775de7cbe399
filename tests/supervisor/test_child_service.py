"""A service that another command starts ends with that command."""

import signal
import subprocess
import sys

import psutil
import pytest

from harness.waiting import eventually


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("is_early", [True, False], ids=["early", "later"])
def test_a_signal_to_the_command_ends_its_service(number: signal.Signals, is_early: bool) -> None:
    """At once after the fork, and after the service's own processes have started."""
    command = [sys.executable, "-m", "app.commands.cli", "demo"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
        process = psutil.Process(demo.pid)
        at_least = 1 if is_early else 3
        assert eventually(lambda: len(process.children(recursive=True)) >= at_least)
        children = process.children(recursive=True)
        demo.send_signal(number)
    _gone, left = psutil.wait_procs(children, timeout=60)
    assert left == []
