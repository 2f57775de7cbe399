"""A child process runs its module as a program, and collects garbage once it is ready."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc
import sys
from app.ipc.child_process import report_ready

print(__name__, sys.argv[1:], gc.isenabled(), flush=True)
report_ready()
print(gc.isenabled(), gc.get_freeze_count() > 0)
"""


@pytest.mark.processes
def test_a_child_collects_no_garbage_until_it_is_ready(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "app.ipc.start_child", "program", "--an", "argument"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "__main__ ['--an', 'argument'] False",
        "ready",
        "True True",
    ]
