"""The processes of a running service and their resource usage, seen from outside."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from app.ipc.run_directory import RunDirectory
from app.ipc.shared_state import SharedState
from harness.processes import ENGINE, HTTP, PICTURE, find_processes

_NAMES = {ENGINE: "engine", HTTP: "http", PICTURE: "picture"}


@dataclass(frozen=True)
class Usage:
    """The resource usage of all processes of one kind.

    Attributes:
        resident_bytes: without pages of files where the system reports them (Linux). All programs
            share those pages: as other programs start and exit, the share that is charged to a
            process changes by tens of megabytes.
        num_descriptors: open files and sockets without established connections, whose number
            depends on the clients. A connection that its client has closed counts.
        num_threads: of all processes of the kind.
    """

    num_processes: int = 0
    resident_bytes: int = 0
    num_descriptors: int = 0
    num_threads: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum of both usages."""
        mine, others = asdict(self), asdict(other)
        return Usage(**{name: mine[name] + others[name] for name in mine})


class ServiceProcesses:
    """Finds the current processes of a service; processes may start and exit at any time.

    Args:
        supervisor_pid: of the process that `kosmos2 serve` started.
    """

    def __init__(self, supervisor_pid: int) -> None:
        self._supervisor_pid = supervisor_pid

    def of(self, module: str) -> list[psutil.Process]:
        """Return the processes that run a module: `ENGINE`, `HTTP` or `PICTURE`."""
        return [process for process, _ in find_processes(self._supervisor_pid, module)]

    def open_state(self) -> SharedState:
        """Open the state that the processes share. Only read it."""
        # The only argument of an engine process; nothing else reveals the directory.
        run_directory = Path(self.of(ENGINE)[0].cmdline()[-1])
        return RunDirectory(run_directory).open_state()

    def usage(self) -> dict[str, Usage]:
        """Return the usage by kind of process: supervisor, engine, http, picture."""
        total = {"supervisor": Usage(), **{name: Usage() for name in _NAMES.values()}}
        children = find_processes(self._supervisor_pid, *_NAMES)
        for process, module in [*children, (psutil.Process(self._supervisor_pid), "")]:
            name = _NAMES.get(module, "supervisor")
            try:
                total[name] += _usage_of(process)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue  # the process has exited since it was listed
        return total


def _usage_of(process: psutil.Process) -> Usage:
    memory = process.memory_info()
    of_files = memory.shared if sys.platform == "linux" else 0
    standing = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED]
    num_descriptors = process.num_fds() - len(standing)
    return Usage(1, memory.rss - of_files, num_descriptors, process.num_threads())
