"""`kosmos2 serve` with an engine that has faults, which nothing in `app` can start.

    python -m tests.support.faulty_service

The settings are those of the environment.
"""

import asyncio
import sys

from app.checkpoint import open_checkpoint
from app.listener import listen
from app.logs import configure_logs
from app.run_directory import RunDirectory
from app.settings import Settings


def main() -> None:
    """Serve until a signal."""
    settings = Settings()
    listener = listen(settings.host, settings.port)
    checkpoint = open_checkpoint(settings.model)
    configure_logs(settings.log_level, "supervisor")
    url = f"http://{settings.host}:{listener.getsockname()[1]}"

    async def run(run_directory: RunDirectory) -> int:
        from app.supervisor import Supervisor  # counts, so the run directory has to be there

        engine = "tests.support.faulty_engine"
        supervisor = Supervisor(settings, checkpoint, run_directory, listener, engine_module=engine)
        return await supervisor.run(lambda: print(f"Ready at {url}. ", flush=True))

    with RunDirectory.create(settings, checkpoint) as run_directory:
        exit_code = asyncio.run(run(run_directory))
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
