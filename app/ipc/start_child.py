"""Runs a module as a child process, without the garbage collector until the child is ready.

    python -m app.ipc.start_child MODULE ARGUMENTS…

Nearly all objects that imports create live as long as the process. Searching them for garbage again
and again takes an eighth of a start.
"""

import gc
import runpy
import sys


def start_collecting() -> None:
    """Turn the garbage collector on; it will not search the objects that exist now."""
    gc.collect()
    gc.freeze()
    gc.enable()


def main() -> None:
    """Run the module that the command line names, with the rest of the command line."""
    gc.disable()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
