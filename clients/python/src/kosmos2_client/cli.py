"""The command line `kosmos2-client`: each module of `commands` is a command."""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper

from kosmos2_client import commands
from kosmos2_client.errors import Kosmos2ClientError


def main(arguments: Sequence[str] | None = None, program: str = "kosmos2-client") -> int:
    """Run a command and return its exit code; print errors as one line.

    Args:
        arguments: without the name of the program; `None` reads those of the process.
        program: its name in help and errors.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may not use UTF-8
    parsed = _parser(program).parse_args(arguments)
    try:
        exit_code: int = parsed.run(parsed)
    except (Kosmos2ClientError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # as a shell reports a process that SIGINT ended
    return exit_code


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
