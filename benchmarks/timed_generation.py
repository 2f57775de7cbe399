"""Times `generate` of `transformers` on random weights."""

import io
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import nn

from app.checkpoint.picture_size import PICTURE_SIDE
from benchmarks.full_size_times import PictureTask
from benchmarks.peers.generation import Generation, Inputs

Kind = Literal["float32", "bfloat16", "int8"]
KINDS: dict[str, Kind] = {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8"}


class TimedGeneration:
    """Generates answers that do not end before their token limit.

    Args:
        kind: dtype of the weights; `int8` is torch's dynamic quantisation of all linear layers.
        threads: of torch on the CPU.
        device: of the weights.
    """

    def __init__(self, directory: Path, kind: Kind, threads: int, device: str = "cpu") -> None:
        self._generation = load_generation(directory, kind, threads, device)
        # Without an end token, all rows generate the full number. The text model has its own
        # configuration.
        self._generation.model.text_model.generation_config.eos_token_id = None

    def encode(self, picture: bytes, task: PictureTask) -> Inputs:
        """Return the inputs for a picture of 224×224×3 bytes."""
        pixels = np.frombuffer(picture, np.uint8).reshape(PICTURE_SIDE, PICTURE_SIDE, 3)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return self._generation.encode(file.getvalue(), task.fields)

    def generate(self, inputs: Inputs, num_new_tokens: int) -> list[int]:
        """Return the new tokens of one request."""
        (token_ids,) = self._generation.generate([inputs], num_new_tokens)
        return token_ids[inputs["input_ids"].shape[1] :]

    def seconds(self, batch: Sequence[Inputs], num_new_tokens: int) -> float:
        """Return the time of generating so many tokens for all rows."""
        began = time.perf_counter()
        self._generation.generate(batch, num_new_tokens)  # ends with a copy to the host
        return time.perf_counter() - began

    def seconds_of(self, rows: Sequence[tuple[bytes, PictureTask]], num_new_tokens: int) -> float:
        """Return the time from the pictures to the last of so many tokens of all rows."""
        began = time.perf_counter()
        self._generation.generate([self.encode(*row) for row in rows], num_new_tokens)
        return time.perf_counter() - began

    def seconds_per_token(self, batch: Sequence[Inputs], num_new_tokens: int) -> float:
        """Return the time of one more token for all rows, without the time to the first."""
        rest_s = self.seconds(batch, num_new_tokens) - self.seconds(batch, 1)
        return rest_s / (num_new_tokens - 1)


def load_generation(directory: Path, kind: Kind, threads: int, device: str = "cpu") -> Generation:
    """Load a checkpoint; for `int8`, all linear layers get 8-bit weights."""
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    generation = Generation(directory, threads, dtype, device)
    if kind == "int8":
        with warnings.catch_warnings():
            # torch.ao is deprecated in favour of a separate package, and so are its tensors.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
            torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
                generation.model, {nn.Linear}, dtype=torch.qint8, inplace=True
            )
    return generation
