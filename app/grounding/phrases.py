"""Finds a phrase in a text, as whole words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from unicodedata import category, name, normalize

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
"""Prefixes of the Unicode names of their characters."""

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u2032\uff07", "'"))
_STACKERS = "\u1039\u17d2\u1a60"  # Burmese, Khmer, Tai Tham: join the next letter to the same unit
_VOWELS_BEHIND = "\u0e33\u0eb3"  # sara am of Thai and Lao, drawn over the letter before it
_MAI_YAMOK = "\u0e46\u0ec6"  # Thai and Lao sign that repeats a word; a unit of its own


@dataclass(frozen=True)
class FoldedText:
    """A text in a uniform spelling.

    Attributes:
        letters: composed characters, with single blanks and straight apostrophes.
        offsets: the start of each letter in the original; the last entry is the original's length.
    """

    letters: str
    offsets: Sequence[int]


def fold(text: str) -> FoldedText:
    """Return a text in a uniform spelling; marks are composed with their letter where possible.

    >>> fold("a  b").letters, list(fold("a  b").offsets)
    ('a b', [0, 1, 3, 4])
    """
    pairs = enumerate(pairwise(text), start=1)
    starts = [0, *(at for at, pair in pairs if not _are_one_unit(*pair))]
    units = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    folded = [" " if unit.isspace() else normalize("NFC", unit) for unit in units]
    offsets = [start for start, unit in zip(starts, folded, strict=True) for _ in unit]
    return FoldedText("".join(folded).translate(_APOSTROPHES), [*offsets, len(text)])


def find_whole_words(text: FoldedText, phrase: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each occurrence of a phrase that splits no word.

    The search is case-sensitive. A combining accent belongs to the letter before it: if the phrase
    ended between them, a tokenizer that composes the two would read the parts differently. Scripts
    without spaces between words have no word borders to respect. Spellings that look the same are
    equal: composed or decomposed, any number and kind of blanks, any apostrophe.

    Args:
        text: fold it once for all phrases.
        phrase: not empty.

    >>> list(find_whole_words(fold("the fire near the fireplace"), "the fire"))
    [(0, 8)]
    >>> list(find_whole_words(fold("红色圆圈在哪里"), "圆圈"))
    [(2, 4)]
    >>> list(find_whole_words(fold("Is the  cat’s tail?"), "the cat's tail"))
    [(3, 18)]
    """
    letters, wanted = text.letters, fold(phrase).letters
    start = letters.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        before, after = letters[start - 1 : start], letters[end : end + 1]
        if not (_belong_together(before, wanted[0]) or _belong_together(wanted[-1], after)):
            yield text.offsets[start], text.offsets[end]
        start = letters.find(wanted, start + 1)


def _are_one_unit(left: str, right: str) -> bool:
    if left.isspace():
        return right.isspace()
    return category(right).startswith("M")


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
    """Return whether a character belongs to the one before it: an accent, a length mark, 々."""
    kind = category(character)
    is_sign = kind == "Lm" and _is_without_spaces(character) and character not in _MAI_YAMOK
    return kind.startswith("M") or is_sign or character in _VOWELS_BEHIND


def _is_without_spaces(character: str) -> bool:
    begins_so = name(character, "").startswith(_SCRIPTS_WITHOUT_SPACES)
    return begins_so and not character.isdecimal()
