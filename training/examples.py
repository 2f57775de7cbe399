"""The mixture of tasks for one picture."""

import random
from collections.abc import Iterator

from training.grammar import (
    Example,
    Objects,
    brief_caption,
    detailed_caption,
    phrase_grounding,
    referring_expression,
    region_description,
)
from training.questions import ask

# A request may turn grounding off; its answer has no boxes.
PLAIN_SHARE = 0.15


def examples_of(objects: Objects, rng: random.Random) -> Iterator[Example]:
    """Yield examples for one scene without end: captions once, then all other tasks in rotation."""
    yield brief_caption(objects, rng, grounding=rng.random() > PLAIN_SHARE)
    if rng.random() < 0.5:
        yield detailed_caption(objects, rng, grounding=rng.random() > PLAIN_SHARE)
    while True:
        yield phrase_grounding(objects, rng)
        yield ask(objects, rng, grounding=rng.random() > PLAIN_SHARE)
        if expression := referring_expression(objects, rng):
            yield expression
        yield ask(objects, rng, grounding=rng.random() > PLAIN_SHARE)
        yield region_description(objects, rng)
