"""Measures refined boxes, confidence and presence, and compares them with their goals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.checkpoint.calibration import Calibration
from app.pictures.marks import Box
from training.answering import GeneratedBox
from training.confidence_questions import ClassQuestion, Grounded, Presence, coarse_box
from training.measured_scenes import CLEAN
from training.metrics import calibration_error, iou, iou_of_perfect_tokens, mean, roc_auc

HARDER = "harder"
LEAST_IOUS = (0.5, 0.75, 0.9)
MAX_ERRORS = {CLEAN: 0.03, HARDER: 0.06}
LEAST_AREAS = {0.5: 0.96, 0.75: 0.88}
LEAST_PRESENCE_AREAS: dict[Presence, float] = {"absent": 0.999, "similar": 0.995}
CONTRASTS: dict[Presence, str] = {
    "absent": "a random absent class",
    "similar": "an absent class whose colour or shape is there",
}


@dataclass(frozen=True)
class Measure:
    """A line of a table.

    Attributes:
        goal: the value to reach, or to keep if `is_limit`; `None` without a goal.
        number: of the answers or boxes that the value is computed from.
    """

    name: str
    value: float
    number: int
    goal: float | None = None
    is_limit: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the value reaches its goal; true without a goal."""
        if self.goal is None:
            return True
        return self.value <= self.goal if self.is_limit else self.value >= self.goal

    def as_line(self) -> str:
        """Return a line of a Markdown table."""
        sign = "≤" if self.is_limit else "≥"
        goal = "" if self.goal is None else f"{sign} {self.goal:g}"
        return (
            f"| {self.name} | {self.value:.4f} | {goal}{'' if self.is_met else ', missed'} "
            f"| {self.number} |"
        )


@dataclass(frozen=True)
class RatedBox:
    """A box, and how well its refined form fits the right object.

    Attributes:
        score: the geometric mean of the probabilities of its two location tokens.
        iou: the largest intersection over union of the refined box with a right object.
    """

    score: float
    confidence: float
    iou: float


def rate(one: Grounded, box: GeneratedBox, calibration: Calibration) -> RatedBox:
    """Return the score, the confidence and the fit of a box."""
    found = box.localize(calibration)
    fit = max((iou(found.box, target) for target in one.targets), default=0.0)
    return RatedBox(box.score, found.confidence, fit)


def rated_boxes(
    grounded: Sequence[Grounded], calibration: Calibration
) -> dict[str, dict[str, list[RatedBox]]]:
    """Return the rated boxes by kind of scene, clean or harder, and by task.

    A phrase and an expression name one object, so their first box counts. Of a caption, all do.
    """
    rated: dict[str, dict[str, list[RatedBox]]] = {CLEAN: {}, HARDER: {}}
    for one in grounded:
        kind = CLEAN if one.kind == CLEAN else HARDER
        some = one.boxes if one.task == "captions" else one.boxes[:1]
        boxes = [rate(one, box, calibration) for box in some]
        rated[kind].setdefault(one.task, []).extend(boxes)
    return rated


def fit_measures(grounded: Sequence[Grounded], calibration: Calibration) -> list[Measure]:
    """Compare the boxes of phrases on clean scenes: of the cells, refined, and of perfect cells."""
    phrases = [one for one in grounded if (one.kind, one.task) == (CLEAN, "phrases")]

    def overlaps(box_of: Callable[[GeneratedBox], Box]) -> list[float]:
        return [iou(box_of(o.boxes[0]), o.targets[0]) if o.boxes else 0.0 for o in phrases]

    kinds = {
        "boxes of the cells": overlaps(coarse_box),
        "boxes of perfect cells": [iou_of_perfect_tokens(one.targets[0]) for one in phrases],
        "refined boxes": overlaps(lambda box: box.localize(calibration).box),
    }
    number = len(phrases)
    measures = []
    for name, values in kinds.items():
        is_refined = name == "refined boxes"
        goal = 0.885 if is_refined else None
        measures.append(Measure(f"{name}: mean IoU", mean(values), number, goal))
        for least in LEAST_IOUS:
            share = mean([float(value >= least) for value in values])
            goal = 0.52 if is_refined and least == 0.9 else None
            measures.append(Measure(f"{name}: share with IoU ≥ {least}", share, number, goal))
    return measures


def confidence_measures(rated: dict[str, dict[str, list[RatedBox]]]) -> list[Measure]:
    """Return areas under ROC curves and calibration errors, of score and of confidence."""
    measures = []
    for kind, by_task in rated.items():
        for task, boxes in by_task.items():
            measures += _measures_of_boxes(f"{kind} scenes, {task}", boxes, kind, task)
        every = [box for boxes in by_task.values() for box in boxes]
        measures += _measures_of_boxes(f"{kind} scenes, all", every, kind, "all")
    return measures


def _measures_of_boxes(name: str, boxes: Sequence[RatedBox], kind: str, task: str) -> list[Measure]:
    number, fits = len(boxes), [box.iou for box in boxes]
    has_goal = (kind, task) == (CLEAN, "phrases")
    values = {
        "score": [box.score for box in boxes],
        "confidence": [box.confidence for box in boxes],
    }
    measures = []
    for least, least_area in LEAST_AREAS.items():
        for key, given in values.items():
            area = roc_auc(given, [fit >= least for fit in fits])
            goal = least_area if has_goal and key == "confidence" else None
            label = f"{name}: area under the ROC curve of {key}, IoU ≥ {least}"
            measures.append(Measure(label, area, number, goal))
    for key, given in values.items():
        goal = MAX_ERRORS[kind] if key == "confidence" else None
        error = calibration_error(given, fits)
        measures.append(Measure(f"{name}: calibration error of {key}", error, number, goal, True))
    return measures


def presence_measures(
    questions: Sequence[ClassQuestion], presences: Sequence[float], boxes: Sequence[RatedBox]
) -> list[Measure]:
    """Return the areas under the ROC curves that separate present classes from absent ones.

    Args:
        questions: about present, absent and similar classes.
        presences: of each question.
        boxes: the first box that the phrase of each class forces.
    """
    values = {
        "presence": presences,
        "confidence of the forced box": [box.confidence for box in boxes],
        "score of the forced box": [box.score for box in boxes],
        "presence × confidence": [
            p * box.confidence for p, box in zip(presences, boxes, strict=True)
        ],
    }
    measures = []
    for contrast, words in CONTRASTS.items():
        members = [n for n, q in enumerate(questions) if q.presence in ("present", contrast)]
        truths = [questions[n].presence == "present" for n in members]
        for key, given in values.items():
            goal = LEAST_PRESENCE_AREAS[contrast] if key == "presence" else None
            area = roc_auc([given[n] for n in members], truths)
            measures.append(Measure(f"present against {words}: {key}", area, len(members), goal))
    return measures
