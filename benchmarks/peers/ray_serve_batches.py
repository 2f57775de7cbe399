"""Ray Serve with `@serve.batch`: one replica decodes pictures while it generates a batch.

python -m benchmarks.peers.ray_serve_batches --checkpoint DIRECTORY --port PORT

SIGTERM ends all of Ray's processes. Ray fails if one of them takes longer than 15 s to start, which
happens when the machine is busy.
"""

import asyncio
import signal
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import ray
from fastapi import FastAPI, Form, UploadFile
from ray import serve

from benchmarks.peers.arguments import PeerArguments, read_arguments
from benchmarks.peers.generation import Generation, Inputs

BATCH_WAIT_S = 0.01
# Above the number of clients, because Ray's small default would limit the batches.
MAX_ONGOING_REQUESTS = 1000

OptionalField = Annotated[str | None, Form()]
app = FastAPI()


@serve.deployment(max_ongoing_requests=MAX_ONGOING_REQUESTS)
@serve.ingress(app)
class Kosmos2Replica:
    """The only replica, which has the model."""

    def __init__(self, arguments: PeerArguments) -> None:
        self._generation = Generation(arguments.checkpoint, arguments.threads)
        self._generate.set_max_batch_size(arguments.max_batch_size)

    @app.post("/v1/ground")
    async def ground(
        self,
        image: UploadFile,
        task: Annotated[str, Form()],
        text: OptionalField = None,
        regions: OptionalField = None,
    ) -> dict[str, Any]:
        """Add a request to the next batch and return its answer."""
        fields = {"task": task, "text": text, "regions": regions}
        given = {name: value for name, value in fields.items() if value is not None}
        picture = await image.read()
        inputs = await asyncio.to_thread(self._generation.encode, picture, given)
        answer: dict[str, Any] = await self._generate(inputs)
        return answer

    @serve.batch(batch_wait_timeout_s=BATCH_WAIT_S)  # type: ignore[untyped-decorator]
    async def _generate(self, batch: list[Inputs]) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self._generation.answer_all, batch)


def main() -> None:
    """Serve until SIGTERM."""
    arguments = read_arguments()
    with TemporaryDirectory(prefix="ray-") as folder:  # a short path, as sockets require
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )
        serve.start(http_options={"host": "127.0.0.1", "port": arguments.port})
        serve.run(Kosmos2Replica.bind(arguments))  # type: ignore[attr-defined]
        # `serve.run` returns at once.
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
