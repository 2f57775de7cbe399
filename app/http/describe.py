"""Prints the service's OpenAPI description: `make openapi` keeps it in `docs/openapi.json`.

python -m app.http.describe
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from app.checkpoint import open_checkpoint
from app.engine.client import EngineClient
from app.http.app import create_app
from app.picture_processes.pool import PicturePool
from app.settings import EMBEDDED_CHECKPOINT, Settings
from app.shared_page import SharedPage


def describe() -> dict[str, Any]:
    """The description, as `/openapi.json` gives it; no engine runs."""
    with tempfile.TemporaryDirectory() as directory:
        page = SharedPage(Path(directory) / "page")
        engine = EngineClient(f"ipc://{directory}/nobody", page, worker=0)
        try:
            checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
            settings = Settings()
            pictures = PicturePool(settings)  # not entered: none of its processes is started
            return create_app(settings, checkpoint, engine, pictures).openapi()
        finally:
            engine.close()


def main() -> None:
    """Print it as it is committed."""
    print(json.dumps(describe(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
