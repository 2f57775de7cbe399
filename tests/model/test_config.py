"""The configuration has the fields and defaults of `transformers`."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import Kosmos2Config

from app.checkpoint.files import read_checkpoint
from app.errors import CheckpointError
from app.model.config import ModelConfig
from app.model.loading import read_config
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


@pytest.mark.parametrize(
    "stored",
    [
        {"text_config": {"layers": 0}},
        {"text_config": {"layers": "2"}},
        {"text_config": {"layers": True}},
        {"text_config": {"attention_heads": 7}},
        {"text_config": {"attention_heads": 0}},
        {"text_config": {"scale_embedding": "no"}},
        {"text_config": {"eos_token_id": ["2"]}},
        {"vision_config": {"num_attention_heads": 5}},
        {"vision_config": {"layer_norm_eps": None}},
        {"vision_config": {"layer_norm_eps": -1e-5}},
        {"text_config": {"layer_norm_eps": math.nan}},
        {"text_config": {"layer_norm_eps": True}},
        {"latent_query_num": 1.5},
        {"vision_config": {"image_size": 336}},
    ],
)
def test_a_value_that_no_model_can_have_is_rejected(stored: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must not be|do not divide|only 224"):
        ModelConfig.from_json(stored)


@pytest.mark.parametrize(("stored", "ids"), [(2, {2}), ([2, 7], {2, 7})])
def test_one_or_several_tokens_end_an_answer(stored: int | list[int], ids: set[int]) -> None:
    text = ModelConfig.from_json({"text_config": {"eos_token_id": stored}}).text_config
    assert text.end_token_ids == ids


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("text_config", "activation_function", "relu", "activation 'relu' is not"),
        ("text_config", "add_cross_attention", True, "cross-attention"),
        ("text_config", "tie_word_embeddings", False, "untied head"),
        ("text_config", "layers", 0, "config.json"),
        ("vision_config", "hidden_act", "relu", "activation 'relu' of the vision tower"),
    ],
)
def test_a_model_that_this_service_cannot_run_is_rejected(
    tmp_path: Path, part: str, field: str, value: object, message: str
) -> None:
    """Its answers would be wrong."""
    for file in EMBEDDED_CHECKPOINT.iterdir():
        if file.is_file() and file.name != "config.json":
            (tmp_path / file.name).symlink_to(file)
    config = json.loads((EMBEDDED_CHECKPOINT / "config.json").read_bytes())
    config[part][field] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        read_config(read_checkpoint(tmp_path, "copy", None))
