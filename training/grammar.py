"""Prompts and right answers for every task except questions, from a scene's objects."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.grounding.boxes import box_to_patch_indices
from app.grounding.tasks import TASKS, Region, write_prompt
from training.descriptions import (
    alone_in,
    enumeration,
    fill,
    groups,
    kind_of,
    object_markup,
    reading_order,
    the,
    with_article,
)
from training.relations import (
    RELATIONS,
    betweenness,
    extreme,
    main_relation,
    nearest,
    offset,
    only_one,
)
from training.world import PLURALS, SceneObject

Objects = Sequence[SceneObject]
GENERAL_WORDS = ("shape", "object", "thing")
SPOKEN_RELATIONS = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}


@dataclass(frozen=True)
class Example:
    """A prompt, its answer, and the objects that the answer is about.

    If prompt or answer describe a position relative to another object, that is the `landmark`.
    """

    kind: str
    prompt: str
    answer: str
    targets: tuple[SceneObject, ...]
    landmark: SceneObject | None = None


def prompt_for(
    task: str, text: str | None = None, *, region: Region | None = None, grounding: bool = True
) -> str:
    """Return the prompt that the service writes for a request."""
    regions = [region] if region else []
    return write_prompt(TASKS[task], text=text, regions=regions, grounding=grounding)


def region_of(thing: SceneObject, phrase: str | None = None) -> Region:
    """Return an object's box as a region of a request."""
    return Region(phrase, (box_to_patch_indices(thing.xyxy),))


def brief_caption(objects: Objects, rng: random.Random, grounding: bool = True) -> Example:
    """Return `An image of` and every object."""
    answer = f"{enumeration(groups(objects), grounding)}."
    prompt = prompt_for("brief_caption", grounding=grounding)
    return Example("brief_caption", prompt, answer, tuple(objects))


def detailed_caption(objects: Objects, rng: random.Random, grounding: bool = True) -> Example:
    """Describe every object with its size, then a relation of two, then the largest."""
    prompt = prompt_for("detailed_caption", grounding=grounding)
    answer = f" The image features{enumeration(groups(objects, by_size=True), grounding)}."
    singles = [thing for thing in reading_order(objects) if thing in alone_in(objects)]
    if len(singles) > 1:
        first, last = singles[0], singles[-1]
        relation = main_relation(first, last)
        answer += f" The {kind_of(first)} is {relation} the {kind_of(last)}."
    largest = extreme(objects, largest=True)
    # Otherwise its name would fit another object, too.
    if largest in singles:
        answer += f" The largest shape is the {kind_of(largest)}."
    return Example("detailed_caption", prompt, answer, tuple(objects))


def phrase_grounding(objects: Objects, rng: random.Random) -> Example:
    """Return a phrase by colour, shape or both, and every object that it fits."""
    target = rng.choice(objects)
    draw = rng.random()
    if draw < 0.7:
        found = [thing for thing in objects if thing.kind == target.kind]
        words, plural = kind_of(target), f"{target.colour} {PLURALS[target.shape]}"
    elif draw < 0.85:
        found = [thing for thing in objects if thing.shape == target.shape]
        words, plural = target.shape, PLURALS[target.shape]
    else:
        found = [thing for thing in objects if thing.colour == target.colour]
        words = f"{target.colour} {rng.choice(GENERAL_WORDS)}"
        plural = f"{words}s"
    kind = "phrase_grounding" if len(found) == 1 else "several_objects"
    return _grounded_phrase(kind, _spoken(words, plural, len(found), rng), found, rng)


def phrase_of_kind(objects: Objects, rng: random.Random, kind: str) -> Example | None:
    """Return the first phrase of 20 attempts of a kind: for one object, or for several."""
    # The kind of a phrase depends on its random target and words, hence several attempts.
    attempts = (phrase_grounding(objects, rng) for _ in range(20))
    return next((example for example in attempts if example.kind == kind), None)


def _spoken(words: str, plural: str, count: int, rng: random.Random) -> str:
    """Return the words as people type them: with an article, without, or in the plural."""
    forms = [with_article(words)] * 3 + [f"the {words}", words]
    if count > 1:
        forms += [plural, f"the {plural}", f"all {plural}"]
    return rng.choice(forms)


