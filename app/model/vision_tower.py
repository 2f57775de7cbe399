"""CLIP's vision transformer (Radford et al., 2021, arXiv:2103.00020) in the form of Kosmos-2."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.model.config import VisionConfig
from app.model.embedding import LoadedEmbedding

ACTIVATION = "quick_gelu"
"""The only activation that is supported."""


class Attention(nn.Module):
    """Multi-head attention without a mask.

    Args:
        dim: width of the states, d.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.v_proj, self.out_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, states: Tensor, seen: Tensor) -> Tensor:
        """Attend from `states` (P, Q, d) to `seen` (P, S, d) → (P, Q, d)."""
        queries = self._by_head(self.q_proj(states))
        keys, values = self._by_head(self.k_proj(seen)), self._by_head(self.v_proj(seen))
        mixed = functional.scaled_dot_product_attention(queries, keys, values)  # (P, H, Q, d/H)
        outputs: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return outputs

    def _by_head(self, states: Tensor) -> Tensor:
        """(P, S, d) → (P, H, S, d/H)."""
        return states.view(*states.shape[:-1], self.num_heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with the activation between them."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """(P, S, d) → (P, S, d)."""
        inner = self.fc1(states)
        # Quick GELU, in place: each new tensor of this size would cause page faults.
        outputs: Tensor = self.fc2(inner.mul_((1.702 * inner).sigmoid_()))
        return outputs


class VisionLayer(nn.Module):
    """Attention, then a feed-forward layer, each after its norm."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.hidden_size, config.num_attention_heads)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = FeedForward(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        """(P, S, d) → (P, S, d)."""
        normed = self.layer_norm1(states)
        states = states + self.self_attn(normed, normed)
        outputs: Tensor = states + self.mlp(self.layer_norm2(states))
        return outputs


class Embeddings(nn.Module):
    """Embeddings of a picture's patches, after one class embedding for the whole picture."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        dim, side = config.hidden_size, config.patch_size
        capacity = (config.image_size // side) ** 2 + 1
        self.class_embedding = nn.Parameter(torch.empty(dim))
        self.patch_embedding = nn.Conv2d(config.num_channels, dim, side, side, bias=False)
        self.position_embedding = LoadedEmbedding(capacity, dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """(P, 3, 224, 224) → (P, 257, d)."""
        embedded = self.patch_embedding(pixels.to(self.patch_embedding.weight.dtype))
        patches = embedded.flatten(2).transpose(1, 2)  # (P, 256, d)
        whole = self.class_embedding.expand(len(patches), 1, -1)
        states: Tensor = torch.cat([whole, patches], dim=1) + self.position_embedding.weight
        return states


class VisionTower(nn.Module):
    """The whole tower, with the checkpoint's parameter names."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        layers = nn.Sequential(*(VisionLayer(config) for _ in range(config.num_hidden_layers)))
        self.embeddings = Embeddings(config)
        # The checkpoint misspells this name.
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = nn.ModuleDict({"layers": layers})
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    @property
    def layers(self) -> nn.Sequential:
        """All layers, the first one first."""
        return cast(nn.Sequential, self.encoder["layers"])

    def forward(self, pixels: Tensor) -> Tensor:
        """(P, 3, 224, 224) normalised pixels → (P, 257, d) features."""
        states = self.layers(self.pre_layrnorm(self.embeddings(pixels)))
        features: Tensor = self.post_layernorm(states)
        return features
