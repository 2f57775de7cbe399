"""LitServe with `max_batch_size`, as the public Kosmos-2 servers have it, positions put right.

python -m benchmarks.peers.litserve_batches --checkpoint DIRECTORY --port PORT

Pictures are decoded in the worker, when a batch begins.
"""

from typing import Any

import litserve
from starlette.requests import Request

from benchmarks.peers.arguments import PeerArguments, read_arguments
from benchmarks.peers.generation import Generation, Inputs

BATCH_TIMEOUT_S = 0.01


class Kosmos2Api(litserve.LitAPI):  # type: ignore[misc]
    """One worker: it decodes what a batch has, generates, and answers.

    Args:
        arguments: of the command line.
    """

    def __init__(self, arguments: PeerArguments) -> None:
        super().__init__(
            max_batch_size=arguments.max_batch_size,
            batch_timeout=BATCH_TIMEOUT_S,
            api_path="/v1/ground",
        )
        self._arguments = arguments

    def setup(self, device: str) -> None:
        """Load the model, once in the worker."""
        self._generation = Generation(self._arguments.checkpoint, self._arguments.threads)

    def decode_request(self, request: Request) -> Inputs:
        """A form into the model's inputs."""
        fields = {name: value for name, value in request.items() if isinstance(value, str)}
        return self._generation.encode(request["image"].file.read(), fields)

    def batch(self, inputs: list[Inputs]) -> list[Inputs]:
        """Requests of different lengths do not stack; they are padded when they are generated."""
        return inputs

    def predict(self, batch: list[Inputs]) -> list[dict[str, Any]]:
        """One answer for each of the batch."""
        return self._generation.answer_all(batch)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """They are apart already."""
        return output


def main() -> None:
    """Serve."""
    arguments = read_arguments()
    server = litserve.LitServer(Kosmos2Api(arguments), accelerator="cpu", timeout=150)
    server.run(
        host="127.0.0.1", port=arguments.port, log_level="warning", generate_client_file=False
    )


if __name__ == "__main__":
    main()
