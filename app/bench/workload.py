"""Workloads: requests of every task about given pictures, determined by a seed."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.settings import EMBEDDED_CHECKPOINT

_COLORS = ("red", "blue", "green", "yellow", "purple", "orange")
_SHAPES = ("circle", "square", "triangle", "star", "heart")
_PLACES = ("left of", "right of", "above", "below")

Fields = dict[str, str]


@dataclass(frozen=True)
class LoadRequest:
    """One request of a load.

    Attributes:
        picture: content of the picture file.
        fields: the other fields of the form, including `task` of `/v1/ground`.
        path: of the route.
    """

    picture: bytes
    fields: Mapping[str, str]
    path: str = "/v1/ground"

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.fields["task"]


def embedded_scenes() -> list[bytes]:
    """Return the picture files of the embedded checkpoint, sorted by name."""
    return [path.read_bytes() for path in sorted(EMBEDDED_CHECKPOINT.glob("scenes/*.[jp][pn]g"))]


def read_pictures(paths: Sequence[Path]) -> list[bytes]:
    """Return the content of the files, or the embedded scenes if `paths` is empty."""
    return [path.read_bytes() for path in paths] if paths else embedded_scenes()


def mixed_workload(pictures: Sequence[bytes], count: int, seed: int) -> list[LoadRequest]:
    """Return requests of all tasks except `raw` in equal shares, in random order.

    Pictures are drawn at random. Prompts use words that the embedded checkpoint was trained on, and
    every checkpoint can read. The task determines the length of an answer: a few tokens for a box,
    many for a caption.

    >>> workload = mixed_workload([b"a picture"], count=12, seed=0)
    >>> len({request.task for request in workload})
    6
    >>> workload == mixed_workload([b"a picture"], count=12, seed=0)
    True

    Args:
        pictures: contents of picture files, at least one.
    """
    rng = random.Random(seed)  # noqa: S311 - not used for secrets
    writers = list(_WRITERS.items())
    drawn = [(rng.choice(pictures), *writers[n % len(writers)]) for n in range(count)]
    rng.shuffle(drawn)
    return [LoadRequest(picture, {"task": task} | write(rng)) for picture, task, write in drawn]


def _no_fields(_: random.Random) -> Fields:
    return {}


def _phrase(rng: random.Random) -> Fields:
    return {"text": f"a {rng.choice(_COLORS)} {rng.choice(_SHAPES)}"}


def _expression(rng: random.Random) -> Fields:
    first, second = _phrase(rng)["text"], _phrase(rng)["text"]
    return {"text": f"{first.replace('a ', 'the ', 1)} {rng.choice(_PLACES)} {second}"}


def _region(rng: random.Random) -> Fields:
    left, top = rng.uniform(0, 0.6), rng.uniform(0, 0.6)
    right, bottom = left + rng.uniform(0.1, 0.4), top + rng.uniform(0.1, 0.4)
    box = [round(edge, 3) for edge in (left, top, right, bottom)]
    return {"regions": json.dumps([{"boxes": [box]}]), "box_format": "normalized"}


def _question(rng: random.Random) -> Fields:
    color, shape = rng.choice(_COLORS), rng.choice(_SHAPES)
    questions = (
        f"What color is the {shape}?",
        f"How many {color} {shape}s are there?",
        f"What is {rng.choice(_PLACES)} the {color} {shape}?",
    )
    return {"text": rng.choice(questions)}


_WRITERS: Mapping[str, Callable[[random.Random], Fields]] = {
    "brief_caption": _no_fields,
    "detailed_caption": _no_fields,
    "phrase_grounding": _phrase,
    "referring_expression_comprehension": _expression,
    "referring_expression_generation": _region,
    "grounded_vqa": _question,
}
