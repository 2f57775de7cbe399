"""Starts commands, and finds the processes of a running service by the module that they run."""

import signal
import sys
from collections.abc import Iterator

import psutil

ENGINE, HTTP, PICTURE = "app.engine.process", "app.http.process", "app.pictures.workers.process"
FAULTY_ENGINE = "harness.faulty_engine"


def find_processes(supervisor_pid: int, *modules: str) -> Iterator[tuple[psutil.Process, str]]:
    """Yield each process below a supervisor that runs one of the modules, with its module."""
    for process in psutil.Process(supervisor_pid).children(recursive=True):
        try:
            command = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue  # the process has exited since it was listed
        yield from ((process, module) for module in modules if module in command)


def find_process(supervisor_pid: int, module: str) -> psutil.Process | None:
    """Return a process below a supervisor that runs a module, or `None`."""
    return next((process for process, _ in find_processes(supervisor_pid, module)), None)


# Children of a test run would inherit how that run itself was started.
_WITH_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def in_foreground(*arguments: str) -> list[str]:
    """Return the command line of a Python process that Ctrl-C reaches, as on a terminal."""
    return [sys.executable, "-c", _WITH_SIGINT, "SIG_DFL", *arguments]


def in_background(*arguments: str) -> list[str]:
    """Return the command line of a Python process that ignores Ctrl-C, as a script starts it."""
    return [sys.executable, "-c", _WITH_SIGINT, "SIG_IGN", *arguments]


ENDINGS = (
    (in_foreground, signal.SIGINT, 130),
    (in_foreground, signal.SIGTERM, 143),
    (in_foreground, signal.SIGHUP, 129),
    (in_background, signal.SIGTERM, 143),
)
"""How a command is started, the signal that ends it, and its exit code."""
