"""Checkpoints with random weights, small or of the published size."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

from app.grounding.tokenizer import Kosmos2Tokenizer

TINY_TEXT = {"embed_dim": 64, "layers": 3, "ffn_dim": 128, "attention_heads": 4}
TINY_VISION = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "patch_size": 28,
}


_OF_ONE_MODEL = {"config.json", "generation_config.json", "recorded_answers.json"}
"""JSON files that do not belong to the tokenizer and the processor."""


def tiny_config(tokenizer_of: Path, **text: Any) -> Kosmos2Config:
    """Return a configuration with a few hundred thousand weights, not counting the embedding."""
    vocabulary = max(Kosmos2Tokenizer.load(tokenizer_of).patch_ids) + 1
    return Kosmos2Config(
        text_config={"vocab_size": vocabulary} | TINY_TEXT | text, vision_config=TINY_VISION
    )


def full_size_config() -> Kosmos2Config:
    """Return the published configuration."""
    return Kosmos2Config()


def write_random_checkpoint(
    directory: Path,
    config: Kosmos2Config,
    tokenizer_of: Path,
    *,
    gain: float = 4.0,
    seed: int = 0,
) -> Path:
    """Write a checkpoint that both `transformers` and this service load.

    With a usual initialisation, a model repeats one token. These weights make answers depend on the
    picture and on every word, and vary from one position to the next.

    Args:
        tokenizer_of: a directory whose tokenizer and processor are copied.
        gain: of each layer over its input. Use a large one for few layers. Over many layers, it
            would amplify the rounding of float32 until the signal is lost.
    """
    directory.mkdir(parents=True)
    for file in tokenizer_of.glob("*.json"):
        if file.name not in _OF_ONE_MODEL:
            shutil.copyfile(file, directory / file.name)
    torch.manual_seed(seed)
    model = Kosmos2ForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(_mean(name), _deviation(name, parameter.shape, gain))
        width = config.text_config.embed_dim
        # The decoder multiplies embeddings by sqrt(width), so this gives them unit variance.
        model.text_model.model.embed_tokens.weight.normal_(0, width**-0.5)
    model.save_pretrained(directory)
    return directory


def _is_norm(name: str) -> bool:
    return "norm" in name or "_ln." in name


def _mean(name: str) -> float:
    return float(_is_norm(name) and name.endswith("weight"))


def _deviation(name: str, shape: torch.Size, gain: float) -> float:
    """Return the standard deviation of a parameter."""
    # Larger biases would make every answer repeat one token.
    if name.endswith("bias") or _is_norm(name):
        return 0.02
    # The number of inputs of a unit, also for the convolution over patches.
    return float(gain / shape[1:].numel() ** 0.5)