def _grounded_phrase(
    kind: str,
    phrase: str,
    found: Objects,
    rng: random.Random,
    landmark: SceneObject | None = None,
) -> Example:
    prompt = prompt_for("phrase_grounding", _any_case(phrase, rng))
    return Example(kind, prompt, object_markup(found), reading_order(found), landmark)


def _any_case(phrase: str, rng: random.Random) -> str:
    return phrase[0].upper() + phrase[1:] if rng.random() < 0.15 else phrase


def referring_expression(objects: Objects, rng: random.Random) -> Example | None:
    """Return a phrase that only a relation makes unambiguous, and the object that it means."""
    makers = [_by_relation] * 5 + [_between] * 3 + [_largest, _smallest]
    rng.shuffle(makers)
    for make in makers:
        if expression := make(objects, rng):
            phrase, target, landmark = expression
            return _grounded_phrase("referring_expression", phrase, [target], rng, landmark)
    return None


Expression = tuple[str, SceneObject, SceneObject | None]
"""Words, the object that they mean, and the landmark if there is exactly one."""


def _rivals(objects: Objects, rng: random.Random) -> tuple[str, list[SceneObject]]:
    """Return a name that fits two or more objects if possible, and these objects."""
    thing = rng.choice(objects)
    names: list[tuple[str, Callable[[SceneObject], bool]]] = [
        (kind_of(thing), lambda other: other.kind == thing.kind),
        (thing.shape, lambda other: other.shape == thing.shape),
        (f"{thing.colour} {rng.choice(GENERAL_WORDS)}", lambda o: o.colour == thing.colour),
        (rng.choice(GENERAL_WORDS), lambda other: True),
    ]
    for name, fits in names:
        found = [other for other in objects if fits(other)]
        if len(found) > 1:
            return name, found
    return kind_of(thing), [thing]


def _by_relation(objects: Objects, rng: random.Random) -> Expression | None:
    name, rivals = _rivals(objects, rng)
    landmarks = alone_in(objects)
    pairs = [(landmark, relation) for landmark in landmarks for relation in RELATIONS]
    rng.shuffle(pairs)
    for landmark, relation in pairs:
        others = [thing for thing in rivals if thing is not landmark]
        # `only_one` calls the function at once, before the loop changes its variables (B023).
        target = only_one(others, lambda t: offset(t, relation, landmark))  # noqa: B023
        # Without rivals, the name alone would identify the object.
        if target and len(rivals) > 1:
            spoken = rng.choice(SPOKEN_RELATIONS[relation])
            return f"the {name} {spoken} the {kind_of(landmark)}", target, landmark
    return None


def _between(objects: Objects, rng: random.Random) -> Expression | None:
    name, rivals = _rivals(objects, rng)
    landmarks = alone_in(objects)
    rng.shuffle(landmarks)
    for a, b in pairwise(landmarks):
        others = [thing for thing in rivals if thing not in (a, b)]
        target = only_one(others, lambda t: betweenness(t, a, b))  # noqa: B023
        if target and len(rivals) > 1:
            return f"the {name} between the {kind_of(a)} and the {kind_of(b)}", target, None
    return None


def _largest(objects: Objects, rng: random.Random) -> Expression | None:
    name, rivals = _rivals(objects, rng)
    target = extreme(rivals, largest=True)
    if target is None:
        return None
    return f"the {rng.choice(('largest', 'biggest'))} {name}", target, None


def _smallest(objects: Objects, rng: random.Random) -> Expression | None:
    name, rivals = _rivals(objects, rng)
    target = extreme(rivals, largest=False)
    return (f"the smallest {name}", target, None) if target else None


def region_description(objects: Objects, rng: random.Random) -> Example:
    """Return a description of the object in a box, and its relation to the nearest one."""
    target = rng.choice(objects)
    prompt = prompt_for("referring_expression_generation", region=region_of(target))
    answer = f" {with_article(f'{target.size} {kind_of(target)}')}"
    others = [thing for thing in alone_in(objects) if thing is not target]
    landmark = nearest(target, others) if others else None
    if landmark:
        relation = main_relation(target, landmark)
        answer += fill(f" {relation}{{landmark}}", grounding=True, landmark=the(landmark))
    return Example("region_description", prompt, f"{answer}.", (target,), landmark)
