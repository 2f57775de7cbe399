"""This service and its peers, each started afresh on a free port with the same checkpoint."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import MappingProxyType

import httpx

from app.bench.workload import embedded_scenes

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 30.0
_PAUSE_S = 0.1
_FIRST_REQUEST = {"task": "brief_caption"}


@dataclass(frozen=True)
class Contestant:
    """A server that answers `POST /v1/ground`.

    Attributes:
        name: in tables.
        module: that is run; `{checkpoint}` and `{port}` in its arguments are filled in.
        arguments: of its command line.
        environment: beside the caller's.
        needs: the library that it is built on, of the extra `bench`; none: nothing of it.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = None

    @property
    def is_installed(self) -> bool:
        """Whether it can run here."""
        return self.needs is None or find_spec(self.needs) is not None

    def command(self, checkpoint: Path, port: int) -> list[str]:
        """What starts it."""
        filled = [part.format(checkpoint=checkpoint, port=port) for part in self.arguments]
        return [sys.executable, "-m", self.module, *filled]


@dataclass(frozen=True)
class Running:
    """A contestant that answers.

    Attributes:
        url: where.
        start_s: from its start to its first answer.
    """

    url: str
    start_s: float


def service(name: str = "this service", **settings: object) -> Contestant:
    """This service, with settings as in `app.settings.Settings`."""
    environment = {f"KOSMOS2_{key.upper()}": str(value) for key, value in settings.items()}
    return Contestant(
        name,
        "app.commands.cli",
        ("serve", "--model", "{checkpoint}", "--port", "{port}"),
        {"KOSMOS2_DRAIN_DELAY_S": "0", "KOSMOS2_LOG_LEVEL": "warning"} | environment,
    )


def one_at_a_time(threads: int = 1) -> Contestant:
    """`generate` behind FastAPI and a lock."""
    return _peer("generate, one at a time", "one_at_a_time", None, threads)


def litserve(threads: int = 1) -> Contestant:
    """LitServe with batches."""
    return _peer("LitServe", "litserve_batches", "litserve", threads)


def ray_serve(threads: int = 1) -> Contestant:
    """Ray Serve with batches; it tells nobody of being used."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    return _peer("Ray Serve", "ray_serve_batches", "ray", threads, quiet)


def _peer(
    name: str,
    module: str,
    needs: str | None,
    threads: int,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Contestant:
    places = ("--checkpoint", "{checkpoint}", "--port", "{port}")
    arguments = (*places, "--threads", str(threads))
    return Contestant(name, f"benchmarks.peers.{module}", arguments, environment, needs)


@contextmanager
def running(contestant: Contestant, checkpoint: Path) -> Iterator[Running]:
    """A contestant for as long as the block lasts; it and all it has started end with it.

    Raises:
        RuntimeError: it did not answer in time.
    """
    port = _free_port()
    with NamedTemporaryFile("w+", suffix=".log") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            contestant.command(checkpoint, port),
            env={**os.environ, **contestant.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            if not _answers(url, process, began + START_TIMEOUT_S):
                raise RuntimeError(f"{contestant.name}: {Path(log.name).read_text()[-2000:]}")
            yield Running(url, time.monotonic() - began)
        finally:
            _stop(process)


def _answers(url: str, process: "subprocess.Popen[bytes]", deadline: float) -> bool:
    """Wait for a first answer; servers that are built alike have nothing else in common."""
    picture = embedded_scenes()[0]
    while process.poll() is None and time.monotonic() < deadline:
        try:
            response = httpx.post(
                f"{url}/v1/ground", files={"image": picture}, data=_FIRST_REQUEST, timeout=60
            )
        except httpx.TransportError:
            time.sleep(_PAUSE_S)
            continue
        if response.is_success:
            return True
        time.sleep(_PAUSE_S)
    return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
