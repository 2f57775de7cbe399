"""A phrase is found as whole words; scripts without spaces have no other border than the text's."""

import pytest

from app.grounding.phrases import find_whole_words


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
def test_a_phrase_is_found_where_no_spaces_are_written(text: str, phrase: str, start: int) -> None:
    """Chinese, Japanese, Thai, Khmer, Lao, Burmese, Tibetan, and Latin words among them."""
    assert next(find_whole_words(text, phrase)) == (start, start + len(phrase))


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
def test_no_sign_is_cut_from_its_letter(text: str, phrase: str) -> None:
    """Nor a number or a word of a script with spaces in two."""
    assert list(find_whole_words(text, phrase)) == []
