"""The thread of the engine that runs passes has a lower priority than everything else."""

import os
from pathlib import Path

from harness.service import RunningService


def niceness_of_threads(pid: int) -> dict[int, int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(task.name): os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks}


def test_only_the_loop_has_a_lower_priority(service: RunningService) -> None:
    """The main thread is the loop; a thread that it started later would have its priority."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    niceness = niceness_of_threads(service.engine.pid)
    assert niceness.pop(service.engine.pid) > own
    assert len(niceness) > 1
    assert set(niceness.values()) == {own}
