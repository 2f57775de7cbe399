"""The parser gives the result of the reference processor for every string."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import Kosmos2Processor

from app.grounding.boxes import is_inside_grid, patch_indices_to_box, sort_corners
from app.grounding.markup import (
    DELIMITER,
    END_OF_IMAGE,
    ParsedMarkup,
    parse,
    patch_tag,
    write_object,
    write_phrase,
)

ReferenceEntity = tuple[str, tuple[int, int], list[tuple[float, ...]]]

pieces = st.sampled_from(
    [
        "<phrase>",
        "</phrase>",
        "<object>",
        "</object>",
        DELIMITER,
        "<grounding>",
        "</image>",
        "<patch_index_0044>",
        "<patch_index_0863>",
        "<patch_index_7>",
        "<patch_index_2000>",
        "<patch_index_٣>",
        "<patch_index_>",
        "<patch_index_12",
        "<phr\nase>",
        "<obj",
        "</s>",
        "<",
        ">",
        "\n",
        "\u2028",
        " ",
        "  a cat ",
        "é ☕",
        "<phrase> a cat</phrase><object>",
        "<patch_index_0863><patch_index_0044>",
        f"<patch_index_0001><patch_index_0100>{DELIMITER}<patch_index_0002><patch_index_0200>",
        write_object([(1, 100)]),
        write_object([(100, 1), (5, 1024)]),
        write_phrase("  ") + write_object([(31, 992)]),
    ]
)
markups = st.lists(pieces | st.text(max_size=3), max_size=12).map("".join)


class ReferenceParser(Kosmos2Processor):
    """The reference without tokenizer and image processor, which parsing does not need."""

    def __init__(self) -> None:
        self.eoi_token = END_OF_IMAGE


def as_reference(parsed: ParsedMarkup) -> tuple[str, list[ReferenceEntity]]:
    """Return the parsed entities with the reference's names for boxes without a phrase."""
    entities: list[ReferenceEntity] = []
    for entity in parsed.entities:
        first, second = entity.boxes[0].patch_indices
        phrase = entity.phrase
        name = f"<patch_index_{first}><patch_index_{second}>" if phrase is None else phrase
        entities.append((name, entity.span, [box.box for box in entity.boxes]))
    return parsed.text, entities


def test_every_golden_case_is_parsed_as_in_the_reference(shared_kosmos2: Path) -> None:
    """They include the eight answers of the model card."""
    cases: list[dict[str, Any]] = json.loads(
        (shared_kosmos2 / "golden_postprocess.json").read_text()
    )["cases"]
    assert len(cases) == 36
    for case in cases:
        parsed = parse(case["raw"])
        entities = [
            (entity["name"], tuple(entity["span"]), [tuple(box) for box in entity["boxes"]])
            for entity in case["entities"]
        ]
        assert parsed.markup == case["kept"], case["id"]
        assert as_reference(parsed) == (case["text"], entities), case["id"]


@given(markups)
@example("a < b <object><patch_index_0001><patch_index_0044></object> > c")
@example("<phrase>  </phrase>" + write_object([(1, 44)]))
def test_any_markup_is_parsed_as_in_the_reference(markup: str) -> None:
    """The strings include incomplete and nested tags, blanks and line breaks."""
    reference = ReferenceParser()
    parsed = parse(markup)
    assert parsed.markup == reference.post_process_generation(markup, cleanup_and_extract=False)
    assert as_reference(parsed) == reference.post_process_generation(markup)


@given(markups)
def test_every_box_has_the_offset_of_its_tags(markup: str) -> None:
    """The offset finds the tokens that the score is computed from."""
    parsed = parse(markup)
    tags = re.finditer(r"<patch_index_\d{1,300}>", parsed.markup)
    offsets = [tag.start() for tag in tags]
    for entity in parsed.entities:
        for box in entity.boxes:
            assert box.markup_offset in offsets
            second = offsets[offsets.index(box.markup_offset) + 1]
            written = parsed.markup[box.markup_offset : second]
            assert written.endswith(">")
            assert int(written.removeprefix("<patch_index_")[:-1]) == box.patch_indices[0]


@given(markups)
def test_cleaned_entities_can_be_drawn(markup: str) -> None:
    """Spans match the phrases in the text; boxes lie in the picture, with sorted corners."""
    cleaned = parse(markup).cleaned()
    for entity in cleaned.entities:
        start, end = entity.span
        assert 0 <= start <= end <= len(cleaned.text)
        assert cleaned.text[start:end] == (entity.phrase or "")
        assert entity.phrase != ""
        assert entity.boxes
        for box in entity.boxes:
            assert is_inside_grid(box.patch_indices)
            assert box.patch_indices == sort_corners(box.patch_indices)
            assert box.box == patch_indices_to_box(*box.patch_indices)


@given(markups)
def test_cleaning_twice_equals_cleaning_once(markup: str) -> None:
    """Cleaned entities need no further change."""
    cleaned = parse(markup).cleaned()
    assert cleaned.cleaned() == cleaned


def test_an_entity_is_removed_if_all_its_boxes_lie_beyond_the_grid() -> None:
    """Its words stay in the text."""
    parsed = parse(write_phrase(" a cat") + write_object([(1024, 2000)]) + " sits").cleaned()
    assert parsed.entities == ()
    assert parsed.text == "a cat sits"


@given(
    st.lists(
        st.tuples(
            st.text("ab é☕", min_size=1).filter(str.strip),
            st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 1023)), min_size=1, max_size=4),
        )
    )
)
def test_written_markup_is_parsed_back(entities: list[tuple[str, list[tuple[int, int]]]]) -> None:
    """Prompts and answers use the same tags."""
    markup = "".join(write_phrase(f" {phrase}") + write_object(boxes) for phrase, boxes in entities)
    read = [
        (entity.phrase, [box.patch_indices for box in entity.boxes])
        for entity in parse(markup).entities
    ]
    assert read == [(phrase.strip(), boxes) for phrase, boxes in entities]


@pytest.mark.parametrize("digits", [301, 5000])
def test_a_number_too_long_for_python_is_not_a_location(digits: int) -> None:
    """The reference raises an error here, which a hostile prompt could exploit."""
    markup = f"<object><patch_index_{'1' * digits}><patch_index_0001></object>"
    assert parse(markup).entities == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "<\n",
        "<phrase>",
        "<object>",
        "<phrase>a",
        "<phrase> a</phrase>",
        "<patch_index_1",
        "<patch_index_0001>",
        "<object><patch_index_0001><patch_index_0044>",
        f"<patch_index_0001><patch_index_0044>{DELIMITER}",
        write_phrase(" a") + write_object([(1, 44)]),
        write_phrase(" a") + f"<object><patch_index_0001><patch_index_0044>{DELIMITER}",
    ],
)
def test_parsing_time_of_hostile_markup_is_linear(unit: str) -> None:
    """Ten times the text takes about ten times as long, not a hundred times."""

    def seconds(repeats: int) -> float:
        begin = time.process_time()
        parse("<object>" + unit * repeats).cleaned()
        return time.process_time() - begin

    shorter = min(seconds(2_000) for _ in range(3))
    longer = min(seconds(20_000) for _ in range(2))  # another process may disturb one
    assert longer < 30 * shorter + 0.05


def test_location_tags_are_written_with_four_digits() -> None:
    """The vocabulary has them in this form."""
    assert patch_tag(7) == "<patch_index_0007>"
