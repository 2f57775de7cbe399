"""Questions about single attributes: colour, shape, size, number, existence, contents."""

import random
from dataclasses import dataclass

from training.descriptions import (
    NUMBERS,
    Mention,
    alone_in,
    enumeration,
    fill,
    groups,
    kind_of,
    with_article,
)
from training.grammar import GENERAL_WORDS, Objects
from training.question import Question
from training.world import COLOURS, PLURALS, SHAPES, SceneObject


def ask_colour(objects: Objects, rng: random.Random, grounding: bool) -> Question | None:
    """Return a question about the colour of the only circle, or of the object in a box."""
    target = rng.choice(objects)
    pointing = grounding and rng.random() < 0.5
    # Without a box, only a unique shape identifies the object.
    if not pointing and [thing.shape for thing in objects].count(target.shape) > 1:
        return None
    # With a box, the word may be as general as "thing".
    word = rng.choice((target.shape, target.shape, *GENERAL_WORDS)) if pointing else target.shape
    colour = rng.choice(("color", "colour"))
    text = rng.choice(
        (
            f"What {colour} is the {word}?",
            f"What is the {colour} of the {word}?",
            f"Which {colour} does the {word} have?",
        )
    )
    pointed_at = (f"the {word}", target) if pointing else None
    return Question(text, f" It is {target.colour}.", (target,), pointed_at)


def ask_shape(objects: Objects, rng: random.Random, grounding: bool) -> Question | None:
    """Return a question about the shape of the only red object, or of the object in a box."""
    target = rng.choice(objects)
    pointing = grounding and rng.random() < 0.5
    # Without a box, only a unique colour identifies the object.
    if not pointing and [thing.colour for thing in objects].count(target.colour) > 1:
        return None
    noun = rng.choice(GENERAL_WORDS)
    words = noun if pointing and rng.random() < 0.5 else f"{target.colour} {noun}"
    text = rng.choice(
        (
            f"What shape is the {words}?",
            f"What is the {words}?",
            f"What is the shape of the {words}?",
            f"Which shape does the {words} have?",
        )
    )
    pointed_at = (f"the {words}", target) if pointing else None
    return Question(text, f" It is {with_article(target.shape)}.", (target,), pointed_at)


def ask_size(objects: Objects, rng: random.Random, grounding: bool) -> Question | None:
    """Return a question about the size of an object that its name identifies."""
    singles = alone_in(objects)
    if not singles:
        return None
    target = rng.choice(singles)
    words = f"the {kind_of(target)}"
    text = rng.choice((f"How big is {words}?", f"What size is {words}?"))
    return Question(text, f" It is {target.size}.", (target,))


@dataclass(frozen=True)
class _Name:
    """A name for a kind of object, and all objects of the scene that it fits, possibly none."""

    singular: str
    plural: str
    fits: tuple[SceneObject, ...]

    def found(self, grounding: bool) -> str:
        """Return ` are red circles.` with their boxes, or ` is a red circle.`"""
        if len(self.fits) == 1:
            mention, verb = Mention(with_article(self.singular), self.fits), "is"
        else:
            mention, verb = Mention(self.plural, self.fits), "are"
        return fill(f" {verb}{{thing}}.", grounding, thing=mention)


def _any_name(objects: Objects, rng: random.Random) -> _Name:
    """Return a name from the scene, or equally often one that probably fits no object."""
    colour, shape = rng.choice(objects).kind
    if rng.random() < 0.5:  # half of the name may still fit, which is the hard case
        other = rng.choice(tuple(COLOURS)), rng.choice(SHAPES)
        colour, shape = rng.choice(((other[0], shape), (colour, other[1]), other))
    noun = rng.choice(GENERAL_WORDS)
    by_kind = tuple(thing for thing in objects if thing.kind == (colour, shape))
    by_shape = tuple(thing for thing in objects if thing.shape == shape)
    by_colour = tuple(thing for thing in objects if thing.colour == colour)
    draw = rng.random()
    if draw < 0.5:
        return _Name(f"{colour} {shape}", f"{colour} {PLURALS[shape]}", by_kind)
    if draw < 0.8:
        return _Name(shape, PLURALS[shape], by_shape)
    return _Name(f"{colour} {noun}", f"{colour} {noun}s", by_colour)


def ask_count(objects: Objects, rng: random.Random, grounding: bool) -> Question:
    """Return a question about the number of objects with a name, or of all shapes."""
    name = _any_name(objects, rng)
    if rng.random() < 0.25:
        noun = rng.choice(GENERAL_WORDS)
        name = _Name(noun, f"{noun}s", tuple(objects))
    text = rng.choice(
        (
            f"How many {name.plural} are there?",
            f"How many {name.plural} are in the {_picture_word(rng)}?",
            f"How many {name.plural} do you see?",
        )
    )
    if not name.fits:
        return Question(text, f" There are no {name.plural}.", ())
    words = name.singular if len(name.fits) == 1 else name.plural
    mention = Mention(f"{NUMBERS[len(name.fits)]} {words}", name.fits)
    verb = "is" if len(name.fits) == 1 else "are"
    return Question(text, fill(f" There {verb}{{n}}.", grounding, n=mention), name.fits)


def _picture_word(rng: random.Random) -> str:
    return rng.choice(("picture", "image"))


def ask_existence(objects: Objects, rng: random.Random, grounding: bool) -> Question:
    """Return a question that is answered ` Yes, there is …` or ` No, there is no …`"""
    name = _any_name(objects, rng)
    thing = with_article(name.singular)
    text = rng.choice(
        (
            f"Is there {thing}?",
            f"Is there {thing} in the {_picture_word(rng)}?",
            f"Are there any {name.plural}?",
            f"Do you see {thing}?",
            f"Can you see {thing} in the {_picture_word(rng)}?",
        )
    )
    if not name.fits:
        return Question(text, f" No, there is no {name.singular}.", ())
    # Without a number: a wrong number would make a right "yes" count as wrong.
    return Question(text, f" Yes, there{name.found(grounding)}", name.fits)


def ask_contents(objects: Objects, rng: random.Random, grounding: bool) -> Question:
    """Return a question about everything in the scene."""
    picture = _picture_word(rng)
    text = rng.choice(
        (
            f"What is in the {picture}?",
            f"What is in this {picture}?",
            f"What does this {picture} show?",
            f"What is special about this {picture}?",
            "What do you see?",
            "What is this?",
        )
    )
    answer = f" The image shows{enumeration(groups(objects), grounding)}."
    return Question(text, answer, tuple(objects))
