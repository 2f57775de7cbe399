"""Queries a checkpoint for boxes and for the presence of classes, on scenes training never uses."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from app.checkpoint.calibration import Calibration
from app.grounding.boxes import patch_indices_to_box
from app.grounding.class_prompts import phrase_prompt, presence_prompt, presence_token_ids
from app.pictures.marks import Box
from training.answering import Answerer, GeneratedBox
from training.grammar import brief_caption, phrase_of_kind, referring_expression
from training.measured_scenes import CLEAN, MeasuredScene, Purpose, measured_scene
from training.world import COLOURS, SHAPES, Scene

TASKS = {
    "phrase_grounding": "phrases",
    "referring_expression": "expressions",
    "brief_caption": "captions",
}
"""Names of the measured kinds of examples."""

Presence = Literal["present", "absent", "similar"]
"""Whether a class is there. A similar class is absent, but its colour or its shape is there."""


@dataclass(frozen=True)
class Grounded:
    """The boxes of an answer, and those of the objects that prompt or answer should name.

    Attributes:
        scene: the number of the scene.
        kind: the kind of the scene.
        task: one of the values of `TASKS`.
    """

    scene: int
    kind: str
    task: str
    boxes: tuple[GeneratedBox, ...]
    targets: tuple[Box, ...]


def ask_for_boxes(
    answerer: Answerer, purpose: Purpose, numbers: range, kind: str = CLEAN
) -> list[Grounded]:
    """Return the answers to a phrase, an expression and a caption per scene, if it allows them."""
    scenes = [measured_scene(purpose, number, kind) for number in numbers]
    asked = [
        (index, example)
        for index, one in enumerate(scenes)
        for example in (
            phrase_of_kind(one.scene.objects, one.rng, "phrase_grounding"),
            referring_expression(one.scene.objects, one.rng),
            brief_caption(one.scene.objects, one.rng),
        )
        if example
    ]
    pictures = answerer.see([one.picture for one in scenes])
    answers = answerer.answer(pictures, [(index, example.prompt) for index, example in asked])
    return [
        Grounded(
            numbers[index],
            kind,
            TASKS[example.kind],
            answer.boxes,
            tuple(thing.xyxy for thing in example.targets),
        )
        for (index, example), answer in zip(asked, answers, strict=True)
    ]


@dataclass(frozen=True)
class ClassQuestion:
    """A class that may be in a picture.

    Attributes:
        scene: the number of the scene.
        name: such as `red circle`.
        targets: the boxes of its objects; empty if it is absent.
    """

    scene: int
    name: str
    presence: Presence
    targets: tuple[Box, ...]


def class_list(number: int, measured: MeasuredScene, num_classes: int) -> list[ClassQuestion]:
    """Return all classes of a scene, then random absent ones up to `num_classes`."""
    scene = measured.scene
    absent = _absent_kinds(scene, measured.rng)[: num_classes - len(scene.kinds)]
    return [
        *(_class_question(number, scene, kind, "present") for kind in sorted(scene.kinds)),
        *(_class_question(number, scene, kind, "absent") for kind in absent),
    ]


def contrasting_classes(number: int, measured: MeasuredScene) -> list[ClassQuestion]:
    """Return a class of a scene, a random absent one, and a similar one if there is another."""
    scene, rng = measured.scene, measured.rng
    absent = _absent_kinds(scene, rng)
    questions = [
        _class_question(number, scene, rng.choice(sorted(scene.kinds)), "present"),
        _class_question(number, scene, absent[0], "absent"),
    ]
    if similar := next((kind for kind in absent[1:] if _is_similar(kind, scene)), None):
        questions.append(_class_question(number, scene, similar, "similar"))
    return questions


def _absent_kinds(scene: Scene, rng: random.Random) -> list[tuple[str, str]]:
    """Return all absent kinds in random order."""
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    absent = [kind for kind in kinds if kind not in scene.kinds]
    rng.shuffle(absent)
    return absent


def _class_question(
    number: int, scene: Scene, kind: tuple[str, str], presence: Presence
) -> ClassQuestion:
    targets = tuple(thing.xyxy for thing in scene.objects if thing.kind == kind)
    return ClassQuestion(number, " ".join(kind), presence, targets)


def _is_similar(kind: tuple[str, str], scene: Scene) -> bool:
    return any(kind[0] == other[0] or kind[1] == other[1] for other in scene.kinds)


class ClassProbe:
    """Sends questions about classes with the prompts of a calibration.

    Args:
        measured: the scenes, by their numbers.
    """

    def __init__(
        self, answerer: Answerer, numbers: Sequence[int], measured: Sequence[MeasuredScene]
    ) -> None:
        self._answerer = answerer
        self._indices = {number: index for index, number in enumerate(numbers)}
        self._pictures = answerer.see([one.picture for one in measured])

    def log_odds(
        self, questions: Sequence[ClassQuestion], calibration: Calibration
    ) -> list[tuple[float, float]]:
        """Return the log probabilities of yes and of no for each class."""
        prompts = [
            (self._indices[q.scene], presence_prompt(calibration, q.name)) for q in questions
        ]
        ids = presence_token_ids(self._answerer.tokenizer, calibration)
        rows = self._answerer.first_token_log_probabilities(self._pictures, prompts, ids)
        return [(yes, no) for yes, no in rows]

    def boxes(
        self, questions: Sequence[ClassQuestion], calibration: Calibration
    ) -> list[tuple[GeneratedBox, ...]]:
        """Return the boxes that the phrase of each class forces."""
        prompts = [(self._indices[q.scene], phrase_prompt(calibration, q.name)) for q in questions]
        return [answer.boxes for answer in self._answerer.answer(self._pictures, prompts)]


def coarse_box(box: GeneratedBox) -> Box:
    """Return the box that the two cells stand for."""
    return patch_indices_to_box(*box.pair)


def chunks(num_scenes: int, size: int = 250) -> Iterator[range]:
    """Yield the numbers of scenes in parts that fit into memory."""
    for start in range(0, num_scenes, size):
        yield range(start, min(start + size, num_scenes))
