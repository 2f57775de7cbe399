"""Compares a peer's answers on the embedded checkpoint with those of `generate` in float32.

    python -m benchmarks.peer_agreement KIND [--quick]

`KIND` is one of `full_size_peer`. Prints the share of equal answers.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from app.ipc.sampling_limits import DEFAULT_MAX_NEW_TOKENS
from app.pictures.decode import decode_picture
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.peers.generation import Generation, Inputs
from benchmarks.timed_generation import KINDS, load_generation
from benchmarks.workloads import different_pictures, expected_markups

_MAX_PIXELS = 2**24


def share_equal(kind: str, num_requests: int) -> float:
    """Return the share of equal answers to so many requests, one at a time."""
    workload = different_pictures(num_requests)
    expected = expected_markups(EMBEDDED_CHECKPOINT, workload)
    generation = Generation(EMBEDDED_CHECKPOINT, os.cpu_count() or 1)
    with TemporaryDirectory() as folder:
        generate = _generate_of(kind, generation, Path(folder))
        num_equal = 0
        for request, markup in zip(workload, expected, strict=True):
            inputs = generation.encode(request.picture, request.fields)
            answer = generation.answer(inputs, generate(request.picture, inputs))
            num_equal += answer["markup"] == markup
    return num_equal / len(workload)


def _generate_of(
    kind: str, generation: Generation, folder: Path
) -> Callable[[bytes, Inputs], list[int]]:
    """Return a function that returns all tokens of a request, given its picture's file."""
    if kind in KINDS:
        peer = load_generation(EMBEDDED_CHECKPOINT, KINDS[kind], os.cpu_count() or 1)
        return lambda _, inputs: peer.generate([inputs])[0]
    # Only the extra `bench` has the library.
    from benchmarks.openvino_model import OpenVinoModel, bits_of

    checkpoint = shutil.copytree(EMBEDDED_CHECKPOINT, folder / "checkpoint")
    model = OpenVinoModel(checkpoint, bits_of(kind), os.cpu_count() or 1)

    def generate(picture: bytes, inputs: Inputs) -> list[int]:
        pixels = decode_picture(picture, max_pixels=_MAX_PIXELS).pixels
        prompt: list[int] = inputs["input_ids"][0].tolist()
        (new,) = model.generate([prompt], [pixels], DEFAULT_MAX_NEW_TOKENS, generation.end_id)
        return prompt + new

    return generate


def main() -> None:
    """Compare as the command line requests."""
    print(share_equal(sys.argv[1], 6 if "--quick" in sys.argv else 600))


if __name__ == "__main__":
    main()
