"""Removes the spaces that decoding inserts before punctuation, from a whole or a growing text.

The rules are those of `clean_up_tokenization` in `transformers.tokenization_utils_base`: ten
replacements, each applied to the whole result of the previous one.
"""

CLEAN_UP_RULES = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def clean_up_spaces(text: str) -> str:
    """Return the text without spaces before punctuation.

    >>> clean_up_spaces("It is n't a dog .")
    "It isn't a dog."
    """
    for old, new in CLEAN_UP_RULES:
        text = text.replace(old, new)
    return text


class SpaceCleaner:
    """Cleans up a text piece by piece; the joined pieces equal the whole text cleaned up at once.

    The cleaner holds back only text with which a replacement may begin.

    >>> cleaner = SpaceCleaner()
    >>> cleaner.push("It is n"), cleaner.push("'t a dog "), cleaner.push("."), cleaner.finish()
    ('It is', "n't a dog", '.', '')
    """

    def __init__(self) -> None:
        self._replacements = [_Replacement(old, new) for old, new in CLEAN_UP_RULES]

    def push(self, piece: str) -> str:
        """Process the next piece and return the text that no later piece can change."""
        for replacement in self._replacements:
            piece = replacement.push(piece)
        return piece

    def finish(self) -> str:
        """Return the remaining text. Call it after the last piece."""
        rest = ""
        for replacement in self._replacements:
            rest = replacement.push(rest) + replacement.finish()
        return rest


class _Replacement:
    """`str.replace` for a text that arrives in pieces."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new
        self._beginnings = [old[:length] for length in range(len(old) - 1, 0, -1)]
        self._held = ""

    def push(self, piece: str) -> str:
        *replaced, rest = (self._held + piece).split(self._old)
        self._held = next(filter(rest.endswith, self._beginnings), "")
        return self._new.join([*replaced, rest.removesuffix(self._held)])

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held
