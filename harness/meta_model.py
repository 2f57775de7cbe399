"""Models on the device `meta`, and checkpoints that contain shapes only."""

from pathlib import Path

import torch
from transformers import Kosmos2Config

from app.checkpoint.files import Checkpoint, StoredTensor
from app.model.config import ModelConfig
from app.model.decoder import TextDecoder
from app.model.loading import Kosmos2Model
from app.model.vision import VisionEncoder

NUM_CELLS = 1024
META = torch.device("meta")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def build_meta_model(config: Kosmos2Config, num_positions: int, dtype: torch.dtype) -> Kosmos2Model:
    """Return a model whose tensors have shapes, dtypes and a device, but no data."""
    ours = ModelConfig.from_json(config.to_dict())
    with META:
        decoder = TextDecoder(ours.text_config, num_positions).to(dtype)
        vision = VisionEncoder(ours, MEAN, STD).to(dtype)
    decoder.fill_positions(META, dtype)
    vision.fill_buffers(META)
    decoder.eval().requires_grad_(False)
    return Kosmos2Model(
        decoder=decoder,
        prefix_decoder=decoder,
        vision=vision.eval().requires_grad_(False),
        # Only their number matters, because nothing is computed.
        prefix_token_ids=[0] * ours.num_prefix_tokens,
        location_token_ids=range(
            config.text_config.vocab_size - NUM_CELLS, config.text_config.vocab_size
        ),
        picture_positions=slice(2, 2 + config.latent_query_num),
        end_token_ids=ours.text_config.end_token_ids,
        device=META,
        dtype=dtype,
    )


def describe_checkpoint(directory: Path, config: Kosmos2Config) -> Checkpoint:
    """Return a checkpoint of float32 tensors for a configuration; only `config.json` is written."""
    config.save_pretrained(directory)
    model = build_meta_model(config, num_positions=1, dtype=torch.float32)
    parts = {"text_model.model.": model.decoder, "": model.vision}
    tensors = {
        # No file: nothing reads the weights.
        f"{prefix}{name}": StoredTensor(directory / "none", 0, "F32", tuple(parameter.shape))
        for prefix, part in parts.items()
        for name, parameter in part.named_parameters()
    }
    return Checkpoint(
        directory=directory,
        name="published size",
        revision=None,
        is_embedded=False,
        no_repeat_ngram_size=3,
        image_mean=MEAN,
        image_std=STD,
        tensors=tensors,
        weight_files={},
    )
