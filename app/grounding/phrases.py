"""Where a phrase stands in a text, as whole words."""

import unicodedata
from collections.abc import Iterator


def find_whole_words(text: str, phrase: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each occurrence of a phrase that cuts no word in two.

    Case counts. An accent written as a character of its own belongs to what stands before it: were
    it cut off, a tokenizer that composes the two would read the text differently in parts.

    Args:
        text: where to look.
        phrase: what for; not empty.

    >>> list(find_whole_words("the fire near the fireplace", "the fire"))
    [(0, 8)]
    """
    start = text.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (_belong_together(before, phrase[0]) or _belong_together(phrase[-1], after)):
            yield start, end
        start = text.find(phrase, start + 1)


def _belong_together(left: str, right: str) -> bool:
    if not left or not right:
        return False
    return _is_mark(right) or (_is_of_word(left) and _is_of_word(right))


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_" or _is_mark(character)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
