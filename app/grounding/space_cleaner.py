"""Takes the spaces out of a text that decoding puts before punctuation, also while it grows.

The rules are those of `clean_up_tokenization` in `transformers.tokenization_utils_base`: ten
replacements, each of the whole result of the one before.
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
    """Clean up a whole text.

    >>> clean_up_spaces("It is n't a dog .")
    "It isn't a dog."
    """
    for old, new in CLEAN_UP_RULES:
        text = text.replace(old, new)
    return text


class SpaceCleaner:
    """Cleans up a text piece by piece; joined, the pieces are the whole text cleaned up at once.

    Held back is only what a replacement may still begin with.

    >>> cleaner = SpaceCleaner()
    >>> cleaner.push("It is n"), cleaner.push("'t a dog "), cleaner.push("."), cleaner.finish()
    ('It is', "n't a dog", '.', '')
    """

    def __init__(self) -> None:
        self._replacements = [_Replacement(old, new) for old, new in CLEAN_UP_RULES]

    def push(self, piece: str) -> str:
        """Take the next piece; return what no later one can change."""
        for replacement in self._replacements:
            piece = replacement.push(piece)
        return piece

    def finish(self) -> str:
        """Return what is left, now that no more will come."""
        rest = ""
        for replacement in self._replacements:
            rest = replacement.push(rest) + replacement.finish()
        return rest


class _Replacement:
    """`str.replace` of a text that comes in pieces."""

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
