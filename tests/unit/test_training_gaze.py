"""Where tokens are shown to look."""

import pytest
import torch

from training.dense_labels import OWNER, dense_labels
from training.gaze import NOWHERE, Gazes, gaze_loss
from training.tokenizer import encode, train_tokenizer
from training.world import SceneObject

RED_CIRCLE = SceneObject("red", "circle", "medium", (0.0, 0.0, 0.25, 0.25))
BLUE_CIRCLE = SceneObject("blue", "circle", "medium", (0.5, 0.5, 0.75, 0.75))
RED_STAR = SceneObject("red", "star", "medium", (0.75, 0.0, 1.0, 0.25))
OBJECTS = (RED_CIRCLE, BLUE_CIRCLE, RED_STAR)
BLUE_BOX = "<object><patch_index_0528><patch_index_0759></object>"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(seed=0)


def gazes_of(tokenizer, text, kind):
    """The tokens that speak of objects, each with its bits."""
    ids = encode(tokenizer, text)
    bits = getattr(Gazes(tokenizer), kind)(ids, OBJECTS)
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
def test_a_noun_means_every_object_that_it_fits(tokenizer, text, expected):
    """Zero where there is none: a token may also learn that it looks in vain."""
    assert gazes_of(tokenizer, text, "mentioned") == expected


def test_an_object_is_chosen_before_its_name_and_its_corners(tokenizer):
    text = f"It is<phrase> a blue circle</phrase>{BLUE_BOX}."
    chosen = ["<phrase>", "▁a", "▁blue", "▁circle", "</phrase>", "<object>", "<patch_index_0528>"]
    assert gazes_of(tokenizer, text, "chosen") == [(word, 0b010) for word in chosen]


def test_attention_on_the_right_places_costs_nothing():
    owners = torch.from_numpy(dense_labels(OBJECTS, 8)[:, OWNER])[None]
    on_stars = (owners == 2).float() / (owners == 2).sum()
    attention = torch.stack([on_stars, on_stars, torch.zeros_like(on_stars)], dim=1)
    nothing = torch.tensor([[0b100, NOWHERE, 0]])
    assert gaze_loss(attention, nothing, owners).item() == pytest.approx(0, abs=1e-3)
    elsewhere = torch.tensor([[0b001, NOWHERE, 0]])
    assert gaze_loss(attention, elsewhere, owners) > 4
