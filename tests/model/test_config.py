"""The configuration has the fields and defaults of `transformers`."""

import dataclasses
from typing import Any

import pytest
from transformers import Kosmos2Config

from app.model.config import ModelConfig
from app.settings import EMBEDDED_CHECKPOINT
from harness.checkpoints import tiny_config

PARTS = ("text_config", "vision_config")


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"text_config": {"layers": 2, "vocab_size": 100}, "latent_query_num": 8},
        {"vision_config": {"patch_size": 28}, "unknown": 1},
        {"text_config": None, "vision_config": None},
    ],
)
def test_every_field_has_the_value_that_transformers_reads(stored: dict[str, Any]) -> None:
    ours, theirs = ModelConfig.from_json(stored), Kosmos2Config.from_dict(stored)
    assert ours.latent_query_num == theirs.latent_query_num
    for part in PARTS:
        expected = getattr(theirs, part).to_dict()
        found = dataclasses.asdict(getattr(ours, part))
        assert found == {name: expected[name] for name in found}


def test_a_written_configuration_is_read_back() -> None:
    written = tiny_config(EMBEDDED_CHECKPOINT, layers=5)
    assert ModelConfig.from_json(written.to_dict()).text_config.layers == 5
    assert ModelConfig.from_json(written.to_diff_dict()) == ModelConfig.from_json(written.to_dict())
