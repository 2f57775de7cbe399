"""Runs `kosmos2 serve` as a child of another command, and stops it with that command."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

_ANY_PORT = {"AIP_HTTP_PORT": "0"}  # this name of the setting wins over `KOSMOS2_PORT`
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def child_service(environment: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a service on a free port during the block; its standard output has the ready line.

    SIGTERM raises `KeyboardInterrupt` in the block, as SIGINT does, so that the service is stopped.
    Call it in the main thread, the only one in which Python handles signals.

    Args:
        environment: of the service, with its settings.
    """
    interrupts: list[int] = []
    owned: list[subprocess.Popen[str]] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        interrupts.append(number)
        # Raised inside of `Popen`, it would leave a service without an owner.
        if owned:
            raise KeyboardInterrupt

    with _handling(interrupt), _start(dict(environment) | _ANY_PORT) as service:
        try:
            owned.append(service)
            if interrupts:
                raise KeyboardInterrupt
            yield service
        finally:
            # Unlike SIGTERM, SIGINT skips the drain delay, which only load balancers need.
            service.send_signal(signal.SIGINT)


def _start(environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "app.commands.cli", "serve"]
    return subprocess.Popen(  # noqa: S603 - our own module, no user input
        command, env=environment, stdout=subprocess.PIPE, text=True
    )


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    previous = [signal.signal(number, handler) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler_before in zip(_SIGNALS, previous, strict=True):
            signal.signal(number, handler_before)
