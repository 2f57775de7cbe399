"""LitServe with `max_batch_size`, as in the public Kosmos-2 servers, but with correct positions.

python -m benchmarks.peers.litserve_batches --checkpoint DIRECTORY --port PORT

The worker decodes pictures when a batch starts.
"""

from typing import Any

import litserve
from starlette.requests import Request

from benchmarks.peers.arguments import PeerArguments, read_arguments
from benchmarks.peers.generation import Generation, Inputs

BATCH_TIMEOUT_S = 0.01


class Kosmos2Api(litserve.LitAPI):  # type: ignore[misc]
    """One worker: decodes the pictures of a batch, generates and answers."""

    def __init__(self, arguments: PeerArguments) -> None:
        super().__init__(
            max_batch_size=arguments.max_batch_size,
            batch_timeout=BATCH_TIMEOUT_S,
            api_path="/v1/ground",
        )
        self._arguments = arguments

    def setup(self, device: str) -> None:
        """Load the model once in the worker."""
        self._generation = Generation(self._arguments.checkpoint, self._arguments.threads)

    def decode_request(self, request: Request) -> Inputs:
        """Convert a form to the model's inputs."""
        fields = {name: value for name, value in request.items() if isinstance(value, str)}
        return self._generation.encode(request["image"].file.read(), fields)

    def batch(self, inputs: list[Inputs]) -> list[Inputs]:
        """Return the inputs unchanged: different lengths do not stack and are padded later."""
        return inputs

    def predict(self, batch: list[Inputs]) -> list[dict[str, Any]]:
        """Return one answer for each request of the batch."""
        return self._generation.answer_all(batch)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answers, which are already separate."""
        return output


def main() -> None:
    """Serve until a signal arrives."""
    arguments = read_arguments()
    server = litserve.LitServer(Kosmos2Api(arguments), accelerator="cpu", timeout=150)
    # LitServe would otherwise write a client file into the working directory.
    server.run(
        host="127.0.0.1", port=arguments.port, log_level="warning", generate_client_file=False
    )


if __name__ == "__main__":
    main()
