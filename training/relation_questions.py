"""Questions about relative positions, and about the largest object."""

import math
import random
from itertools import pairwise

from training.descriptions import Mention, alone_in, fill, kind_of, the, with_article
from training.grammar import GENERAL_WORDS, SPOKEN_RELATIONS, Objects
from training.question import Question
from training.relations import (
    CLEAR,
    OPPOSITES,
    RELATIONS,
    betweenness,
    extreme,
    nearest,
    offset,
    only_one,
)
from training.world import SceneObject


def ask_relation(objects: Objects, rng: random.Random, grounding: bool) -> Question | None:
    """Return a question whether one object lies left of (right of, above, below) another.

    The answer first states the position and then yes or no. A small model that must start with yes
    or no only guesses; after writing the position, it can attend to it.
    """
    singles = alone_in(objects)
    if len(singles) < 2:
        return None
    thing, landmark = rng.sample(singles, 2)
    # In between, yes and no could both be right.
    clear = [name for name in RELATIONS if offset(thing, name, landmark) > CLEAR]
    if not clear:
        return None
    true = rng.choice(clear)
    asked = rng.choice((true, OPPOSITES[true]))
    spoken = rng.choice(SPOKEN_RELATIONS[asked])
    text = f"Is the {kind_of(thing)} {spoken} the {kind_of(landmark)}?"
    answer = f"{{thing}} is {true}{{landmark}}, so {'yes' if asked == true else 'no'}."
    mentions = {"thing": Mention(f"The {kind_of(thing)}", (thing,)), "landmark": the(landmark)}
    return Question(text, fill(answer, grounding, **mentions), (thing, landmark), landmark=landmark)


def ask_what_is_beside(objects: Objects, rng: random.Random, grounding: bool) -> Question | None:
    """Return a question about the only object left of (right of, above, below) another."""
    pairs = [(landmark, relation) for landmark in alone_in(objects) for relation in RELATIONS]
    rng.shuffle(pairs)
    for landmark, relation in pairs:
        others = [thing for thing in objects if thing is not landmark]
        # `only_one` calls the function at once, before the loop changes its variables (B023).
        target = only_one(others, lambda t: offset(t, relation, landmark))  # noqa: B023
        if target:
            spoken = rng.choice(SPOKEN_RELATIONS[relation])
            which = rng.choice(("What", "Which shape"))
            text = f"{which} is {spoken} the {kind_of(landmark)}?"
            return _about_neighbour(text, landmark, target, rng, grounding)
    return None


def _about_neighbour(
    text: str, landmark: SceneObject, target: SceneObject, rng: random.Random, grounding: bool
) -> Question:
    """Return a question about a landmark's neighbour, sometimes with the landmark's box."""
    pointing = grounding and rng.random() < 0.3
    pointed_at = (f"the {kind_of(landmark)}", landmark) if pointing else None
    return Question(text, _it_is(target, grounding), (target,), pointed_at, landmark)


def _it_is(target: SceneObject, grounding: bool) -> str:
    """Return ` It is a red circle.`"""
    thing = Mention(with_article(kind_of(target)), (target,))
    return fill(" It is{thing}.", grounding, thing=thing)


def ask_what_is_between(objects: Objects, rng: random.Random, grounding: bool) -> Question | None:
    """Return a question about the only object between two others."""
    landmarks = alone_in(objects)
    rng.shuffle(landmarks)
    for a, b in pairwise(landmarks):
        others = [thing for thing in objects if thing not in (a, b)]
        if target := only_one(others, lambda t: betweenness(t, a, b)):  # noqa: B023
            text = f"What is between the {kind_of(a)} and the {kind_of(b)}?"
            return Question(text, _it_is(target, grounding), (target,))
    return None


def ask_what_is_nearest(objects: Objects, rng: random.Random, grounding: bool) -> Question | None:
    """Return a question about the nearest object, if one is clearly the nearest."""
    singles = alone_in(objects)
    if len(objects) < 2 or not singles:
        return None
    landmark = rng.choice(singles)
    others = [thing for thing in objects if thing is not landmark]
    target = nearest(landmark, others)
    # A second object at almost the same distance would make the answer ambiguous.
    reach = math.dist(landmark.centre, target.centre) + CLEAR
    rest = [thing for thing in others if thing is not target]
    if any(math.dist(landmark.centre, thing.centre) < reach for thing in rest):
        return None
    words = f"the {kind_of(landmark)}"
    text = rng.choice((f"What is next to {words}?", f"Where is {words} next to?"))
    return _about_neighbour(text, landmark, target, rng, grounding)


def ask_extreme(objects: Objects, rng: random.Random, grounding: bool) -> Question | None:
    """Return a question about the largest or the smallest shape."""
    largest = rng.random() < 0.5
    target = extreme(objects, largest)
    if not target:
        return None
    word = rng.choice(("largest", "biggest")) if largest else "smallest"
    noun = rng.choice(GENERAL_WORDS)
    text = rng.choice((f"What is the {word} {noun}?", f"Which {noun} is the {word}?"))
    return Question(text, _it_is(target, grounding), (target,))
