"""The tokens that passes choose, as objects of the host."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.engine.sampling import NO_TOKEN
from app.engine.sequence import Sequence
from app.ipc.engine_messages import LocationDistribution


@dataclass(frozen=True)
class ChosenToken:
    """A token that follows the tokens of a sequence.

    Attributes:
        log_probability: its log-probability.
        number: 0 for the next token, 1 for the token after an accepted draft.
        location: distribution over cells if it is a location token, otherwise `None`.
        named_log_probabilities: of the tokens that the request names, with its first token.
    """

    sequence: Sequence
    token_id: int
    log_probability: float
    number: int = 0
    location: LocationDistribution | None = None
    named_log_probabilities: tuple[float, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the logits were finite; otherwise the token is meaningless."""
        return math.isfinite(self.log_probability)


def chosen_tokens(
    sequences: list[Sequence],
    rows: Iterable[int],
    tokens: list[list[float]],
    logarithms: list[list[float]],
) -> list[ChosenToken]:
    """Return the tokens that a pass chose for sequences; those of a sequence in their order.

    Args:
        rows: index of each sequence in the lists of the pass.
        tokens: by number and row.
        logarithms: log-probabilities by number and row.
    """
    return [
        ChosenToken(sequence, int(tokens[number][row]), logarithms[number][row], number)
        for sequence, row in zip(sequences, rows, strict=True)
        for number in range(len(tokens))
        if tokens[number][row] != NO_TOKEN
    ]


def with_named(
    chosen: list[ChosenToken], sequences: list[Sequence], named: list[list[float]]
) -> list[ChosenToken]:
    """Return the tokens with the log-probabilities of named tokens at the first of each sequence.

    Args:
        named: one list per named token, with one entry per sequence.
    """
    if not named:
        return chosen
    by_sequence = {
        sequence: values[: len(sequence.named_token_ids)]
        for sequence, values in zip(sequences, zip(*named, strict=True), strict=True)
    }
    return [
        replace(choice, named_log_probabilities=by_sequence[choice.sequence])
        if choice.number == 0
        else choice
        for choice in chosen
    ]
