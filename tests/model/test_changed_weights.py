"""A file of weights that is replaced during a start: no engine may serve a mixture of both."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from app.checkpoint.files import open_checkpoint
from app.checkpoint.kept_weights import name_kept_weights
from app.errors import CheckpointError
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.model.linear import LinearLayers
from app.model.loading import load_model
from app.settings import EMBEDDED_CHECKPOINT


@pytest.mark.parametrize("linear", [LinearLayers.PLAIN, LinearLayers.INT8])
def test_a_start_fails_if_its_weights_are_replaced_meanwhile(
    tmp_path: Path, linear: LinearLayers
) -> None:
    """By others of the same size. A later start with the old file must not find 8-bit weights."""
    directory = shutil.copytree(EMBEDDED_CHECKPOINT, tmp_path / "model")
    weights = directory / "model.safetensors"
    checkpoint = open_checkpoint(str(directory))
    kept = name_kept_weights(tmp_path / "cache", checkpoint, "float32")
    prefix = list(Kosmos2Tokenizer.load(directory).prefix_ids)

    def change_time(_num_bytes: int) -> None:
        os.utime(weights, ns=(0, 0))

    with pytest.raises(CheckpointError, match="was changed while it was loaded"):
        load_model(
            checkpoint, prefix, range(0), 512, torch.device("cpu"), torch.float32,
            change_time, linear, kept,
        )  # fmt: skip
    assert not list(tmp_path.glob("cache/*"))
