"""Chooses tokens from logits, batched on the device: n-gram ban, temperature, top-k, top-p, draw.

The order and the meaning of each step are those of `transformers`' `generate`. A sampled token is
the winner of a Gumbel race: the largest sum of a token's scaled logit and its noise, where the
noise is a hash of the request's seed, the index of the new token and the token's id. So a row's
token depends on its own logits and seed alone. Rounding changes it only if the two largest sums
differ by no more than the rounding error (docs/adr/0029-gumbel-sampling.md).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

NO_TOKEN = -1
"""Stands for a token that does not exist."""

_BANNED = -torch.inf
_32_BITS = 0xFFFFFFFF
# Odd, and below 2³¹, so that a product with a 32-bit word never overflows int64.
_FIRST_FACTOR, _SECOND_FACTOR = 0x21F0AAAD, 0x735A2D97


class RowOptions(NamedTuple):
    """Options of one row for its next token, in numbers that float64 represents exactly.

    The defaults are those of a free slot: greedy, with a length of one token.

    Attributes:
        num_tokens: number of prompt and answer tokens in the row.
        no_repeat_ngram_size: 0 disables the ban.
        temperature: 0 is greedy.
        top_k: 0 disables the filter.
        top_p: 1 disables the filter.
        high_key: upper 32 bits of the row's noise key; ignored for a greedy row.
        low_key: lower 32 bits of the row's noise key.
        draft: token that probably follows; `NO_TOKEN` if the row has no draft.
        later_high_key: as `high_key`, for the token after the draft.
        later_low_key: as `low_key`, for the token after the draft.
    """

    num_tokens: int = 1
    no_repeat_ngram_size: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    high_key: int = 0
    low_key: int = 0
    draft: int = NO_TOKEN
    later_high_key: int = 0
    later_low_key: int = 0


@dataclass(frozen=True)
class SamplingRows:
    """Sampling options of R rows.

    Attributes:
        temperature: (R,); 0 is greedy.
        top_k: (R,); 0 disables the filter.
        top_p: (R,); 1 disables the filter.
        keys: noise keys, (R, 2) int64: upper and lower 32 bits.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    keys: Tensor


def noise_keys(seed: int, count: int) -> np.ndarray:
    """Return the noise keys of a request, (count, 2) uint32; row i is for its i-th new token.

    Philox is counter-based, so the keys depend on the seed alone: not on the batch, the time or the
    number of restarts.

    >>> bool((noise_keys(7, 3) == noise_keys(7, 5)[:3]).all())
    True

    Args:
        seed: 0…2⁶³−1.
        count: number of new tokens.
    """
    words = np.random.Philox(key=seed).random_raw(count)  # (count,) uint64
    return np.stack([words >> 32, words & _32_BITS], axis=1).astype(np.uint32)


def gumbel_noise(keys: Tensor, vocabulary: int) -> Tensor:
    """Return independent standard Gumbel numbers for each row and token, (R, V) float64.

    The hash is integer arithmetic below 2⁶³, so it is equal on every processor and device.

    Args:
        keys: (R, 2) int64, each within 32 bits.
        vocabulary: V.
    """
    tokens = _mix(torch.arange(vocabulary, device=keys.device), 0)  # (V,)
    hashes = _mix(tokens[None] ^ keys[:, :1], keys[:, 1:])  # (R, V), 0…2³²−1
    uniform = hashes.double().add_(0.5).mul_(2.0**-32)  # never 0, never 1
    return uniform.log_().neg_().log_().neg_()


def _mix(words: Tensor, key: Tensor | int) -> Tensor:
    """Mix 32-bit words by a bijection in which each input bit flips about half the output bits."""
    words = words ^ (words >> 16)
    words.mul_(_FIRST_FACTOR).bitwise_and_(_32_BITS).bitwise_xor_(key)
    words.bitwise_xor_(words >> 15)
    words.mul_(_SECOND_FACTOR).bitwise_and_(_32_BITS)
    return words.bitwise_xor_(words >> 15)


