"""Runs a module as a child process that starts sooner.

    python -m app.ipc.start_child MODULE ARGUMENTS…

The garbage collector is off until the child is ready. Nearly all objects that imports create live
as long as the process, and searching them for garbage again and again takes an eighth of a start.
structlog is imported without rich.
"""

import gc
import runpy
import sys


def start_collecting() -> None:
    """Turn the garbage collector on; it will not search the objects that exist now."""
    gc.collect()
    gc.freeze()
    gc.enable()


def import_structlog_alone() -> None:
    """Import structlog without rich, which it would use for coloured tracebacks only."""
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python reports it as missing
    import structlog  # noqa: F401

    del sys.modules["rich"]


def main() -> None:
    """Run the module that the command line names, with the rest of the command line."""
    gc.disable()
    import_structlog_alone()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
