"""From a picture's bytes to the 64 embeddings that stand for it in a prompt."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Kosmos2Config

from app.model.vision_tower import Attention, VisionTower


class Resampler(nn.Module):
    """Learnt queries look at all places of a picture, and at each other.

    Args:
        config: the checkpoint's whole configuration.
    """

    def __init__(self, config: Kosmos2Config) -> None:
        super().__init__()
        dim = config.text_config.embed_dim
        self.dense = nn.Linear(config.vision_config.hidden_size, dim)
        self.latent_query = nn.Parameter(torch.empty(config.latent_query_num, dim))
        self.x_attn = Attention(dim, config.text_config.attention_heads)

    def forward(self, features: Tensor) -> Tensor:
        """(P, 257, w) → (P, 64, d)."""
        states = self.dense(features)
        queries = self.latent_query.expand(len(states), -1, -1)  # (P, 64, d)
        resampled: Tensor = self.x_attn(queries, torch.cat([states, queries], dim=1))
        return resampled


class VisionEncoder(nn.Module):
    """Normalisation, the vision tower and the resampler, under the checkpoint's parameter names.

    Args:
        config: the checkpoint's whole configuration.
        mean: of each channel of a picture with values 0…1.
        std: likewise.
    """

    def __init__(self, config: Kosmos2Config, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.vision_model = nn.ModuleDict({"model": VisionTower(config.vision_config)})
        self.image_to_text_projection = Resampler(config)
        self.mean, self.std = tuple(mean), tuple(std)
        self.register_buffer("channel_values", torch.empty(0), persistent=False)

    def fill_buffers(self, device: torch.device) -> None:
        """Compute what no checkpoint stores: the table of channel values."""
        self.channel_values = torch.from_numpy(channel_value_table(self.mean, self.std)).to(device)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(P, 224, 224, 3) uint8 → (P, 3, 224, 224) float32, the processor's values exactly."""
        indices = pixels.permute(0, 3, 1, 2).int()  # (P, 3, 224, 224)
        return torch.stack(
            [values[indices[:, channel]] for channel, values in enumerate(self.channel_values)],
            dim=1,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """(P, 224, 224, 3) uint8 → (P, 64, d): picture embeddings, not yet scaled."""
        features = functional.normalize(self.vision_model["model"](self.normalise(pixels)), dim=-1)
        embeddings: Tensor = self.image_to_text_projection(features)
        return embeddings


def channel_value_table(mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """What the reference processor makes of each byte of each channel: (3, 256) float32.

    The order of operations and their precision are the processor's: rescaling in double precision
    rounded to single, then mean and deviation in single precision.
    """
    rescaled = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)  # (256,)
    means = np.asarray(mean, dtype=np.float32)[:, None]
    deviations = np.asarray(std, dtype=np.float32)[:, None]
    table: np.ndarray = (rescaled[None] - means) / deviations
    return table
