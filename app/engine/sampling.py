"""From logits to tokens, batched on the device: n-gram ban, temperature, top-k, top-p, choice.

The order and the meaning of each step are those of `transformers`' `generate`. Randomness comes
in as one uniform number a row, so a row's token depends on its own logits and number alone.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_BANNED = -torch.inf


class RowOptions(NamedTuple):
    """How one row chooses its next token, in numbers that float64 holds exactly.

    The defaults are those of a slot that nobody holds: greedy, and it looks at its first token.

    Attributes:
        num_tokens: that the row holds.
        no_repeat_ngram_size: 0: off.
        temperature: 0 is greedy.
        top_k: 0 is off.
        top_p: 1 is off.
        uniform: the row's random number in [0, 1); any for a greedy row.
    """

    num_tokens: int = 1
    no_repeat_ngram_size: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    uniform: float = 0.0


@dataclass(frozen=True)
class SamplingRows:
    """How each of R rows chooses; all tensors (R,).

    Attributes:
        temperature: 0 is greedy.
        top_k: 0 is off.
        top_p: 1 is off.
        uniform: numbers in [0, 1) for rows that are not greedy.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    uniform: Tensor


def uniform_numbers(seed: int, count: int) -> np.ndarray:
    """The random numbers of a request: the i-th belongs to its i-th new token.

    Philox is counter-based, so the numbers depend on the seed alone: not on the batch, nor on when
    the request runs, nor on how often it is started again.

    >>> bool((uniform_numbers(7, 3) == uniform_numbers(7, 5)[:3]).all())
    True

    Args:
        seed: 0…2⁶³−1.
        count: how many, float64 in [0, 1).
    """
    return np.random.Generator(np.random.Philox(key=seed)).random(count)


def ban_repeated_ngrams(
    logits: Tensor, token_ids: Tensor, lengths: Tensor, sizes: Tensor, max_size: int
) -> Tensor:
    """Forbid each token that would end an n-gram which the row already holds.

    Args:
        logits: (R, V).
        token_ids: all tokens of each row from its beginning, (R, L); beyond the length: anything.
        lengths: tokens that count, (R,).
        sizes: n of each row, 0: off, (R,).
        max_size: the largest of `sizes`, known to the host.

    Returns:
        (R, V), with −∞ where banned; rows with size 0 as they were.
    """
    places = torch.arange(token_ids.shape[1], device=token_ids.device)[None]  # (1, L)
    # A token at place j is banned when the n−1 tokens before it are the row's last n−1.
    banned = (places < lengths[:, None]) & (places >= sizes[:, None] - 1) & (sizes[:, None] > 0)
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
    """The next token of each row, and the logarithm of its probability: (R,) both.

    Args:
        logits: (R, V), float32.
        token_ids: all tokens of each row from its beginning, (R, L); beyond the length: anything.
        options: how each row chooses, (R, 6) float64, `RowOptions` in each row.
        max_ngram_size: at least the largest n-gram size that a row bans; 0: no row does.
        is_sampled: false when every row is greedy.
    """
    allowed = logits
    if max_ngram_size:
        lengths, sizes = options[:, :2].long().unbind(1)
        allowed = ban_repeated_ngrams(logits, token_ids, lengths, sizes, max_ngram_size)
    if is_sampled:
        tokens = choose_tokens(allowed, _sampling_rows(options))
    else:
        tokens = allowed.argmax(dim=-1)
    return tokens, log_probabilities(logits, tokens)


def _sampling_rows(options: Tensor) -> SamplingRows:
    temperature, top_k, top_p, uniform = options[:, 2:].unbind(1)
    return SamplingRows(temperature.float(), top_k.long(), top_p.float(), uniform)


def choose_tokens(logits: Tensor, rows: SamplingRows) -> Tensor:
    """One token for each row, (R,): the most probable, or drawn as the row asks.

    Args:
        logits: (R, V), float32, after the ban.
        rows: how each row chooses.
    """
    greedy = logits.argmax(dim=-1)  # (R,)
    scaled = logits / rows.temperature.clamp(min=1e-6)[:, None]
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)  # (R, V)
    probabilities = _filtered_probabilities(ordered, rows)
    reached = probabilities.cumsum(dim=-1) <= rows.uniform[:, None]  # (R, V)
    last = (probabilities > 0).sum(dim=-1) - 1  # rounding may leave the sum just under 1
    drawn = order.gather(1, torch.minimum(reached.sum(dim=-1), last)[:, None])[:, 0]
    return torch.where(rows.temperature == 0, greedy, drawn)


def _filtered_probabilities(ordered: Tensor, rows: SamplingRows) -> Tensor:
    """Top-k, then top-p, on logits in descending order: (R, V), float64, summing to 1."""
    vocabulary = ordered.shape[-1]
    kth = rows.top_k.masked_fill(rows.top_k == 0, vocabulary).clamp(max=vocabulary) - 1
    # Tokens as probable as the k-th stay, as upstream.
    ordered = ordered.masked_fill(ordered < ordered.gather(1, kth[:, None]), _BANNED)
    before = ordered.softmax(dim=-1).cumsum(dim=-1).roll(1, dims=-1)
    before[:, 0] = 0  # the most probable token always stays
    is_out = (before >= rows.top_p[:, None]) & (rows.top_p < 1)[:, None]
    return ordered.masked_fill(is_out, _BANNED).double().softmax(dim=-1)


def log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """The logarithm of each row's probability of its token, (R,) float32.

    Args:
        logits: (R, V), float32, before the ban and any filter.
        tokens: (R,).
    """
    return logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
