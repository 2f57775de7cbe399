"""The attention targets of tokens."""

import pytest
import torch

from training.dense_labels import MIDDLE, dense_labels
from training.gaze import FIRST_IMAGE_TOKEN, NOWHERE, Answer, Gazes, gaze_loss
from training.tokenizer import encode, train_tokenizer
from training.world import SceneObject

pytestmark = pytest.mark.slow  # trains a tokenizer

RED_CIRCLE = SceneObject("red", "circle", "medium", (0.0, 0.0, 0.25, 0.25))
BLUE_CIRCLE = SceneObject("blue", "circle", "medium", (0.5, 0.5, 0.75, 0.75))
RED_STAR = SceneObject("red", "star", "medium", (0.75, 0.0, 1.0, 0.25))
OBJECTS = (RED_CIRCLE, BLUE_CIRCLE, RED_STAR)
BLUE_BOX = "<object><patch_index_0528><patch_index_0759></object>"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(seed=0)


def mentions(tokenizer, ids, bits):
    """Return the tokens that refer to objects, each with its bits."""
    words = tokenizer.convert_ids_to_tokens(ids)
    return [(word, bit) for word, bit in zip(words, bits, strict=True) if bit != NOWHERE]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red circle", [("▁circle", 0b001)]),
        ("all circles", [("▁circles", 0b011)]),
        ("the red things", [("▁things", 0b101)]),
        ("Is there a green star?", [("▁star", 0)]),
        ("Circle right of a star", [("▁Circle", 0b011), ("▁star", 0b100)]),
        (f"<phrase> It</phrase>{BLUE_BOX} is", [("<patch_index_0759>", 0b010)]),
    ],
)
def test_a_noun_refers_to_every_object_that_it_fits(tokenizer, text, expected):
    """Zero means that no object fits; the token learns that its search fails."""
    ids = encode(tokenizer, text)
    assert mentions(tokenizer, ids, Gazes(tokenizer).mentioned(ids, OBJECTS)) == expected


def test_an_answer_refers_to_all_its_targets_and_then_to_each(tokenizer):
    prompt = encode(tokenizer, "<phrase> circles</phrase>")
    red, blue = "<patch_index_0000><patch_index_0231>", "<patch_index_0528><patch_index_0759>"
    answer = encode(tokenizer, f"<object>{red}</delimiter_of_multi_objects/>{blue}</object>")
    about = Answer(len(prompt), (RED_CIRCLE, BLUE_CIRCLE))
    bits = Gazes(tokenizer).chosen([*prompt, *answer], OBJECTS, about)
    assert mentions(tokenizer, [*prompt, *answer], bits) == [
        ("</phrase>", 0b011),
        ("<object>", 0b001),
        ("<patch_index_0000>", 0b001),
        ("<patch_index_0231>", 0b011),
        ("</delimiter_of_multi_objects/>", 0b010),
        ("<patch_index_0528>", 0b010),
        ("<patch_index_0759>", 0b011),
        ("</object>", 0b011),
    ]


def test_the_compared_object_has_its_own_attention_head(tokenizer):
    """So both positions are known before the answer starts with yes or no."""
    prompt = encode(tokenizer, "Is the blue circle left of the red star? Answer:")
    ids = [*prompt, *encode(tokenizer, "Yes")]
    about = Answer(len(prompt), (BLUE_CIRCLE, RED_STAR), landmark=RED_STAR)
    gazes = Gazes(tokenizer)
    assert {bit for _, bit in mentions(tokenizer, ids, gazes.chosen(ids, OBJECTS, about))} == {
        0b010
    }
    compared = mentions(tokenizer, ids, gazes.compared(ids, OBJECTS, about))
    assert {bit for _, bit in compared} == {0b100}
    assert compared[0][0] == ":", "the answer's first word is foretold there"


def test_a_batch_without_supervised_tokens_has_no_loss():
    middles = torch.full((1, 64), -1)
    nobody = torch.tensor([[NOWHERE]])
    assert gaze_loss(attention_on(1), nobody, middles, with_nothing=False) == 0


def attention_on(*places):
    """Return (1, 1, 67): equal shares at these positions of the prefix."""
    attention = torch.zeros(1, 1, 67)
    attention[..., list(places)] = 1 / len(places)
    return attention


@pytest.mark.parametrize("with_nothing", [True, False])
@pytest.mark.parametrize("wanted", [0, 0b001, 0b110])
def test_equal_attention_to_the_centres_has_no_loss(wanted, with_nothing):
    middles = torch.from_numpy(dense_labels(OBJECTS, 8)[:, MIDDLE])[None]
    of_objects = [FIRST_IMAGE_TOKEN + place for place in (9, 45, 15)]
    places = [place for bit, place in enumerate(of_objects) if wanted >> bit & 1]
    if with_nothing or not wanted:
        places.append(0)
    bits = torch.tensor([[wanted]])
    right = gaze_loss(attention_on(*places), bits, middles, with_nothing=with_nothing)
    assert right.item() == pytest.approx(0, abs=1e-3)
    wrong = gaze_loss(attention_on(1), bits, middles, with_nothing=with_nothing)
    assert wrong > 4
