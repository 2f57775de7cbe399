"""The end of a child process."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from app.ipc.child_process import ChildProcess
from harness.waiting import eventually

UNREAD_BYTES = 2**17 + 2**14  # more than asyncio keeps before it stops reading
TIMEOUT_S = 60


@pytest.mark.processes
def test_a_child_with_much_unread_output_ends(tmp_path: Path) -> None:
    """Such as a picture process whose request was cancelled as its picture arrived."""
    file = tmp_path / "file"
    file.write_bytes(bytes(2**20))

    async def run() -> int:
        child = await ChildProcess.start("base64", ("-e", str(file)))
        io_counters = psutil.Process(child.pid).io_counters
        # In a thread, so that the loop reads on until its buffers are full.
        written = await asyncio.to_thread(
            eventually, lambda: io_counters().write_chars > UNREAD_BYTES
        )
        assert written
        return await child.end()

    exit_code = asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))
    assert exit_code == -signal.SIGKILL
