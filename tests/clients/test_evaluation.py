"""The evaluation of run files gives the numbers of the tools that people compare with."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness.run_files import answer_line, detect_answer, write_run
from kosmos2_client.cli import main
from tests.clients.environments import install

SCRIPTS = Path(__file__).parent / "evaluation"
CLASSES = ("red circle", "blue square", "green star")


def random_boxes(random_: random.Random, number: int) -> list[tuple[float, float, float, float]]:
    corners = [
        (
            random_.randint(0, 140),
            random_.randint(0, 60),
            random_.randint(8, 60),
            random_.randint(8, 40),
        )
        for _ in range(number)
    ]
    return [(x, y, x + width, y + height) for x, y, width, height in corners]


def test_average_precision_equals_that_of_pycocotools(tmp_path: Path) -> None:
    """On random boxes with equal confidences, crowds, and classes that some pictures lack."""
    random_ = random.Random(3)
    lines, images, annotations = list[Any](), list[Any](), list[Any]()
    for number in range(60):
        path = f"{random_.random()}.jpg"
        images.append({"id": number, "file_name": path, "width": 200, "height": 100})
        found = list[Any]()
        for box in random_boxes(random_, random_.randint(0, 5)):
            name = random_.choice(CLASSES)
            x0, y0, x1, y1 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CLASSES.index(name) + 10,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(random_.random() < 0.1),
                }
            )
            shift = random_.choice([0, 1, 3])
            found.append((name, (x0 + shift, y0, x1 + shift, y1), random_.randint(1, 20) / 20))
        for box in random_boxes(random_, random_.randint(0, 3)):
            found.append((random_.choice(CLASSES), box, random_.randint(1, 20) / 20))
        found.sort(key=lambda one: -one[2])
        lines.append(answer_line(path, detect_answer(found, CLASSES)))
    random_.shuffle(lines)
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 10)]
    truth = tmp_path / "instances.json"
    truth.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    run_path = str(write_run(tmp_path / "run.jsonl", lines))
    results, own = tmp_path / "results.json", tmp_path / "evaluation.json"
    ids = ["--ids-from", str(truth), "--out", str(results)]
    assert main(["export", run_path, "--format", "coco-results", *ids]) == 0
    assert main(["evaluate", run_path, "--truth", str(truth), "--json", str(own)]) == 0
    run = install(SCRIPTS, "pycocotools==2.0.11")
    reference = run("cocoeval.py", str(truth), str(results))
    classes = json.loads(own.read_text())["classes"]
    for name in CLASSES:
        for measure, value in reference[name].items():
            assert 0.1 < value < 0.95
            assert classes[name][measure] == pytest.approx(value, abs=1e-4)
