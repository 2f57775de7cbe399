"""Encodes a picture's pixels as the 64 embeddings that represent it in a prompt."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.model.config import ModelConfig
from app.model.vision_tower import Attention, VisionTower


class Resampler(nn.Module):
    """Reduces the features of a picture: learnt queries attend to all patches and to each other."""

    def __init__(self, config: ModelConfig) -> None:
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
    """Normalisation, the vision tower and the resampler, with the checkpoint's parameter names.

    Args:
        mean: mean of each channel for values 0…1.
        std: standard deviation of each channel for values 0…1.
    """

    def __init__(self, config: ModelConfig, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.vision_model = nn.ModuleDict({"model": VisionTower(config.vision_config)})
        self.image_to_text_projection = Resampler(config)
        self._mean, self._std = tuple(mean), tuple(std)
        self.register_buffer("mean", torch.empty(0), persistent=False)
        self.register_buffer("std", torch.empty(0), persistent=False)

    @property
    def tower(self) -> VisionTower:
        """The vision tower."""
        return cast(VisionTower, self.vision_model["model"])

    def fill_buffers(self, device: torch.device) -> None:
        """Create the buffers of mean and deviation, which checkpoints do not store as tensors."""
        self.mean = torch.tensor(self._mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(self._std, device=device).view(3, 1, 1)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(P, 224, 224, 3) uint8 → (P, 3, 224, 224) float32, exactly the processor's values."""
        # The processor multiplies by 1/255 in double precision and rounds. A division in single
        # precision returns the same value for each of the 256 bytes.
        values = pixels.permute(0, 3, 1, 2).contiguous().float()
        return values.div_(255).sub_(self.mean).div_(self.std)

    def forward(self, pixels: Tensor) -> Tensor:
        """(P, 224, 224, 3) uint8 → (P, 64, d): embeddings of the picture, not yet scaled."""
        features = functional.normalize(self.tower(self.normalise(pixels)), dim=-1)
        embeddings: Tensor = self.image_to_text_projection(features)
        return embeddings
