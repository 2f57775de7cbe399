"""Checkpoints of random weights with the files of the published repository, in several layouts."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Kosmos2Config

from harness.checkpoints import TINY_TEXT, TINY_VISION, write_random_checkpoint

PUBLISHED_FILES = frozenset(
    {
        "added_tokens.json", "config.json", "generation_config.json", "model.safetensors",
        "preprocessor_config.json", "special_tokens_map.json", "tokenizer.json",
        "tokenizer_config.json",
    }
)  # fmt: skip
"""Files that the service downloads from the published repository at its pinned commit."""

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def scaled_config() -> Kosmos2Config:
    """Return the published configuration with fewer and narrower layers.

    The vocabulary, the picture size, the patches and the number of latents are the published ones.
    """
    vision = {name: value for name, value in TINY_VISION.items() if name != "patch_size"}
    return Kosmos2Config(text_config=TINY_TEXT, vision_config=vision)


def write_published_layout(directory: Path, processor: Path) -> Path:
    """Write a float32 checkpoint with exactly the published files.

    Args:
        processor: a directory with the published tokenizer and the settings of its pictures.
    """
    write_random_checkpoint(directory, scaled_config(), processor)
    settings = directory / "processor_config.json"
    image_settings = json.loads(settings.read_text())["image_processor"]
    settings.unlink()
    _write(directory / "preprocessor_config.json", image_settings)
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    _write(directory / "added_tokens.json", added)
    config = json.loads((directory / "tokenizer_config.json").read_text())
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    _write(directory / "special_tokens_map.json", {n: config[n] for n in names if n in config})
    generation = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    _write(directory / "generation_config.json", generation | {"no_repeat_ngram_size": 3})
    return directory


def to_older_layout(directory: Path) -> Path:
    """Turn a checkpoint of the published layout into one of two shards in half precision.

    It also stores the copy of the embedding and the constants that older versions stored, and its
    generation configuration has no n-gram ban.
    """
    tensors = load_file(directory / _WEIGHTS)
    embedding = tensors["text_model.model.embed_tokens.weight"]
    tensors["text_model.lm_head.weight"] = embedding.clone()
    tensors["text_model.model.embed_positions.weights"] = torch.zeros(2, embedding.shape[1])
    tensors = {name: tensor.half() for name, tensor in tensors.items()}
    tensors["vision_model.model.embeddings.position_ids"] = torch.arange(257)[None]
    (directory / _WEIGHTS).unlink()
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, directory / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    _write(directory / _INDEX, {"metadata": {"total_size": size}, "weight_map": weight_map})
    _write(directory / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 2})
    return directory


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))
