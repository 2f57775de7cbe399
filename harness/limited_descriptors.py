"""`kosmos2 serve` with a limit on open descriptors, as set by a shell or a container.

    python -m harness.limited_descriptors SOFT HARD

The settings are read from the environment.
"""

import resource
import sys

from app.commands.cli import main

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
    sys.argv[1:] = ["serve"]
    main()
