"""A service runs with standard streams that are closed or have no reader."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.deployment import free_address, is_answered
from harness.processes import ENGINE, find_process
from harness.waiting import eventually


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_a_service_runs_with_closed_standard_streams(closed: str) -> None:
    """Some start it so in the background. Its socket had the number of such a stream."""
    address = free_address()
    command = [sys.executable, "-m", "app.commands.cli", "serve", "--port", address.split(":")[1]]
    process = subprocess.Popen(["sh", "-c", f'exec "$@" {closed}', "sh", *command])
    try:
        assert eventually(lambda: is_answered(f"http://{address}/readyz"))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_a_service_whose_output_has_no_reader_still_replaces_its_engine(tmp_path: Path) -> None:
    """The line that it is ready cannot be written, as also on a full disk."""
    address = free_address()
    command = [sys.executable, "-m", "app.commands.cli", "serve", "--port", address.split(":")[1]]
    reader, writer = os.pipe()
    os.close(reader)
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=writer, stderr=stream)
    os.close(writer)
    try:
        assert eventually(lambda: "ready line not written" in log.read_text())
        engine = find_process(process.pid, ENGINE)
        assert engine is not None
        engine.kill()
        assert eventually(lambda: find_process(process.pid, ENGINE) not in {None, engine})
        assert eventually(lambda: is_answered(f"http://{address}/readyz"))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
