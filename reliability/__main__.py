"""`make reliability`: runs all tools in sequence, then writes the page with their results.

    python -m reliability [--quick] [--out FOLDER]

If one tool fails, the others still run, and the exit code is 1.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from reliability.page import PAGE, RESULTS, render

TOOLS = ("soak", "chaos", "overload", "fuzz", "keys", "audit")
_QUICK = {
    "soak": ("--seconds", "30"),
    "chaos": ("--seconds", "20"),
    "overload": ("--seconds", "5"),
    "fuzz": ("--count", "5"),
}


def main() -> int:
    """Run the tools as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a rehearsal of minutes, not an hour")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    arguments = parser.parse_args()
    num_failed = 0
    for tool in TOOLS:
        print(f"== {tool}", file=sys.stderr)
        options = _QUICK.get(tool, ()) if arguments.quick else ()
        command = [sys.executable, "-m", f"reliability.{tool}", "--out", str(arguments.out)]
        num_failed += subprocess.run([*command, *options], check=False).returncode != 0
    # Results in another folder are a rehearsal: the page keeps the committed ones.
    if arguments.out == RESULTS:
        PAGE.write_text(render(RESULTS))
    return 1 if num_failed else 0


if __name__ == "__main__":
    sys.exit(main())
