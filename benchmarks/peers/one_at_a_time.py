"""The simplest server: `generate` behind FastAPI and a lock, one request at a time.

python -m benchmarks.peers.one_at_a_time --checkpoint DIRECTORY --port PORT

Threads decode pictures in parallel; the lock protects only the model.
"""

from threading import Lock
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Form, UploadFile

from benchmarks.peers.arguments import read_arguments
from benchmarks.peers.generation import Generation

OptionalField = Annotated[str | None, Form()]


def create_app(generation: Generation) -> FastAPI:
    """Return the application."""
    app, model = FastAPI(), Lock()

    @app.post("/v1/ground")
    def ground(
        image: UploadFile,
        task: Annotated[str, Form()],
        text: OptionalField = None,
        regions: OptionalField = None,
    ) -> dict[str, Any]:
        fields = {"task": task, "text": text, "regions": regions}
        given = {name: value for name, value in fields.items() if value is not None}
        inputs = generation.encode(image.file.read(), given)
        with model:
            (answer,) = generation.answer_all([inputs])
        return answer

    return app


def main() -> None:
    """Serve until a signal arrives."""
    arguments = read_arguments()
    app = create_app(Generation(arguments.checkpoint, arguments.threads))
    uvicorn.run(app, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
