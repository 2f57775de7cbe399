"""A box of an answer has the score, the refinement and the confidence of its own tokens."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.checkpoint.calibration import UNCALIBRATED, Calibration
from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import GroundedText
from app.grounding.markup import parse_markup
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import LocationDistribution, NewToken
from app.pictures.marks import scale_box
from tests.grounding.token_sequences import IMAGE, OBJECT, PROMPTS, ids_of, read


@given(data=st.data())
def test_a_score_is_computed_from_the_boxs_own_tokens(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], data: st.DataObject
) -> None:
    """The n-th location tag is the n-th location token, regardless of tokens between them."""
    names = [*OBJECT.split(), "▁a", ".", "</delimiter_of_multi_objects/>"]
    new_ids = data.draw(
        st.lists(
            st.just(ids_of(vocabulary, OBJECT))
            | st.sampled_from(ids_of(vocabulary, " ".join(names))).map(lambda i: [i]),
            min_size=1,
        ).map(lambda lists: [token_id for ids in lists for token_id in ids])
    )
    _, grounded = read(tokenizer, tokenizer.encode_prompt(PROMPTS[2]), new_ids)
    numbers = [n for n, token_id in enumerate(new_ids) if token_id in tokenizer.patch_ids]
    offsets = [n for n in range(len(grounded.markup)) if grounded.markup.startswith("<patch", n)]
    parsed = parse_markup(grounded.markup).cleaned()
    places = [box.markup_offset for entity in parsed.entities for box in entity.boxes]
    scores = [box.score for entity in grounded.entities for box in entity.boxes]
    assert scores[0] is None  # the box of the prompt
    for place, score in zip(places[1:], scores[1:], strict=True):
        first = offsets.index(place) - 2
        mean = -0.01 * (numbers[first] + numbers[first + 1]) / 2
        assert score == pytest.approx(math.exp(mean))


def located(token_id: int, cell: int, neighbour: int) -> NewToken:
    """Return a location token whose probability is shared by two cells."""
    cells = np.array([cell, neighbour], dtype="<u2").tobytes()
    probabilities = np.array([0.75, 0.25], dtype="<f4").tobytes()
    location = LocationDistribution(cells, probabilities)
    return NewToken(0, token_id, -0.1, None, 0.0, 0, location=location)


def read_object(
    tokenizer: Kosmos2Tokenizer,
    vocabulary: dict[str, int],
    prompt: str,
    tokens: str,
    calibration: Calibration = UNCALIBRATED,
) -> GroundedText:
    """Return the answer of an object whose corners lie between two cells each."""
    neighbours = {"<patch_index_0044>": (44, 45), "<patch_index_0863>": (863, 895)}
    prompt_ids = tokenizer.encode_prompt(prompt)
    reader = AnswerReader(tokenizer, prompt_ids, IMAGE, calibration=calibration)
    for name in tokens.split():
        if name in neighbours:
            reader.read(located(vocabulary[name], *neighbours[name]))
        elif name in vocabulary:
            reader.read(NewToken(0, vocabulary[name], -0.1, None, 0.0, 0))
    return reader.grounded()


def test_a_generated_box_is_refined_from_the_distributions_of_its_own_tokens(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """The first corner moves a quarter of a cell to the right, the second one down."""
    grounded = read_object(tokenizer, vocabulary, PROMPTS[2], OBJECT)
    of_prompt, box = (entity.boxes[0] for entity in grounded.entities)
    assert (of_prompt.xyxy_refined, of_prompt.xyxy_refined_normalized) == (None, None)
    assert of_prompt.confidence is None
    x0, y0, x1, y1 = box.xyxy_normalized
    refined = (x0 + 0.25 / 32, y0, x1, y1 + 0.25 / 32)
    assert box.xyxy_refined_normalized == pytest.approx(refined)
    assert box.xyxy_refined == pytest.approx(scale_box(refined, IMAGE.width, IMAGE.height))
    assert 0.9 < (box.confidence or 0) < 1
    assert box.patch_indices == (44, 863)


def test_a_refined_box_and_its_confidence_use_the_calibration(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """With the exponent 0.5, the neighbour weighs √3 times less than the chosen cell, not 3."""
    calibration = Calibration(cell_exponent=0.5, confidence_curve=((0.0, 0.25), (1.0, 0.25)))
    grounded = read_object(tokenizer, vocabulary, PROMPTS[2], OBJECT, calibration)
    box = grounded.entities[1].boxes[0]
    moved = 1 / (1 + math.sqrt(3)) / 32
    x0, y0, x1, y1 = box.xyxy_normalized
    assert box.xyxy_refined_normalized == pytest.approx((x0 + moved, y0, x1, y1 + moved))
    assert box.confidence == 0.25


def test_a_box_with_one_corner_in_the_prompt_is_not_refined(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    grounded = read_object(tokenizer, vocabulary, PROMPTS[3], "<patch_index_0863> </object>")
    [box] = grounded.entities[0].boxes
    assert (box.score, box.xyxy_refined, box.confidence) == (None, None, None)


def test_text_that_only_looks_like_a_location_has_no_score(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """Ordinary tokens can spell a tag, but they have no score."""
    letters = [*"<patch_index_0001>"]
    if not vocabulary.keys() >= set(letters):
        pytest.skip("this vocabulary cannot spell a tag")
    spelled = [vocabulary[letter] for letter in letters]
    opened, closed = ids_of(vocabulary, "<object>"), ids_of(vocabulary, "</object>")
    genuine = ids_of(vocabulary, OBJECT)
    new_ids = [*opened, *spelled, *spelled, *closed, *genuine]
    _, grounded = read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)
    assert [entity.boxes[0].score is None for entity in grounded.entities] == [True, False]
