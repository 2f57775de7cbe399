"""Runs `kosmos2 serve` as a child of another command, and stops it with that command."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, MappingProxyType

from app.supervisor.termination import ENDING_SIGNALS, exit_for

_SETTINGS = {
    "AIP_HTTP_PORT": "0",  # any port; this name of the setting wins over `KOSMOS2_PORT`
    "KOSMOS2_DRAIN_DELAY_S": "0",  # which only load balancers need
}
_SIGNALS: Mapping[int, Callable[[int, FrameType | None], object]] = MappingProxyType(
    {signal.SIGINT: signal.default_int_handler} | dict.fromkeys(ENDING_SIGNALS, exit_for)
)


@contextmanager
def child_service(environment: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a service on a free port during the block; its standard output has the ready line.

    SIGINT raises `KeyboardInterrupt` in the block, SIGTERM and SIGHUP `SystemExit`, so that the
    service is stopped. Call it in the main thread, the only one in which Python handles signals.

    Args:
        environment: of the service, with its settings.
    """
    interrupts: list[int] = []
    owned: list[subprocess.Popen[str]] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        # Raised inside of `Popen`, it would leave a service without an owner.
        if owned:
            _SIGNALS[number](number, frame)

    with _handling(interrupt), _start(dict(environment) | _SETTINGS) as service:
        try:
            owned.append(service)
            for number in interrupts:
                _SIGNALS[number](number, None)
            yield service
        finally:
            service.terminate()  # during its start, a service may ignore SIGINT like its parent


def _start(environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "app.commands.cli", "serve"]
    return subprocess.Popen(  # noqa: S603 - our own module, no user input
        command, env=environment, stdout=subprocess.PIPE, text=True
    )


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    # Jobs in the background of a script ignore Ctrl-C.
    handled = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, handler_before in previous.items():
            signal.signal(number, handler_before)