def ban_repeated_ngrams(
    logits: Tensor, token_ids: Tensor, lengths: Tensor, sizes: Tensor, max_size: int
) -> Tensor:
    """Ban each token that would complete an n-gram which the row already contains.

    Args:
        logits: (R, V).
        token_ids: all tokens of each row from its beginning, (R, L); arbitrary beyond its length.
        lengths: number of valid tokens, (R,).
        sizes: n of each row, (R,); 0 disables the ban.
        max_size: at least the largest of `sizes`, as a number of the host.

    Returns:
        (R, V), with −∞ for banned tokens; rows with size 0 are unchanged.
    """
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)[None]  # (1, L)
    # The token at position j is banned when the n−1 tokens before it are the row's last n−1.
    banned = (
        (positions < lengths[:, None]) & (positions >= sizes[:, None] - 1) & (sizes[:, None] > 0)
    )
    for back in range(1, max_size):
        last = token_ids.gather(1, (lengths - back).clamp(min=0)[:, None])  # (R, 1)
        is_equal = token_ids.roll(back, dims=1) == last  # (R, L): the token `back` before j
        banned &= is_equal | (back >= sizes)[:, None]
    hits = torch.zeros_like(logits, dtype=torch.int8)
    hits.scatter_reduce_(1, token_ids, banned.to(torch.int8), reduce="amax")
    return logits.masked_fill(hits.bool(), _BANNED)


def choose_next(
    logits: Tensor, token_ids: Tensor, options: Tensor, max_ngram_size: int, is_sampled: bool
) -> tuple[Tensor, Tensor]:
    """Return the next token of each row and its log-probability, (R,) both.

    Args:
        logits: (R, V), float32.
        token_ids: all tokens of each row from its beginning, (R, L); arbitrary beyond its length.
        options: `RowOptions` of each row, (R, 10) float64.
        max_ngram_size: at least the largest n-gram size that a row bans; 0 if no row bans any.
        is_sampled: false if every row is greedy.
    """
    allowed = logits
    if max_ngram_size:
        lengths, sizes = options[:, :2].long().unbind(1)
        allowed = ban_repeated_ngrams(logits, token_ids, lengths, sizes, max_ngram_size)
    if is_sampled:
        tokens = choose_tokens(allowed, _sampling_rows(options))
    else:
        tokens = allowed.argmax(dim=-1)
    return tokens, log_probabilities(logits, tokens[:, None])[:, 0]


def _sampling_rows(options: Tensor) -> SamplingRows:
    temperature, top_k, top_p = options[:, 2:5].unbind(1)
    return SamplingRows(temperature.float(), top_k.long(), top_p.double(), options[:, 5:7].long())


def choose_tokens(logits: Tensor, rows: SamplingRows) -> Tensor:
    """Return one token per row, (R,): the most probable one if greedy, otherwise a drawn one.

    Args:
        logits: (R, V), float32, after the ban.
    """
    drawn = race(logits, rows).argmax(dim=-1)
    return torch.where(rows.temperature == 0, logits.argmax(dim=-1), drawn)


def race(logits: Tensor, rows: SamplingRows) -> Tensor:
    """Return each token's value in the race, (R, V) float64; the largest of a row is drawn.

    Because the noise has a Gumbel distribution, a token wins with its probability after
    temperature, top-k and top-p. The filters only remove tokens from the race.

    Args:
        logits: (R, V), float32, after the ban.
        rows: sampling options; the result of a greedy row is meaningless.
    """
    # The clamp avoids a division by zero in greedy rows.
    scaled = logits / rows.temperature.clamp(min=1e-6)[:, None]
    is_removed = scaled < _lowest_kept(scaled, rows)[:, None]
    noise = gumbel_noise(rows.keys, logits.shape[-1])
    return noise.add_(scaled).masked_fill_(is_removed, _BANNED)


def _lowest_kept(scaled: Tensor, rows: SamplingRows) -> Tensor:
    """Return the smallest scaled logit of each row that passes top-k, then top-p, (R,).

    Tokens with exactly that logit pass too; for top-k that is upstream's rule.
    """
    ordered = scaled.sort(dim=-1, descending=True).values  # (R, V)
    vocabulary = ordered.shape[-1]
    kth = rows.top_k.masked_fill(rows.top_k == 0, vocabulary).clamp(max=vocabulary) - 1
    of_top_k = ordered.gather(1, kth[:, None])  # (R, 1)
    kept = ordered.masked_fill(ordered < of_top_k, _BANNED)
    # Float64, so that the sum over the vocabulary has a smaller rounding error than the logits.
    reached = kept.double().softmax(dim=-1).cumsum(dim=-1)  # (R, V)
    num_before = (reached < rows.top_p[:, None]).sum(dim=-1).clamp(max=vocabulary - 1)
    of_top_p = ordered.gather(1, num_before[:, None]).masked_fill(rows.top_p[:, None] >= 1, _BANNED)
    return torch.maximum(of_top_k, of_top_p)[:, 0]


def log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the log-probabilities of each row's tokens, (R, N) float32.

    Args:
        logits: (R, V), float32, before the ban and any filter.
        tokens: (R, N).
    """
    return logits.log_softmax(dim=-1).gather(1, tokens)
