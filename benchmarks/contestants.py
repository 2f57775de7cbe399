"""This service and its peers, each restarted on a free port with the same checkpoint."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import MappingProxyType
from typing import IO

import httpx

from app.bench.workload import embedded_scenes
from harness.deployment import free_address
from harness.service import SERVE, environment_of
from harness.waiting import eventually

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 30.0
_FIRST_REQUEST = {"task": "brief_caption"}
_OURS = environment_of(
    {"model": "{checkpoint}", "port": "{port}", "drain_delay_s": 0, "log_level": "warning"}
)


@dataclass(frozen=True)
class Contestant:
    """A server that answers `POST /v1/ground`.

    Attributes:
        arguments: of the command line; `{checkpoint}` and `{port}` are replaced.
        environment: added to the caller's; `{checkpoint}` and `{port}` are replaced.
        needs: the library of the extra `bench` that it requires, or `None`.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = None

    @property
    def is_installed(self) -> bool:
        """Whether its library is installed."""
        return self.needs is None or find_spec(self.needs) is not None

    def start(self, checkpoint: Path, port: int, log: IO[str]) -> "subprocess.Popen[bytes]":
        """Start the server with its log in a file."""

        def fill(part: str) -> str:
            return part.format(checkpoint=checkpoint, port=port)

        return subprocess.Popen(
            [sys.executable, "-m", self.module, *map(fill, self.arguments)],
            env=os.environ | {name: fill(value) for name, value in self.environment.items()},
            stdout=log,
            stderr=log,
            # A process group of its own, which `_stop` can kill as a whole.
            start_new_session=True,
        )


def service(name: str = "this service", **settings: object) -> Contestant:
    """Return this service, with settings as in `app.settings.Settings`."""
    return Contestant(name, *SERVE, _OURS | environment_of(settings))


def service_with_engine(engine_module: str, name: str) -> Contestant:
    """Return this service with another engine; all other parts are the real ones."""
    return Contestant(name, "harness.serve_with_engine", (engine_module,), _OURS)


def one_at_a_time(threads: int = 1) -> Contestant:
    """Return `generate` behind FastAPI and a lock."""
    return _peer("generate, one at a time", "one_at_a_time", None, threads)


def litserve(threads: int = 1) -> Contestant:
    """Return LitServe with batches."""
    return _peer("LitServe", "litserve_batches", "litserve", threads)


def ray_serve(threads: int = 1) -> Contestant:
    """Return Ray Serve with batches, without its usage statistics."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    return _peer("Ray Serve", "ray_serve_batches", "ray", threads, quiet)


def _peer(
    name: str,
    module: str,
    needs: str | None,
    threads: int,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Contestant:
    arguments = ("--checkpoint", "{checkpoint}", "--port", "{port}", "--threads", str(threads))
    return Contestant(name, f"benchmarks.peers.{module}", arguments, environment, needs)


@contextmanager
def running(contestant: Contestant, checkpoint: Path) -> Iterator[str]:
    """Run a contestant and yield its URL; all its processes end with the block.

    Raises:
        RuntimeError: the contestant did not answer in time.
    """
    address = free_address()
    url, port = f"http://{address}", int(address.rpartition(":")[2])
    # A file, because a pipe that is not read would block a server that logs a lot.
    with NamedTemporaryFile("w+", suffix=".log") as log:
        process = contestant.start(checkpoint, port, log)
        try:
            # The contestants have no common health check, so wait for a first answer.
            has_settled = eventually(
                lambda: process.poll() is not None or _is_answered(url), START_TIMEOUT_S
            )
            if not has_settled or process.poll() is not None:
                raise RuntimeError(f"{contestant.name}: {Path(log.name).read_text()[-2000:]}")
            yield url
        finally:
            _stop(process)


def _is_answered(url: str) -> bool:
    picture = embedded_scenes()[0]
    try:
        response = httpx.post(
            f"{url}/v1/ground", files={"image": picture}, data=_FIRST_REQUEST, timeout=60
        )
    except httpx.TransportError:
        return False
    return response.is_success


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    # Workers of a peer may outlive the process that started them.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
