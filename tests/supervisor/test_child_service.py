"""A service that another command starts ends with that command."""

import signal
import subprocess
from collections.abc import Callable

import psutil
import pytest

from harness.processes import ENDINGS, in_background
from harness.waiting import eventually


@pytest.mark.parametrize(("start", "number", "exit_code"), ENDINGS)
@pytest.mark.parametrize("is_early", [True, False], ids=["early", "later"])
def test_a_signal_to_the_command_ends_its_service(
    start: Callable[..., list[str]], number: signal.Signals, exit_code: int, is_early: bool
) -> None:
    """At once after the fork, and after the service's own processes have started."""
    command = start("-m", "app.commands.cli", "demo")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
        process = psutil.Process(demo.pid)
        at_least = 1 if is_early else 3
        assert eventually(lambda: len(process.children(recursive=True)) >= at_least)
        children = process.children(recursive=True)
        demo.send_signal(number)
    _gone, left = psutil.wait_procs(children, timeout=60)
    assert (demo.returncode, left) == (exit_code, [])


def test_ctrl_c_does_not_end_a_background_job_of_a_script() -> None:
    command = in_background("-m", "app.commands.cli", "demo")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as demo:
        process = psutil.Process(demo.pid)
        assert eventually(lambda: len(process.children(recursive=True)) >= 1)
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=120)
    assert demo.returncode == 0
