"""Drafts: a pass reads a probable next token with the last one, and chooses two tokens per row.

A draft never changes an answer. The pass chooses the next token as if there were no draft. Only if
that token is the draft, the pass has computed the logits of the token after it, and chooses this
one too, with its own history and noise (docs/adr/0041-drafts-from-the-grammar.md).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from app.engine.kv_slots import KVSlots
from app.engine.sampling import NO_TOKEN, RowOptions, choose_next

MAX_ROWS = 1
"""The most rows of a decode pass with drafts (docs/adr/0041-drafts-from-the-grammar.md)."""

_KEY = slice(RowOptions._fields.index("high_key"), RowOptions._fields.index("low_key") + 1)
_LATER_KEY = slice(RowOptions._fields.index("later_high_key"), len(RowOptions._fields))
_DRAFT = RowOptions._fields.index("draft")


def are_worthwhile(options: Sequence[RowOptions]) -> bool:
    """Return whether a decode pass should read the drafts of its rows, two tokens per row.

    >>> are_worthwhile([RowOptions(draft=7)])
    True
    >>> are_worthwhile([RowOptions(draft=7), RowOptions(draft=7)])
    False
    """
    return len(options) <= MAX_ROWS and count_drafts(options) > 0


def count_drafts(options: Sequence[RowOptions]) -> int:
    """Return the number of rows that have a draft."""
    return sum(row.draft != NO_TOKEN for row in options)


def drafts_of(options: Tensor) -> Tensor:
    """Return the draft of each row, (R,), or token 0 for a row without one.

    Args:
        options: `RowOptions` of each row, (R, 10).
    """
    return options[:, _DRAFT].long().clamp(min=0)


def choose_verified(
    logits: Tensor, token_ids: Tensor, options: Tensor, max_ngram_size: int, is_sampled: bool
) -> tuple[Tensor, Tensor]:
    """Return the next T tokens of each row and their log-probabilities, (R, T) both.

    Args:
        logits: (R, T, V), float32: after the last token, and if T is 2 after the draft.
        token_ids: all tokens of each row from its beginning, (R, L), with the draft after the last
            one; arbitrary beyond.
        options: `RowOptions` of each row, (R, 10) float64.
        max_ngram_size: at least the largest n-gram size that a row bans; 0 if no row bans any.
        is_sampled: false if every row is greedy.

    Returns:
        Tokens and log-probabilities. The second token is `NO_TOKEN` if the first is not the draft.
    """
    size = logits.shape[:2]
    tokens, logarithms = choose_next(
        logits.flatten(0, 1),
        token_ids[:, None].expand(-1, size[1], -1).flatten(0, 1),
        _options_of_tokens(options, size[1]).flatten(0, 1),
        max_ngram_size,
        is_sampled,
    )
    tokens, logarithms = tokens.view(size), logarithms.view(size)
    if size[1] == 1:
        return tokens, logarithms
    # Logits that are not finite must fail the row in the pass that reads the token itself, as if
    # there were no drafts.
    is_accepted = (tokens[:, 0] == options[:, _DRAFT]) & logarithms.isfinite().all(dim=1)
    second = tokens[:, 1].masked_fill(~is_accepted, NO_TOKEN)
    return torch.stack([tokens[:, 0], second], dim=1), logarithms


def _options_of_tokens(options: Tensor, num_tokens: int) -> Tensor:
    """Return the options of each row's next tokens, (R, T, 10)."""
    if num_tokens == 1:
        return options[:, None]
    later = options.clone()
    later[:, 0] += 1
    later[:, _KEY] = options[:, _LATER_KEY]
    return torch.stack([options, later], dim=1)


def store_tokens(slots: KVSlots, rows: Tensor, lengths: Tensor, tokens: Tensor) -> None:
    """Write chosen tokens into their slots, and clear the keys and values of rejected drafts.

    Args:
        rows: indices of the slots, (R,).
        lengths: number of tokens of each row before them, (R,).
        tokens: result of `choose_verified`, (R, T).
    """
    first = tokens[:, 0]
    slots.token_ids[rows, lengths] = first
    if tokens.shape[1] == 1:
        return
    is_accepted = tokens[:, 1] != NO_TOKEN
    last = torch.where(is_accepted, tokens[:, 1], first)
    slots.token_ids[rows, lengths + is_accepted] = last
    slots.clear_tokens(rows, lengths, ~is_accepted)
