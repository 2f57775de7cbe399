"""Replaces standard streams with which a program was started closed, as by `kosmos2 serve <&-`."""

import os
import sys


def open_standard_streams() -> None:
    """Replace closed streams by /dev/null; otherwise the next socket would get the number of one.

    A child process would then have a pipe in the place of the socket that it inherits.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(
                os.devnull, os.O_RDWR
            )  # the lowest free number: that of the stream
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode))
