"""Decodes an answer token by token, to the text that decoding it at once would give."""

from collections.abc import Sequence

from app.grounding.space_cleaner import SpaceCleaner
from app.grounding.tokenizer import Kosmos2Tokenizer


class TokenDecoder:
    """Turns the tokens that follow the picture's place into markup.

    Joined, what it returns is what `Kosmos2Tokenizer.decode` makes of the whole sequence behind the
    picture's `</image>`. Each token is decoded once. Held back are characters whose bytes are not
    all there, and spaces that punctuation would swallow.
    """

    def __init__(self, tokenizer: Kosmos2Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._cleaner = SpaceCleaner() if tokenizer.cleans_up_spaces else None
        self._pending: list[int] = []

    def push(self, token_ids: Sequence[int]) -> str:
        """Take the next tokens; return the markup that no later one can change."""
        self._pending += token_ids
        ends = map(self._tokenizer.ends_character, reversed(token_ids))
        num_open = next((number for number, is_end in enumerate(ends) if is_end), None)
        if num_open is None:
            return ""
        return self._decode(len(self._pending) - num_open)

    def finish(self) -> str:
        """Return what is left, now that no more will come."""
        markup = self._decode(len(self._pending))
        return markup + self._cleaner.finish() if self._cleaner else markup

    def _decode(self, num_tokens: int) -> str:
        markup = self._tokenizer.decode_behind_picture(self._pending[:num_tokens])
        del self._pending[:num_tokens]
        return self._cleaner.push(markup) if self._cleaner else markup
