"""An engine without a model: the first dies while it runs requests, the second during its start.

The third is ready until its parent's pipe closes.
"""

import os
import signal
import sys
from pathlib import Path
from time import monotonic

from app.ipc.child_process import report_ready
from app.ipc.run_directory import RunDirectory
from app.ipc.shared_state import EngineFacts

MODULE = "harness.dying_engine"
RUNNING = [7, 8]
"""Keys of the requests that the first engine runs."""


def main() -> None:
    """Do what the number of this engine requires."""
    state = RunDirectory(Path(sys.argv[1])).open_state()
    if state.epoch == 2:
        sys.exit(1)
    state.stamp(monotonic(), allowance_s=3600)
    state.mark_engine_ready(EngineFacts(1, 1, "cpu", "float32"))
    if state.epoch == 1:
        state.set_running(RUNNING)
        report_ready()
        os.kill(os.getpid(), signal.SIGKILL)
    report_ready()
    sys.stdin.read()


if __name__ == "__main__":
    main()
