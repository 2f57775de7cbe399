"""Runs a real service in its own processes, on a free port of the loopback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import psutil

from app.supervisor.ready_line import read_ready
from harness import loopback
from harness.processes import ENGINE, find_process

START_TIMEOUT_S = 180
SHOWN_CHARACTERS = 10_000
SERVE = ("app.commands.cli", ("serve",))
"""The module of `kosmos2 serve` and its arguments."""


@dataclass
class RunningService:
    """A running service.

    Attributes:
        log_file: its standard error. A pipe would fill up and block the service.
    """

    url: str
    process: subprocess.Popen[str]
    log_file: Path

    @property
    def log(self) -> list[str]:
        """The lines logged so far."""
        return self.log_file.read_text().splitlines()

    def child(self, module: str) -> psutil.Process:
        """Return the process that runs a module, such as `harness.processes.HTTP`."""
        process = find_process(self.process.pid, module)
        assert process is not None, f"no process runs {module}"
        return process

    @property
    def engine(self) -> psutil.Process:
        """The engine process."""
        return self.child(ENGINE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def metric(self, name: str) -> float:
        """Return the value of one series, named with its labels as Prometheus prints it."""
        text = loopback.get(f"{self.url}/metrics").text
        values = [line.split()[-1] for line in text.splitlines() if line.split()[0] == name]
        return float(values[0]) if values else 0.0


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the environment variables that set fields of `app.settings.Settings`.

    >>> environment_of({"port": 0})
    {'KOSMOS2_PORT': '0'}
    """
    return {f"KOSMOS2_{name.upper()}": str(value) for name, value in settings.items()}


@contextmanager
def running_service(*program: str, **settings: object) -> Iterator[RunningService]:
    """Start a service with settings as in `app.settings.Settings`; stop it at the end.

    By default it uses any free port and exits as soon as no request runs.

    Args:
        program: a module and its arguments; by default `kosmos2 serve`.
    """
    settings = {"port": 0, "drain_delay_s": 0} | settings
    module, arguments = (program[0], program[1:]) if program else SERVE
    with NamedTemporaryFile("w", suffix=".log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=os.environ | environment_of(settings),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log_file = Path(log.name)
        try:
            yield RunningService(_wait_until_ready(process, log_file), process, log_file)
        except BaseException:
            print(log_file.read_text()[-SHOWN_CHARACTERS:], file=sys.stderr)  # shown by pytest
            raise
        finally:
            process.send_signal(signal.SIGINT)  # unlike SIGTERM, it skips the drain delay
            process.communicate(timeout=60)  # closes the pipe, even if the service has crashed


def _wait_until_ready(process: subprocess.Popen[str], log_file: Path) -> str:
    url = read_ready(process.stdout or ())
    if url is not None:
        return url
    process.communicate(timeout=START_TIMEOUT_S)
    raise RuntimeError(f"the service did not start: {log_file.read_text()[-2000:]}")
