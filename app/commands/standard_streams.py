"""Keeps a program running whose standard streams are closed, full, or have no reader."""

import os
import sys

from app.supervisor.ready_line import Ready
from app.telemetry.logs import get_logger
from kosmos2_client.texts import reason_of


def open_standard_streams() -> None:
    """Replace closed streams by /dev/null; otherwise the next socket would get the number of one.

    A child process would then have a pipe in the place of the socket that it inherits.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Opening gives the lowest free number, which is that of the stream.
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode))


def announce(ready: Ready) -> None:
    """Print that the service is ready; if that fails, log it, and discard later output."""
    try:
        ready.print_to(sys.stdout)
    except OSError as error:  # the reader of the pipe has ended, or the disk is full
        get_logger().warning("ready line not written", reason=reason_of(error))
        discard_output()


def discard_output() -> None:
    """Discard what is left for standard output, so that Python's flush at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
