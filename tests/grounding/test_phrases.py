"""Phrases are found as whole words; scripts without spaces have no word borders."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.grounding.phrases import find_whole_words, fold


@pytest.mark.parametrize(
    ("text", "phrase", "start"),
    [
        ("红色圆圈在哪里", "红色圆圈", 0),
        ("红色圆圈在哪里", "圆圈", 2),
        ("在iPhone旁边", "iPhone", 1),
        ("3个红圈3", "红圈", 2),
        ("赤い丸はどこですか", "赤い丸", 0),
        ("スキーをする", "スキー", 0),
        ("ｱｲｽを", "ｱｲｽ", 0),
        ("วงกลมสีแดงอยู่ไหน", "สีแดง", 5),
        ("វង់មូលក្រហមនៅ", "ក្រហម", 6),
        ("ວົງມົນສີແດງຢູ່ໃສ", "ສີແດງ", 6),
        ("အနီရောင်စက်ဝိုင်းဘယ်", "စက်ဝိုင်း", 8),
        ("དམར་པོ་", "དམར", 0),
    ],
)  # fmt: skip
def test_a_phrase_is_found_in_text_without_spaces(text: str, phrase: str, start: int) -> None:
    """Chinese, Japanese, Thai, Khmer, Lao, Burmese, Tibetan, and Latin words among them."""
    assert next(find_whole_words(fold(text), phrase)) == (start, start + len(phrase))


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("สีแดง", "ส"),  # its vowel is written above it
        ("กำ", "ก"),
        ("ក្រ", "ក្"),  # the next letter is stacked below
        ("က္က", "က္"),
        ("スキーを", "スキ"),
        ("人々", "人"),
        ("が", "か"),
        ("๑๒", "๑"),
        ("fireplace", "fire"),
        ("한국어", "한국"),
    ],
)
def test_no_sign_is_separated_from_its_letter(text: str, phrase: str) -> None:
    """Numbers, and words of scripts with spaces, are not split either."""
    assert list(find_whole_words(fold(text), phrase)) == []


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("Is the  cat here?", "the cat", "the  cat"),
        ("Is the cat here?", "the  cat", "the cat"),
        ("Is the\u00a0cat here?", "the cat", "the\u00a0cat"),
        ("Is the\ncat here?", "the cat", "the\ncat"),
        ("the cat\u2019s tail", "cat's tail", "cat\u2019s tail"),
        ("the cat's tail", "cat\u2019s tail", "cat's tail"),
        ("the cafe\u0301 there", "caf\u00e9", "cafe\u0301"),
        ("the caf\u00e9 there", "cafe\u0301", "caf\u00e9"),
        ("\u304b\u3099\u3042", "\u304c", "\u304b\u3099"),
        ("x\u0301 y", "x\u0301", "x\u0301"),
        ("e\u0301 e\u0301 b", "b", "b"),
    ],
)
def test_spellings_that_look_the_same_are_equal(text: str, phrase: str, found: str) -> None:
    """The span refers to the text in its own spelling."""
    [(start, end)] = find_whole_words(fold(text), phrase)
    assert text[start:end] == found


@given(st.text("ab \u0301\u00e9\u2019'\u00a0\u7ea2", max_size=12), st.data())
def test_a_span_contains_text_that_folds_to_the_phrase(text: str, data: st.DataObject) -> None:
    """This holds for any spelling; the text after a span never starts with a mark."""
    phrase = data.draw(st.text("ab \u0301\u00e9\u2019'\u00a0\u7ea2", min_size=1, max_size=3))
    assume(phrase.strip() == phrase)
    for start, end in find_whole_words(fold(text), phrase):
        assert list(find_whole_words(fold(text[start:end]), phrase)) == [(0, end - start)]
        assert text[end : end + 1] != "\u0301"
