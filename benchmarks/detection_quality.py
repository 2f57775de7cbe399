"""How right detections are, through the service: F1, average precision, small objects with tiles.

    python -m benchmarks.detection_quality [--quick] [--out FOLDER]

Ten classes per scene, of which about three are present, on held-out scenes of the embedded
checkpoint. `pycocotools` computes the average precision. Small objects are searched in pictures of
1600 × 1200 pixels, without and with tiles.
"""

import asyncio
import io
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot
from PIL import Image

from app.bench.client import load_client
from app.bench.loops import Bounds, closed_loop
from app.bench.workload import LoadRequest
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import Case, Figure, Result, log_progress, main
from benchmarks.contestants import running, service
from benchmarks.plots import draw_lines, panels
from training.confidence_questions import ClassQuestion, class_list
from training.detections import Detection, f1_at, match
from training.harder_scenes import with_small_objects
from training.measured_scenes import MeasuredScene, measured_scene
from training.scenes import draw_scene
from training.world import plan_scene

NUM_SCENES, NUM_LARGE_PICTURES = 1000, 100
NUM_CLASSES = 10
LARGE_PICTURE = (1600, 1200)
SMALL_SIDES = (0.03, 0.08)
CLIENTS = 4


@dataclass(frozen=True)
class Query:
    """A picture, and the classes to find in it.

    Attributes:
        picture: a PNG file.
        size: width and height in pixels.
    """

    picture: bytes
    size: tuple[int, int]
    questions: Sequence[ClassQuestion]

    def phrase(self) -> LoadRequest:
        """Return a request for the first class alone, as a phrase."""
        return LoadRequest(
            self.picture, {"task": "phrase_grounding", "text": f"the {self.questions[0].name}"}
        )

    def request(self, **fields: str) -> LoadRequest:
        """Return a request for every box, regardless of its confidence."""
        classes = json.dumps([question.name for question in self.questions])
        given = {"classes": classes, "confidence": "0", **fields}
        return LoadRequest(self.picture, given, "/v1/detect")


def measure(is_quick: bool) -> Result:
    """Measure detections of ten classes, then small objects without and with tiles."""
    queries = [held_out_query(number) for number in range(4 if is_quick else NUM_SCENES)]
    large = [_large_query(number) for number in range(2 if is_quick else NUM_LARGE_PICTURES)]
    with running(service(), EMBEDDED_CHECKPOINT) as url:
        log_progress("detection_quality: ten classes")
        answers = _answers(url, [query.request() for query in queries])
        log_progress("detection_quality: small objects")
        without = _answers(url, [query.request() for query in large])
        tiled = _answers(url, [query.request(tiles="auto") for query in large])
        threshold = _default_threshold(url, queries[0])
    found = _matched(queries, answers)
    num_targets = sum(len(question.targets) for query in queries for question in query.questions)
    precision = average_precision(queries, answers)
    f1 = f1_at(threshold, found, num_targets)
    steps = [number / 50 for number in range(50)]
    curve = [{"threshold": step, "F1": f1_at(step, found, num_targets)} for step in steps]
    recalls = [_recall(large, some, threshold) for some in (without, tiled)]
    return Result(
        "Detections on held-out scenes of the embedded checkpoint",
        curve[::5],
        [
            Figure("F1 at IoU 0.5 and the default threshold", f1, at_least=0.94),
            Figure("mean average precision, IoU 0.5:0.95", precision[0]),
            Figure("average precision at IoU 0.5", precision[1]),
            Figure("recall of small objects without tiles", recalls[0]),
            Figure("recall of small objects with tiles", recalls[1], at_least=0.85),
        ],
        [
            f"{len(queries)} scenes with {NUM_CLASSES} classes each, {num_targets} objects. The "
            f"default threshold is {threshold:g}.",
            f"Small objects: {len(large)} pictures of {LARGE_PICTURE[0]} × {LARGE_PICTURE[1]} "
            f"pixels, sides of {SMALL_SIDES[0]} to {SMALL_SIDES[1]} of the longer side; the "
            "classes that are present; recall at IoU 0.5 and the default threshold.",
        ],
    )


def held_out_query(number: int) -> Query:
    """Return a held-out scene and ten classes, those of its objects first."""
    measured = measured_scene("held out", number)
    return _as_query(measured, class_list(number, measured, NUM_CLASSES))


