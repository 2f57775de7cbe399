"""A growing text is parsed like the whole text, and as little as possible is held back."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from app.grounding.markup import DELIMITER, ParsedEntity, parse_markup, write_object, write_phrase
from app.grounding.markup_stream import AnswerText, MarkupStream, find_answer
from app.grounding.space_cleaner import CLEAN_UP_RULES, SpaceCleaner

MARKUP = [
    "<phrase>",
    "</phrase>",
    "<object>",
    "</object>",
    DELIMITER,
    "<grounding>",
    "</image>",
    "<patch_index_0044>",
    "<patch_index_2000>",
    "<patch_index_",
    "<obj",
    "<",
    ">",
    "\n",
    "\u2028",
    " ",
    "  a cat ",
    "é ☕",
    write_object([(1, 100)]),
    write_object([(100, 1), (5, 1024)]),
    write_phrase("  ") + write_object([(31, 992)]),
    write_phrase(" a dog"),
    write_phrase(" a > b\n") + write_object([(31, 992), (1, 100)]),
]
pieces = st.lists(st.sampled_from(MARKUP) | st.text(max_size=3), max_size=12)
spaced = st.lists(st.sampled_from([" ", *"'ntmsver.?!,\u00a0x"]), max_size=30)


def cut(text: str, sizes: list[int]) -> list[str]:
    """Return the text in pieces of these sizes, and the rest."""
    parts = []
    for size in sizes:
        parts.append(text[:size])
        text = text[size:]
    return [*parts, text]


def texts(found: list[str | ParsedEntity]) -> str:
    return "".join(item for item in found if isinstance(item, str))


def entities(found: list[str | ParsedEntity]) -> tuple[ParsedEntity, ...]:
    return tuple(item for item in found if isinstance(item, ParsedEntity))


def transformers_clean_up(text: str) -> str:
    return PreTrainedTokenizerBase.clean_up_tokenization(None, text)  # type: ignore[arg-type]


@given(spaced)
@example([" ", "'", " ", "'", "s", " ", "n", "'", "t"])
@example([" ", " ", ".", " ", "'", "r", "e"])
def test_spaces_are_cleaned_up_as_in_transformers(parts: list[str]) -> None:
    """The rules of `clean_up_tokenization` apply one after the other, for any split of the text."""
    cleaner = SpaceCleaner()
    cleaned = "".join(cleaner.push(part) for part in parts) + cleaner.finish()
    assert cleaned == transformers_clean_up("".join(parts))


@given(spaced)
@example([" "] * 20)
@example([" ", "'", " ", " "])
def test_only_text_that_may_be_replaced_is_held_back(parts: list[str]) -> None:
    """Each rule holds back at most its own beginning; a letter that continues none releases it."""
    cleaner = SpaceCleaner()
    text, given_out = "".join(parts), "".join(cleaner.push(part) for part in parts)
    held = transformers_clean_up(text).removeprefix(given_out)
    # It begins with a space, or with the apostrophe of " ' ", which loses its spaces at the end.
    assert held == "" or held[0] in " '"
    assert len(held) <= sum(len(old) - 1 for old, _new in CLEAN_UP_RULES)
    assert given_out + cleaner.push("x") == transformers_clean_up(text + "x")


def test_no_rule_of_the_clean_up_changes_a_tag() -> None:
    """So no tag is held back, and its offset in the markup is known when its token arrives."""
    assert not any(set("<>") & set(old + new) for old, new in CLEAN_UP_RULES)


@given(pieces)
@example(["a < b <object><patch_index_0001><patch_index_0044></object> > c"])
@example([" ", write_object([(1, 100)]), " x"])
@example(["a <\n", write_object([(1, 100)])])
def test_growing_markup_is_parsed_like_the_whole(parts: list[str]) -> None:
    """Text, entities and their order are equal for every prefix."""
    stream = MarkupStream()
    found = [item for part in parts for item in stream.push(part)] + stream.finish()
    whole = parse_markup("".join(parts)).cleaned()
    assert texts(found) == whole.text
    assert entities(found) == whole.entities


@given(pieces, st.lists(st.integers(0, 9)))
def test_the_split_of_the_markup_makes_no_difference(parts: list[str], sizes: list[int]) -> None:
    """A token of another model may end in the middle of a tag."""
    whole, stream = MarkupStream(), MarkupStream()
    markup = "".join(parts)
    expected = whole.push(markup) + whole.finish()
    found = [item for part in cut(markup, sizes) for item in stream.push(part)] + stream.finish()
    assert texts(found) == texts(expected)
    assert entities(found) == entities(expected)


@given(pieces)
def test_an_entity_follows_its_own_words_and_precedes_all_others(parts: list[str]) -> None:
    """A client that draws it has the text up to the phrase, and no more."""
    stream = MarkupStream()
    text = ""
    for item in (item for part in parts for item in stream.push(part)):
        if isinstance(item, str):
            text += item
        else:
            assert len(text) == item.text_end


@given(pieces)
def test_only_white_space_and_possible_tags_are_held_back(parts: list[str]) -> None:
    """A client gets each word as soon as it is generated."""
    stream = MarkupStream()
    given_out = texts([item for part in parts for item in stream.push(part)])
    rest = parse_markup("".join(parts) + "\0").text.removeprefix(given_out).removesuffix("\0")
    assert re.fullmatch(r"\s*(<[^>\n]*)?", rest)


@pytest.mark.parametrize(
    ("parts", "sent"),
    [
        (["a", " dog", " sits"], ["a", " dog", " sits"]),
        (["a ", "  ", "dog"], ["a", "", "   dog"]),
        (["  ", "a"], ["", "a"]),
        (["a < b", " c", "> d"], ["a", "", "  d"]),
        (["a < b", "\n", "d"], ["a", " < b", "\nd"]),
        (["a", "<phrase>", " dog", "</phrase>", " b"], ["a", "", " dog", "", " b"]),
        (["a", "</object>", "b"], ["a", "", "b"]),
    ],
)
def test_text_is_returned_as_soon_as_it_is_final(parts: list[str], sent: list[str]) -> None:
    stream = MarkupStream()
    assert [texts(stream.push(part)) for part in parts] == sent


@given(st.text("ab '<>", max_size=6), st.lists(st.text("ab '<>", max_size=3), max_size=5))
def test_the_answer_starts_where_the_whole_text_starts_to_differ(
    prompt: str, parts: list[str]
) -> None:
    """The answer may even replace characters of the prompt."""
    prompt = prompt.strip()
    words = [part.strip() for part in parts]
    text = "".join(words)
    answer = AnswerText(prompt)
    assert "".join(map(answer.push, words)) == text[find_answer(prompt, text) :]


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "<\n",
        " ",
        "a <",
        "<phrase>a",
        "</object>",
        write_phrase(" a") + write_object([(1, 44)]),
    ],
)
def test_streaming_time_of_hostile_markup_is_linear(unit: str) -> None:
    """Ten times the tokens take about ten times as long, not a hundred times."""

    def seconds(repeats: int) -> float:
        begin = time.process_time()
        stream = MarkupStream()
        for _ in range(repeats):
            stream.push(unit)
        stream.finish()
        return time.process_time() - begin

    shorter = min(seconds(1_000) for _ in range(3))
    assert seconds(10_000) < 30 * shorter + 0.05
