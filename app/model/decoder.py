"""The text decoder of Kosmos-2: embeddings to hidden states; the caller stores keys and values.

The architecture is that of `transformers`' `Kosmos2TextTransformer`: pre-norm blocks with Magneto's
sub-LN, a layer norm inside the attention and inside the feed-forward. The computation is arranged
for serving: one fused projection for query, key and value, and explicit positions and lengths per
row, which padding does not change. Parameter names are the checkpoint's, except `qkv_proj`.
"""

import math
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.model.config import TextConfig
from app.model.embedding import LoadedEmbedding

KEYS_MULTIPLE = 16
"""Number of keys, of whose multiples masked ones change no bit of `attend_separately`."""

# CUDA's fast kernels need rows of whole 16 bytes; the published vocabulary has 65,037 tokens.
_HEAD_MULTIPLE = 64

# The checkpoint was trained with fairseq's convention: the first position is padding_idx + 1.
_POSITIONS_AFTER_PADDING = 1


class KeyValueRows(Protocol):
    """Rows of keys and values that one forward pass writes and attends to."""

    def extend(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values of a layer; return all that its queries may attend to.

        Args:
            layer: index of the layer, from 0.
            new: keys and values of the T new tokens of R rows, (R, T, 2, H, D).

        Returns:
            Keys and values, (R, H, L, D) each with L ≥ T.
        """


class Attention(nn.Module):
    """Self-attention with one fused input projection and a layer norm before the output one.

    Attributes:
        attends_separately: whether a masked query has the same result, to the last bit, in every
            pass; see `attend_separately`.
    """

    def __init__(self, width: int, num_heads: int, epsilon: float, layer: int) -> None:
        super().__init__()
        self.attends_separately = False
        self.layer = layer
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.inner_attn_ln = nn.LayerNorm(width, eps=epsilon)
        self.out_proj = nn.Linear(width, width)

    def forward(self, hidden: Tensor, rows: KeyValueRows, mask: Tensor | None) -> Tensor:
        """Attend from (R, T, d) to `rows`; `mask` is (R, 1, T, L), or `None` for a causal mask."""
        num_rows, length, width = hidden.shape
        projected = self.qkv_proj(hidden).view(num_rows, length, 3, self.num_heads, -1)
        queries = projected[:, :, 0].transpose(1, 2)  # (R, H, T, D)
        keys, values = rows.extend(self.layer, projected[:, :, 1:])  # (R, H, L, D)
        if self.attends_separately and mask is not None:
            attended = attend_separately(queries, keys, values, mask)
        else:
            attended = functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, is_causal=mask is None
            )
        merged = attended.transpose(1, 2).reshape(num_rows, length, width)
        output: Tensor = self.out_proj(self.inner_attn_ln(merged))
        return output

    def fill_cache(self, hidden: Tensor, rows: KeyValueRows) -> None:
        """Store the keys and values of (R, T, d) in `rows`, without attention."""
        num_rows, length, _ = hidden.shape
        projected = self.qkv_proj(hidden).view(num_rows, length, 3, self.num_heads, -1)
        rows.extend(self.layer, projected[:, :, 1:])


def attend_separately(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attend from each query by a product of its own, on the CPU.

    The library's kernel adds in an order that depends on the number of queries, rows and keys. The
    last bits of a result then differ, and rounding to 8-bit digits would amplify the difference.

    Args:
        queries: (R, H, T, D).
        keys: (R, H, L, D), L a multiple of `KEYS_MULTIPLE`.
        values: (R, H, L, D).
        mask: (R, 1, T, L), or (1, 1, T, L) for all rows.

    Returns:
        (R, H, T, D).
    """
    scaled, turned = queries * queries.shape[-1] ** -0.5, keys.transpose(2, 3)
    attended = []
    for query, hidden in zip(torch.split(scaled, 1, 2), torch.split(mask, 1, 2), strict=True):
        weights = (query @ turned + hidden).softmax(dim=-1)  # (R, H, 1, L)
        attended.append(weights @ values)
    return torch.cat(attended, dim=2)


class FeedForward(nn.Module):
    """Two linear layers with a layer norm between them."""

    def __init__(self, width: int, inner_width: int, epsilon: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner_width)
        self.ffn_layernorm = nn.LayerNorm(inner_width, eps=epsilon)
        self.fc2 = nn.Linear(inner_width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """(R, T, d) → (R, T, d)."""
        output: Tensor = self.fc2(self.ffn_layernorm(functional.gelu(self.fc1(hidden))))
        return output


class Block(nn.Module):
    """One layer: attention and feed-forward, each with a norm before it and a residual after it."""

    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        width, epsilon = config.embed_dim, config.layer_norm_eps
        self.self_attn_layer_norm = nn.LayerNorm(width, eps=epsilon)
        self.self_attn = Attention(width, config.attention_heads, epsilon, layer)
        self.final_layer_norm = nn.LayerNorm(width, eps=epsilon)
        self.ffn = FeedForward(width, config.ffn_dim, epsilon)

    def forward(self, hidden: Tensor, rows: KeyValueRows, mask: Tensor | None) -> Tensor:
        """(R, T, d) → (R, T, d)."""
        hidden = hidden + self.self_attn(self.self_attn_layer_norm(hidden), rows, mask)
        output: Tensor = hidden + self.ffn(self.final_layer_norm(hidden))
        return output


class TextDecoder(nn.Module):
    """All layers, and the embedding, which is also the output head.

    Args:
        config: the checkpoint's `text_config`.
        num_positions: number of tokens of the longest sequence that can be served.
    """

    def __init__(self, config: TextConfig, num_positions: int) -> None:
        super().__init__()
        self.config = config
        self.num_positions = num_positions
        self.embedding_scale = math.sqrt(config.embed_dim) if config.scale_embedding else 1.0
        self.embed_tokens = LoadedEmbedding(config.vocab_size, config.embed_dim)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        self.head: nn.Module | None = None  # `None`: the embedding is the head
        self._padded_weight: Tensor | None = None  # the embedding's, with more rows
        self.register_buffer("position_codes", torch.empty(0), persistent=False)

    def fill_positions(self, device: torch.device, dtype: torch.dtype) -> None:
        """Compute the sinusoidal position codes, which checkpoints do not store."""
        self.position_codes = _sinusoidal_codes(
            self.num_positions + self._padding_id + 1, self.config.embed_dim, self._padding_id
        ).to(device, dtype)

    def pad_head(self) -> None:
        """Append unused rows to the weight of the head, so that a CUDA device multiplies faster."""
        weight = self.embed_tokens.weight.data
        self._padded_weight = functional.pad(weight, (0, 0, 0, -len(weight) % _HEAD_MULTIPLE))
        self.embed_tokens.weight.data = self._padded_weight[: len(weight)]

    def embed(self, token_ids: Tensor, positions: Tensor) -> Tensor:
        """Embed token ids (R, T) at positions (R, T), from 0 → (R, T, d)."""
        return self.add_positions(self.embed_tokens(token_ids), token_ids, positions)

    def add_positions(self, embeddings: Tensor, token_ids: Tensor, positions: Tensor) -> Tensor:
        """Scale embeddings (R, T, d) and add the codes of their positions (R, T)."""
        codes = positions + (self._padding_id + _POSITIONS_AFTER_PADDING)
        # Upstream gives a padding token the code of padding at any position. A model may generate
        # that token, and must then read it with the same code.
        codes = codes.masked_fill(token_ids == self._padding_id, self._padding_id)
        return embeddings * self.embedding_scale + self.position_codes[codes]

    def forward(self, embedded: Tensor, rows: KeyValueRows, mask: Tensor | None) -> Tensor:
        """Run all layers and the last norm: (R, T, d) → (R, T, d).

        Args:
            embedded: result of `embed` or `add_positions`.
            rows: stores the keys and values of this pass, and returns those to attend to.
            mask: (R, 1, T, L), added to the scores; `None`: causal among the T new tokens.
        """
        hidden = embedded
        for layer in self.layers:
            hidden = layer(hidden, rows, mask)
        output: Tensor = self.layer_norm(hidden)
        return output

    def fill_cache(self, embedded: Tensor, rows: KeyValueRows) -> None:
        """Store the keys and values of all layers in `rows`, with a causal mask.

        Args:
            embedded: result of `embed` or `add_positions`, (R, T, d).
        """
        # The hidden states of the last layer are not needed, so only its projection runs.
        hidden = embedded
        for layer in self.layers[:-1]:
            hidden = layer(hidden, rows, None)
        last = cast(Block, self.layers[-1])
        last.self_attn.fill_cache(last.self_attn_layer_norm(hidden), rows)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of hidden states: (R, d) → (R, V) float32."""
        if self.head is None:
            padded = _float32_product(hidden, self._head_weight)
            return padded[:, : self.config.vocab_size]
        logits: Tensor = self.head(hidden)
        return logits.float()

    @property
    def _head_weight(self) -> Tensor:
        return self.embed_tokens.weight if self._padded_weight is None else self._padded_weight

    @property
    def _padding_id(self) -> int:
        padding_id: int = self.config.pad_token_id
        return padding_id


def _float32_product(hidden: Tensor, weight: Tensor) -> Tensor:
    """Multiply (R, d) by the transpose of (V, d) → (R, V) float32."""
    # The CPU library has no kernel with a float32 result, so there sums are rounded to the dtype of
    # the weights first.
    if hidden.device.type == "cpu" or hidden.dtype == torch.float32:
        return functional.linear(hidden, weight).float()
    # In bfloat16 that rounding alone would move a log-probability by up to 0.12.
    return torch.mm(hidden, weight.t(), out_dtype=torch.float32)


def _sinusoidal_codes(num_codes: int, width: int, padding_id: int) -> Tensor:
    """Return Tensor2tensor's codes, (num_codes, width) float32; the row of padding is zero."""
    half = width // 2
    steps = torch.exp(torch.arange(half).float() * -(math.log(10000) / (half - 1)))
    angles = torch.arange(num_codes).float()[:, None] * steps[None]  # (num_codes, half)
    codes = torch.cat([angles.sin(), angles.cos()], dim=1)
    codes = functional.pad(codes, (0, width - codes.shape[1]))
    codes[padding_id] = 0
    return codes
