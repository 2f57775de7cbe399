"""Prints the service's OpenAPI document; `make openapi` writes it to `docs/openapi.json`.

python -m app.http.openapi_document
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from app.checkpoint.files import open_checkpoint
from app.http.app import create_app
from app.ipc.admission import Admission
from app.ipc.engine_client import EngineClient
from app.ipc.shared_state import SharedState
from app.pictures.workers.pool import PicturePool
from app.settings import EMBEDDED_CHECKPOINT, Settings


def describe(settings: Settings | None = None) -> dict[str, Any]:
    """Return the document that `/openapi.json` serves, without starting an engine.

    Args:
        settings: of the service; `None`: those of the environment.
    """
    settings = settings or Settings()
    with tempfile.TemporaryDirectory() as directory:
        state = SharedState(Path(directory) / "state")
        engine = EngineClient(f"ipc://{directory}/no-engine.sock", state)
        try:
            checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
            pictures = PicturePool(settings)  # not entered, so it starts no processes
            return create_app(
                settings, checkpoint, Admission(state, worker=0), engine, pictures
            ).openapi()
        finally:
            engine.close()


def main() -> None:
    """Print the document in the format of the committed file."""
    print(json.dumps(describe(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
