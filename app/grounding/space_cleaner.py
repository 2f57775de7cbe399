"""Removes the spaces that decoding inserts before punctuation, from a whole or a growing text.

The rules are those of `clean_up_tokenization` in `transformers.tokenization_utils_base`: ten
replacements, each applied to the whole result of the previous one.
"""

import re

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

_SECOND_CHARACTERS = "".join(old[1] for old, _ in CLEAN_UP_RULES)  # the first one is a space
_MAY_BEGIN_RULE = re.compile(rf" (?:[{re.escape(_SECOND_CHARACTERS)}]|\Z)")


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
        self._holds_nothing = True

    def push(self, piece: str) -> str:
        """Process the next piece and return the text that no later piece can change."""
        if self._holds_nothing and not _MAY_BEGIN_RULE.search(piece):
            return piece  # most tokens of an answer
        for replacement in self._replacements:
            piece = replacement.push(piece)
        self._holds_nothing = not any(replacement.held for replacement in self._replacements)
        return piece

    def finish(self) -> str:
        """Return the remaining text. Call it after the last piece."""
        rest = ""
        for replacement in self._replacements:
            rest = replacement.push(rest) + replacement.finish()
        return rest


class _Replacement:
    """`str.replace` for a text that arrives in pieces.

    Attributes:
        held: the end of the text, if the next piece may complete `old` there.
    """

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new
        self._beginnings = [old[:length] for length in range(len(old) - 1, 0, -1)]
        self.held = ""

    def push(self, piece: str) -> str:
        *replaced, rest = (self.held + piece).split(self._old)
        self.held = next(filter(rest.endswith, self._beginnings), "")
        return self._new.join([*replaced, rest.removesuffix(self.held)])

    def finish(self) -> str:
        held, self.held = self.held, ""
        return held
