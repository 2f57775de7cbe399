"""`kosmos2 serve` with limits of open descriptors, as a shell or a container sets them.

    python -m harness.limited_descriptors SOFT HARD

The settings are those of the environment.
"""

import resource
import sys

from app.commands.cli import main

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
    sys.argv[1:] = ["serve"]
    main()
