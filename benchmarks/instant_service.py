"""The real service around an engine that answers at once.

    python -m benchmarks.instant_service CHECKPOINT PORT

All that stands between a client and the engine is there: supervisor, HTTP process, decoders.
"""

import asyncio
import sys

from app.checkpoint import open_checkpoint
from app.ipc.run_directory import RunDirectory
from app.settings import Settings
from app.supervisor.listener import listen


def main() -> None:
    """Serve until SIGTERM."""
    settings = Settings(
        model=sys.argv[1], port=int(sys.argv[2]), drain_delay_s=0, log_level="warning"
    )
    checkpoint = open_checkpoint(settings.model, settings.revision)
    listener = listen(settings.host, settings.port)

    async def run(run_directory: RunDirectory) -> int:
        from app.supervisor.supervisor import (
            Supervisor,  # counts, so the run directory has to be there
        )

        supervisor = Supervisor(
            settings, checkpoint, run_directory, listener, "benchmarks.instant_engine"
        )
        return await supervisor.run(lambda: None)

    with RunDirectory.create(settings, checkpoint) as run_directory:
        sys.exit(asyncio.run(run(run_directory)))


if __name__ == "__main__":
    main()
