"""The command line `kosmos2-client`: each module of `commands` is a command."""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper

from kosmos2_client import commands
from kosmos2_client.errors import Kosmos2ClientError
from kosmos2_client.texts import reason_of


def main(arguments: Sequence[str] | None = None, program: str = "kosmos2-client") -> int:
    """Run a command and return its exit code; print errors as one line.

    Args:
        arguments: without the name of the program; `None` reads those of the process.
        program: its name in help and errors.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may not use UTF-8
    try:
        return _run(program, arguments)
    except (Kosmos2ClientError, OSError) as error:
        if not isinstance(error, BrokenPipeError):  # the reader, such as `head`, closed the pipe
            reason = reason_of(error) if isinstance(error, OSError) else error
            print(f"{program}: {reason}", file=sys.stderr)
        _discard_output()
        return 1
    except KeyboardInterrupt:
        return 130  # as a shell reports a process that SIGINT ended


def _run(program: str, arguments: Sequence[str] | None) -> int:
    try:
        parsed = _parser(program).parse_args(arguments)
        exit_code: int = parsed.run(parsed)
        return exit_code
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def _discard_output() -> None:
    """Discard what cannot be printed: Python prints it once more at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Send pictures to a Kosmos-2 service, and use the answers.",
    )
    parser.add_argument("--version", action="version", version=_version())
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for found in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"{commands.__name__}.{found.name}")
        subparser = module.add_parser(subparsers)
        subparser.set_defaults(run=module.run)
    return parser


def _version() -> str:
    try:
        return version("kosmos2-client")
    except PackageNotFoundError:  # run from a checkout without an installation
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
