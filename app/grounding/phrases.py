"""Where a phrase stands in a text, as whole words."""

import unicodedata
from collections.abc import Iterator

_SCRIPTS_WITHOUT_SPACES = (
    "CJK ",
    "IDEOGRAPHIC ",
    "HIRAGANA ",
    "KATAKANA ",
    "KATAKANA-HIRAGANA ",
    "HALFWIDTH KATAKANA ",
    "BOPOMOFO ",
    "YI ",
    "THAI ",
    "LAO ",
    "KHMER ",
    "MYANMAR ",
    "TIBETAN ",
    "TAI ",
    "NEW TAI LUE ",
    "JAVANESE ",
    "BALINESE ",
)
"""How the names of their characters begin."""

_STACKERS = "\u1039\u17d2\u1a60"  # of Burmese, Khmer, Tai Tham: the next letter is part of the same
_VOWELS_BEHIND = "\u0e33\u0eb3"  # the am of Thai and Lao, drawn over the letter before it
_MAI_YAMOK = "\u0e46\u0ec6"  # repeats a word in Thai and Lao; a sign of its own


def find_whole_words(text: str, phrase: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each occurrence of a phrase that cuts no word in two.

    Case counts. An accent written as a character of its own belongs to what stands before it: were
    it cut off, a tokenizer that composes the two would read the text differently in parts. Scripts
    that put no spaces between words show no border that could be cut.

    Args:
        text: where to look.
        phrase: what for; not empty.

    >>> list(find_whole_words("the fire near the fireplace", "the fire"))
    [(0, 8)]
    >>> list(find_whole_words("红色圆圈在哪里", "圆圈"))
    [(2, 4)]
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
    if _is_mark(right) or left in _STACKERS:
        return True
    if not (_is_of_word(left) and _is_of_word(right)):
        return False
    return not (_is_without_spaces(left) or _is_without_spaces(right))


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_" or _is_mark(character)


def _is_mark(character: str) -> bool:
    """Tell whether a character belongs to the one before it: an accent, a sign of length, 々."""
    category = unicodedata.category(character)
    is_sign = category == "Lm" and _is_without_spaces(character) and character not in _MAI_YAMOK
    return category.startswith("M") or is_sign or character in _VOWELS_BEHIND


def _is_without_spaces(character: str) -> bool:
    name = unicodedata.name(character, "")
    return name.startswith(_SCRIPTS_WITHOUT_SPACES) and not character.isdecimal()
