"""Drafts from known answers, right and wrong ones, so that random weights accept some of them."""

from collections.abc import Collection, Iterable, Sequence


def no_draft(token_ids: Sequence[int], stops: Collection[int]) -> None:
    """Draft nothing: every pass then gives one token per row."""


def wrong_draft(token_ids: Sequence[int], stops: Collection[int]) -> int:
    """Draft a token that almost no row chooses."""
    return 600


class AnswerDrafts:
    """Drafts the next token of known rows, in some places a wrong token, in others none.

    Args:
        wrong: token of wrong drafts.
        rights: whether the draft is right, wrong (`False`) or missing (`None`), by the row's length
            modulo their number.
    """

    def __init__(
        self,
        wrong: int,
        rights: Sequence[bool | None] = (True, False, True, True, None, False, False),
    ) -> None:
        self._wrong, self._rights = wrong, rights
        self._next: dict[tuple[int, ...], int] = {}

    def learn(self, rows: Iterable[tuple[Sequence[int], Sequence[int]]]) -> None:
        """Learn the answers of rows: their prompts and their new tokens."""
        for prompt, answer in rows:
            for length, token in enumerate(answer):
                self._next[*prompt, *answer[:length]] = token

    def __call__(self, token_ids: Sequence[int], stops: Collection[int]) -> int | None:
        """Return a draft; see `DraftNext`."""
        is_right = self._rights[len(token_ids) % len(self._rights)]
        right = self._next.get(tuple(token_ids))
        if is_right is None or right is None:
            return None
        draft = right if is_right else self._wrong
        return None if draft in stops else draft
