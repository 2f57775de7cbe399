"""`kosmos2 serve` with another engine module, which `app` itself cannot start.

    python -m harness.serve_with_engine ENGINE_MODULE

The settings are read from the environment.
"""

import asyncio
import sys

from app.checkpoint.files import open_checkpoint
from app.ipc.run_directory import RunDirectory
from app.settings import Settings
from app.supervisor.listener import listen
from app.supervisor.ready_line import Ready
from app.telemetry.logs import configure_logs


def main() -> None:
    """Serve until a signal arrives."""
    settings, engine_module = Settings(), sys.argv[1]
    listener = listen(settings.host, settings.port)
    checkpoint = open_checkpoint(settings.model, settings.revision)
    configure_logs(settings.log_level, "supervisor", settings.log_format)
    url = f"http://{settings.host}:{listener.getsockname()[1]}"
    ready = Ready(url, ops_url=None, example=f"curl {url}/readyz")

    async def run(run_directory: RunDirectory) -> int:
        # Here, because it imports prometheus_client, which must find the run directory.
        from app.supervisor.supervisor import Supervisor

        supervisor = Supervisor(settings, checkpoint, run_directory, listener, engine_module)
        return await supervisor.run(lambda: ready.print_to(sys.stdout))

    with RunDirectory.create(settings, checkpoint) as run_directory:
        exit_code = asyncio.run(run(run_directory))
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
