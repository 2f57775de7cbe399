"""Generated answers are true and parse back to their objects."""

import random
from itertools import islice

import pytest

from app.grounding.boxes import box_to_patch_indices
from app.grounding.markup import parse
from training.descriptions import reading_order, with_article
from training.evaluate import kind_named
from training.examples import examples_of
from training.grammar import (
    brief_caption,
    detailed_caption,
    phrase_grounding,
    referring_expression,
    region_description,
)
from training.questions import ask_about
from training.relations import betweenness, extreme, main_relation, only_one
from training.world import SceneObject, plan_scene


def scene_objects(seed):
    return plan_scene(random.Random(seed)).objects


def cells(objects):
    return [box_to_patch_indices(thing.xyxy) for thing in objects]


def parsed_boxes(markup):
    return [box.patch_indices for entity in parse(markup).entities for box in entity.boxes]


def at(x, y, side=0.2, colour="red", shape="circle"):
    """Return an object with its centre at a position."""
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return SceneObject(colour, shape, "medium", box)


@pytest.mark.parametrize("make", [brief_caption, detailed_caption])
@pytest.mark.parametrize("seed", range(40))
def test_a_caption_grounds_every_object_once_under_its_name(make, seed):
    objects = scene_objects(seed)
    example = make(objects, random.Random(seed))
    entities = parse(example.prompt + example.answer).entities
    named = {
        (kind_named(entity.phrase), box.patch_indices)
        for entity in entities
        for box in entity.boxes
    }
    assert sum(len(entity.boxes) for entity in entities) == len(objects)
    assert named == {(thing.kind, box_to_patch_indices(thing.xyxy)) for thing in objects}


@pytest.mark.parametrize("seed", range(60))
def test_a_phrase_is_answered_with_all_objects_that_it_fits_in_reading_order(seed):
    objects = scene_objects(seed)
    example = phrase_grounding(objects, random.Random(seed))
    colour, shape = kind_named(parse(example.prompt).text)
    fits = [
        thing
        for thing in objects
        if colour in (None, thing.colour) and shape in (None, thing.shape)
    ]
    assert parsed_boxes(example.prompt + example.answer) == cells(reading_order(fits))
    assert example.kind == ("phrase_grounding" if len(fits) == 1 else "several_objects")


@pytest.mark.parametrize("seed", range(60))
def test_a_referring_expression_refers_to_one_object(seed):
    objects = scene_objects(seed)
    example = referring_expression(objects, random.Random(seed))
    if example:
        assert len(example.targets) == 1
        assert parsed_boxes(example.prompt + example.answer) == cells(example.targets)


@pytest.mark.parametrize("seed", range(30))
def test_a_region_is_described_by_its_own_colour_and_shape(seed):
    example = region_description(scene_objects(seed), random.Random(seed))
    assert parsed_boxes(example.prompt) == cells(example.targets)
    assert kind_named(example.answer) == example.targets[0].kind


@pytest.mark.parametrize("grounding", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_counts_and_existence_are_true(seed, grounding):
    objects = scene_objects(seed)
    counted = ask_about("count", objects, random.Random(seed), grounding)
    asked = ask_about("existence", objects, random.Random(seed), grounding)
    words = parse(counted.answer).text.split()
    number = ["no", "one", "two", "three", "four", "five", "six"].index(words[2])
    assert number == len(counted.targets)
    assert parse(asked.answer).text.startswith("Yes, there" if asked.targets else "No, there is no")


@pytest.mark.parametrize("seed", range(20))
def test_boxes_are_written_only_with_grounding(seed):
    """Without grounding, neither prompt nor answer has tags."""
    objects, rng = scene_objects(seed), random.Random(seed)
    for example in islice(examples_of(objects, rng), 20):
        if "<grounding>" not in example.prompt:
            assert "<" not in example.prompt + example.answer


def test_answers_are_sentences_after_a_space_or_a_tag():
    for seed in range(30):
        rng = random.Random(seed)
        for example in islice(examples_of(scene_objects(seed), rng), 12):
            assert example.answer.startswith((" ", "<phrase> ", "<object>"))
            assert "  " not in parse(example.prompt + example.answer).text


def test_objects_are_sorted_left_to_right_then_top_to_bottom():
    low, high, right = at(0.2, 0.8), at(0.2, 0.3), at(0.6, 0.1)
    assert reading_order([right, low, high]) == (high, low, right)


def test_only_clear_relations_count():
    """Users could disagree about unclear ones."""
    landmark = at(0.5, 0.5)
    assert main_relation(at(0.2, 0.6), landmark) == "left of"
    assert main_relation(at(0.45, 0.9), landmark) == "below"
    near, far, hardly = at(0.3, 0.5), at(0.1, 0.5), at(0.55, 0.5)
    assert only_one([near, hardly], lambda t: 0.5 - t.centre[0]) is near
    assert only_one([near, far], lambda t: 0.5 - t.centre[0]) is None
    assert only_one([hardly], lambda t: 0.5 - t.centre[0]) is None


def test_between_requires_a_position_on_the_connecting_line():
    a, b = at(0.1, 0.5), at(0.9, 0.5)
    assert betweenness(at(0.5, 0.55), a, b) > 0
    assert betweenness(at(0.5, 0.9), a, b) < 0
    assert betweenness(at(0.95, 0.5), a, b) < 0


def test_the_largest_must_be_clearly_larger():
    small, medium, large = at(0.2, 0.2, 0.2), at(0.5, 0.5, 0.21), at(0.8, 0.8, 0.3)
    assert extreme([small, medium, large], largest=True) is large
    assert extreme([small, medium, large], largest=False) is None
    assert extreme([small], largest=True) is None


def test_articles_follow_sound():
    assert with_article("orange ring") == "an orange ring"
    assert with_article("red arrow") == "a red arrow"
