"""The checkpoint's configuration, and initial weights at a scale that preserves the signal."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

from app.checkpoint.picture_size import PICTURE_SIDE

LATENT_SIDE = 8
GRID_SIDE = 32


@dataclass(frozen=True)
class ModelSize:
    """The values that differ from the published configuration."""

    patch_size: int = 28
    vision_width: int = 192
    vision_layers: int = 4
    text_width: int = 192
    text_layers: int = 4
    vision_heads: int = 3
    text_heads: int = 3

    @property
    def patches_per_side(self) -> int:
        """Number of patches along a side of the picture."""
        return PICTURE_SIDE // self.patch_size


def build_model(
    size: ModelSize, vocab_size: int, first_cell: int, max_positions: int = 2048
) -> Kosmos2ForConditionalGeneration:
    """Return a new model in float32; `first_cell` is the id of `<patch_index_0000>`."""
    config = Kosmos2Config(
        text_config={
            "vocab_size": vocab_size,
            "max_position_embeddings": max_positions,
            "embed_dim": size.text_width,
            "layers": size.text_layers,
            "ffn_dim": 4 * size.text_width,
            "attention_heads": size.text_heads,
            "dropout": 0.0,
            "attention_dropout": 0.0,
        },
        vision_config={
            "hidden_size": size.vision_width,
            "intermediate_size": 4 * size.vision_width,
            "num_hidden_layers": size.vision_layers,
            "num_attention_heads": size.vision_heads,
            "image_size": PICTURE_SIDE,
            "patch_size": size.patch_size,
        },
        latent_query_num=LATENT_SIDE**2,
    )
    model = Kosmos2ForConditionalGeneration(config)
    initialise(model, first_cell)
    return model


@torch.no_grad()
def initialise(model: Kosmos2ForConditionalGeneration, first_cell: int) -> None:
    """Set weights for unit-variance activations, with similar codes for neighbouring positions.

    In a model this small, the library's own initial weights (standard deviation 0.02) would make
    L2-normalised picture features almost zero.
    """
    for module in model.modules():
        # The head shares the weights of the embedding, which are set below.
        if isinstance(module, nn.Linear) and module is not model.text_model.lm_head:
            module.weight.normal_(0, module.in_features**-0.5)
    decoder, encoder = model.text_model.model, model.vision_model.model
    # Each layer adds two branches; damped, their sum over all layers has unit variance.
    damping = (2 * len(decoder.layers)) ** -0.5
    for layer in decoder.layers:
        layer.self_attn.out_proj.weight.mul_(damping)
        layer.ffn.fc2.weight.mul_(damping)
    for layer in encoder.encoder.layers:
        layer.self_attn.out_proj.weight.mul_(damping)
        layer.mlp.fc2.weight.mul_(damping)
    _initialise_pictures(model)
    words = decoder.embed_tokens.weight
    width = words.shape[1]
    words.normal_(0, width**-0.5)
    words[first_cell:] = place_codes(GRID_SIDE, width) * width**-0.5
    words[decoder.embed_tokens.padding_idx] = 0


def _initialise_pictures(model: Kosmos2ForConditionalGeneration) -> None:
    """Initialise patches with position codes, and latent queries as an 8×8 grid of positions."""
    embeddings = model.vision_model.model.embeddings
    projection = model.image_to_text_projection
    inputs = embeddings.patch_embedding.weight[0].numel()
    embeddings.patch_embedding.weight.normal_(0, inputs**-0.5)
    side = round(math.sqrt(embeddings.num_patches))
    # Position 0 is that of the class token.
    embeddings.position_embedding.weight[1:] = place_codes(side, embeddings.embed_dim)
    # The features have length one, so unit-variance weights keep unit variance.
    projection.dense.weight.normal_(0, 1)
    width = projection.latent_query.shape[1]
    projection.latent_query.copy_(place_codes(LATENT_SIDE, width))
    # The decoder scales the projection's output by sqrt(width), like a word's embedding.
    projection.x_attn.out_proj.weight.mul_(width**-0.5)


def place_codes(side: int, width: int) -> Tensor:
    """Return sines and cosines of the cells of a grid, (side², width), of unit variance."""
    bands = width // 4
    # From a quarter of a wave over the whole grid to one wave in four cells.
    frequencies = torch.logspace(math.log10(math.pi / 2), math.log10(math.pi * side / 2), bands)
    angles = (torch.arange(side) + 0.5)[:, None] / side * frequencies  # (side, bands)
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1)  # (side, 2 × bands)
    columns = waves.expand(side, side, -1)
    rows = waves[:, None].expand(side, side, -1)
    # Sines and cosines have a variance of one half.
    codes = torch.cat([columns, rows], dim=-1).reshape(side**2, -1) * math.sqrt(2)
    return nn.functional.pad(codes, (0, width - codes.shape[1]))


def picture_features(model: Kosmos2ForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Return features of length one, (B, 1 + patches, width), as the projection reads them."""
    vision = model.vision_model
    features = vision.model.post_layernorm(vision(pixel_values=pixels)[0])
    return nn.functional.normalize(features, dim=-1)
