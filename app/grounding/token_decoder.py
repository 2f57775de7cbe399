"""Decodes an answer token by token, with the same result as decoding all tokens at once."""

from collections.abc import Sequence

from app.grounding.space_cleaner import SpaceCleaner
from app.grounding.tokenizer import Kosmos2Tokenizer


class TokenDecoder:
    """Converts the tokens after the picture to markup.

    The returned parts, joined, equal the result of `Kosmos2Tokenizer.decode` after the picture's
    `</image>`. Each token is decoded once. The decoder holds back characters whose bytes are
    incomplete, and spaces that following punctuation would remove.
    """

    def __init__(self, tokenizer: Kosmos2Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._cleaner = SpaceCleaner() if tokenizer.cleans_up_spaces else None
        self._pending: list[int] = []

    def push(self, token_ids: Sequence[int]) -> str:
        """Process the next tokens and return the markup that no later token can change."""
        self._pending += token_ids
        ends = map(self._tokenizer.ends_character, reversed(token_ids))
        num_open = next((number for number, is_end in enumerate(ends) if is_end), None)
        if num_open is None:
            return ""
        return self._decode(len(self._pending) - num_open)

    def finish(self) -> str:
        """Return the remaining markup. Call it after the last token."""
        markup = self._decode(len(self._pending))
        return markup + self._cleaner.finish() if self._cleaner else markup

    def _decode(self, num_tokens: int) -> str:
        markup = self._tokenizer.decode_behind_picture(self._pending[:num_tokens])
        del self._pending[:num_tokens]
        return self._cleaner.push(markup) if self._cleaner else markup
