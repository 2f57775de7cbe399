"""Generates questions of every kind about a scene, as users type them."""

import random
from collections.abc import Callable

from training import attribute_questions, relation_questions
from training.grammar import Example, Objects, prompt_for, region_of
from training.question import Question

_MAKERS: dict[str, Callable[[Objects, random.Random, bool], Question | None]] = {
    "colour": attribute_questions.ask_colour,
    "shape": attribute_questions.ask_shape,
    "size": attribute_questions.ask_size,
    "count": attribute_questions.ask_count,
    "existence": attribute_questions.ask_existence,
    "relation": relation_questions.ask_relation,
    "neighbour": relation_questions.ask_what_is_beside,
    "between": relation_questions.ask_what_is_between,
    "nearest": relation_questions.ask_what_is_nearest,
    "extreme": relation_questions.ask_extreme,
    "contents": attribute_questions.ask_contents,
}
# Relative frequency in training. Numbers and relations are the hardest; captions teach contents.
_SHARES = {
    "colour": 3,
    "shape": 3,
    "size": 1,
    "count": 6,
    "existence": 5,
    "relation": 5,
    "neighbour": 2,
    "between": 1,
    "nearest": 1,
    "extreme": 1,
    "contents": 1,
}


def ask(objects: Objects, rng: random.Random, grounding: bool = True) -> Example:
    """Return a random question with an unambiguous answer in the scene."""
    while True:
        kind = rng.choices(tuple(_SHARES), tuple(_SHARES.values()))[0]
        if example := ask_about(kind, objects, rng, grounding):
            return example


def ask_about(
    kind: str, objects: Objects, rng: random.Random, grounding: bool = True
) -> Example | None:
    """Return a question of one kind, or `None` if the scene has no unambiguous answer."""
    question = _MAKERS[kind](objects, rng, grounding)
    if question is None:
        return None
    region = (
        region_of(question.pointed_at[1], question.pointed_at[0]) if question.pointed_at else None
    )
    text = _as_typed(question.text, rng)
    prompt = prompt_for("grounded_vqa", text, region=region, grounding=grounding)
    return Example(f"vqa_{kind}", prompt, question.answer, question.targets, question.landmark)


def _as_typed(text: str, rng: random.Random) -> str:
    """Sometimes use a small first letter or omit the question mark, as users do."""
    if rng.random() < 0.15:
        text = text[0].lower() + text[1:]
    return text.removesuffix("?") if rng.random() < 0.12 else text