def _large_query(number: int) -> Query:
    rng = random.Random(f"large picture {number}")
    scene = plan_scene(rng)
    while not scene.objects:
        scene = plan_scene(rng)
    width, height = LARGE_PICTURE
    scene = with_small_objects(replace(scene, width=width, height=height), SMALL_SIDES, rng)
    measured = MeasuredScene(scene, draw_scene(scene, rng), rng)
    present = class_list(number, measured, len(scene.kinds))
    return _as_query(measured, present)


def _as_query(measured: MeasuredScene, questions: Sequence[ClassQuestion]) -> Query:
    return Query(_as_png(measured.picture), measured.picture.size, questions)


def _as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _answers(url: str, requests: Sequence[LoadRequest]) -> list[dict[str, Any]]:
    async def load() -> list[dict[str, Any]]:
        async with load_client(url) as client:
            samples = await closed_loop(client.send, requests, CLIENTS, Bounds(len(requests)))
        replies = [sample.reply for sample in sorted(samples, key=lambda one: one.number)]
        if failed := [reply for reply in replies if reply.answer is None]:
            raise RuntimeError(f"the service refused a detection: {failed[0]}")
        return [reply.answer for reply in replies if reply.answer is not None]

    return asyncio.run(load())


def _default_threshold(url: str, query: Query) -> float:
    request = query.request()
    fields = {name: value for name, value in request.fields.items() if name != "confidence"}
    (answer,) = _answers(url, [replace(request, fields=fields)])
    return float(answer["confidence"])


def _matched(queries: Sequence[Query], answers: Sequence[dict[str, Any]]) -> list[Detection]:
    """Return every predicted box, and whether it finds an object of its class."""
    return [
        detection
        for query, answer in zip(queries, answers, strict=True)
        for class_id, question in enumerate(query.questions)
        for detection in match(
            [
                (one["confidence"], tuple(one["xyxy_normalized"]))
                for one in answer["predictions"]
                if one["class_id"] == class_id
            ],
            question.targets,
        )
    ]


def _recall(queries: Sequence[Query], answers: Sequence[dict[str, Any]], threshold: float) -> float:
    right = [one for one in _matched(queries, answers) if one.confidence >= threshold]
    targets = [target for query in queries for q in query.questions for target in q.targets]
    return sum(one.is_right for one in right) / len(targets)


def average_precision(
    queries: Sequence[Query], answers: Sequence[dict[str, Any]]
) -> tuple[float, float]:
    """Return the mean average precision over IoU 0.5 to 0.95, and that at 0.5, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = sorted({question.name for query in queries for question in query.questions})
    truth, found = COCO(), list(_coco_results(queries, answers, names))
    truth.dataset = {
        "images": [
            {"id": number, "width": query.size[0], "height": query.size[1]}
            for number, query in enumerate(queries)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
        "annotations": list(_coco_truth(queries, names)),
    }
    # pycocotools prints its progress.
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # (T, R, K, A, M): IoU thresholds, recalls, classes, areas (the first is all), numbers of boxes.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    known = precision[:, :, (precision > -1).all(axis=(0, 1))]  # -1 for a class without objects
    return float(np.mean(known)), float(np.mean(known[0]))


def _coco_truth(queries: Sequence[Query], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    boxes = [
        (number, names.index(question.name) + 1, _in_pixels(target, query.size))
        for number, query in enumerate(queries)
        for question in query.questions
        for target in question.targets
    ]
    for number, (image, category, box) in enumerate(boxes, 1):
        area = box[2] * box[3]
        ids = {"id": number, "image_id": image, "category_id": category}
        yield ids | {"bbox": box, "area": area, "iscrowd": 0}


def _coco_results(
    queries: Sequence[Query], answers: Sequence[dict[str, Any]], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for number, (query, answer) in enumerate(zip(queries, answers, strict=True)):
        for one in answer["predictions"]:
            box = _in_pixels(one["xyxy_normalized"], query.size)
            ids = {"image_id": number, "category_id": names.index(one["class"]) + 1}
            yield ids | {"bbox": box, "score": one["confidence"]}


def _in_pixels(box: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Return x, y, width and height in pixels of a normalised xyxy box."""
    x0, y0, x1, y1 = box
    width, height = size
    return [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height]


def plot(result: Result) -> Plot:
    """Plot F1 over the threshold."""
    figure, (axes,) = panels(1)
    thresholds = [float(row["threshold"] or 0) for row in result.rows]
    values = [float(row["F1"] or 0) for row in result.rows]
    draw_lines(axes, thresholds, {"F1 at IoU 0.5": values}, ("threshold", "F1"))
    return figure


CASE = Case("detection_quality", measure, plot)

if __name__ == "__main__":
    main(CASE)
