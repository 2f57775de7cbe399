"""From a picture's bytes to the 64 embeddings that stand for it in a prompt."""

from collections.abc import Sequence

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
        self._mean, self._std = tuple(mean), tuple(std)
        self.register_buffer("mean", torch.empty(0), persistent=False)
        self.register_buffer("std", torch.empty(0), persistent=False)

    def fill_buffers(self, device: torch.device) -> None:
        """Put in place what no checkpoint stores: mean and deviation of the channels."""
        self.mean = torch.tensor(self._mean, device=device).view(3, 1, 1)
        self.std = torch.tensor(self._std, device=device).view(3, 1, 1)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(P, 224, 224, 3) uint8 → (P, 3, 224, 224) float32, the processor's values exactly.

        The processor multiplies by 1/255 in double precision and rounds; to divide in single
        precision gives the same for every byte.
        """
        values = pixels.permute(0, 3, 1, 2).contiguous().float()
        return values.div_(255).sub_(self.mean).div_(self.std)

    def forward(self, pixels: Tensor) -> Tensor:
        """(P, 224, 224, 3) uint8 → (P, 64, d): picture embeddings, not yet scaled."""
        features = functional.normalize(self.vision_model["model"](self.normalise(pixels)), dim=-1)
        embeddings: Tensor = self.image_to_text_projection(features)
        return embeddings
