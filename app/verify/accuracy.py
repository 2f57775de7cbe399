"""Accuracy on RefCOCO and Flickr30k Entities, with the paper's protocol, over HTTP.

Answers are greedy and never repeat a 3-gram. The data are not part of the project.
"""

import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from app.pictures.marks import Box
from app.verify.flickr30k import Query, read_flickr30k
from app.verify.refcoco import Expression, read_refcoco

NGRAM_SIZE = 3
IN_PARALLEL = 16
_Z = 1.959964  # quantile of the normal distribution for 95 %
_LEAST_IOU = 0.5

# Peng et al., Kosmos-2, arXiv 2306.14824, tables 2 and 3.
PAPER = {
    "refcoco_val": 0.5232, "refcoco_testA": 0.5742, "refcoco_testB": 0.4726,
    "refcoco+_val": 0.4548, "refcoco+_testA": 0.5073, "refcoco+_testB": 0.4224,
    "refcocog_val": 0.6057, "refcocog_test": 0.6165, "flickr30k_test": 0.7872,
}  # fmt: skip

Question = TypeVar("Question", Query, Expression)
Ask = Callable[[dict[str, Any], bytes], dict[str, Any]]
"""Returns the answer of `POST /v1/ground` to fields and a picture's file."""


@dataclass(frozen=True)
class Accuracy:
    """The share of questions with a correct box (intersection over union at least 0.5).

    Attributes:
        paper: share that the paper reports for this split; `None` if the split is not known.
    """

    dataset: str
    num_correct: int
    num_questions: int
    paper: float | None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of 95 %.

        >>> low, high = Accuracy("refcoco_val", 8, 10, 0.5232).interval
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
        """
        n, share = self.num_questions, self.num_correct / self.num_questions
        centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) * _Z / (1 + _Z**2 / n)
        return centre - half, centre + half

    def __str__(self) -> str:
        low, high = self.interval
        share = self.num_correct / self.num_questions
        paper = "not reported" if self.paper is None else f"{self.paper:.2%}"
        return (
            f"{share:.2%} (95 % interval {low:.2%} to {high:.2%}) of {self.num_questions} "
            f"questions; the paper: {paper}"
        )


def measure_refcoco(ask: Ask, annotations: Path, images: Path, limit: int) -> Accuracy:
    """Return the accuracy of the first box of each expression.

    Args:
        annotations: a file such as `finetune_refcoco_val.json`.
        limit: number of expressions to draw at random, with a fixed seed.
    """
    expressions = _sample(read_refcoco(annotations, images), limit)

    def is_correct(expression: Expression) -> bool:
        answer = ask(_fields(expression.prompt), expression.picture.read_bytes())
        boxes = [box for entity in answer["entities"] for box in entity["boxes"]]
        return _hits(boxes[:1], [expression.box])

    return _measure(annotations.stem.removeprefix("finetune_"), is_correct, expressions)


def measure_flickr30k(ask: Ask, split: Path, images: Path, limit: int) -> Accuracy:
    """Return R@1: the first box of the phrase, compared with any of its boxes.

    Args:
        split: a file of ids such as `test.txt`, next to `Sentences/` and `Annotations/`.
        limit: number of phrases to draw at random, with a fixed seed.
    """
    queries = _sample(read_flickr30k(split.parent, images, split), limit)

    def is_correct(query: Query) -> bool:
        answer = ask(_fields(query.prompt), query.picture.read_bytes())
        return _hits(boxes_of_phrase(answer, query.phrase)[:1], query.boxes)

    return _measure(f"flickr30k_{split.stem}", is_correct, queries)


def boxes_of_phrase(answer: dict[str, Any], phrase: str) -> list[dict[str, Any]]:
    """Return the boxes of the entities whose phrase equals `phrase`, in order."""
    named = [e for e in answer["entities"] if (e["phrase"] or "").strip() == phrase.strip()]
    return [box for entity in named for box in entity["boxes"]]


def _fields(prompt: str) -> dict[str, Any]:
    return {"task": "raw", "text": prompt, "no_repeat_ngram_size": NGRAM_SIZE}


def _sample(questions: list[Question], limit: int) -> list[Question]:
    if len(questions) <= limit:
        return questions
    return random.Random(0).sample(questions, limit)  # noqa: S311 - no secret


def _measure(
    dataset: str, is_correct: Callable[[Question], bool], questions: Sequence[Question]
) -> Accuracy:
    with ThreadPoolExecutor(IN_PARALLEL) as threads:
        num_correct = sum(threads.map(is_correct, questions))
    return Accuracy(dataset, num_correct, len(questions), PAPER.get(dataset))


def _hits(boxes: Sequence[dict[str, Any]], right: Sequence[Box]) -> bool:
    found = [box["xyxy_normalized"] for box in boxes]
    return any(iou(box, one) >= _LEAST_IOU for box in found for one in right)


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection over union of two boxes; 0 if they do not meet.

    >>> iou((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5))
    0.5
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (sum(areas) - shared)
