"""The tools that read our exports accept them, and find the boxes of the service in them.

The pictures are one scene in all eight orientations of EXIF, an empty one and a damaged one.
"""

import csv
import json
from collections.abc import Callable, Mapping
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.contract.examples import EXAMPLE_SCENE
from harness import loopback
from harness.service import RunningService
from harness.standard_servers import running_server
from kosmos2_client.cli import main
from kosmos2_client.label_studio.addresses import Addresses
from kosmos2_client.label_studio.backend import Backend, BackendOptions
from kosmos2_client.label_studio.server import BackendServer
from kosmos2_client.run_file import read_lines
from tests.clients.conftest import QuietHandler
from tests.clients.environments import RunScript, install

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "exports"
CLASSES = ("red circle", "blue square", "green star")
COLOURS: Mapping[str, int] = {"red circle": 0, "blue square": 2}
"""The strongest channel of each class."""

HALF_A_PIXEL = 0.5
ORIENTATION = 0x0112
TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture is turned before it is stored with a tag: the inverse of what it means."""

Boxes = dict[str, list[list[Any]]]
"""By file name: class and edges of each box."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    scene = Image.open(EXAMPLE_SCENE).convert("RGB").crop((0, 0, 300, 200))
    for tag, turn in TO_STORED.items():
        stored = scene if turn is None else scene.transpose(turn)
        exif = Image.Exif()
        exif[ORIENTATION] = tag
        stored.save(folder / f"{tag}.png", exif=exif)
    Image.new("RGB", (120, 80), "white").save(folder / "empty.png")
    (folder / "damaged.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def without_tags(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pixels without EXIF: what a tool sees that ignores the tag."""
    folder = tmp_path_factory.mktemp("without_tags")
    for path in pictures.glob("*.png"):
        if path.stem != "damaged":
            with Image.open(path) as picture:
                picture.convert("RGB").save(folder / path.name, exif=Image.Exif())
    return folder


@pytest.fixture(scope="module")
def run_file(
    service: RunningService, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("run") / "run.jsonl"
    options = ["--url", service.url, "--classes", ",".join(CLASSES), "--out", str(path)]
    assert main(["batch", str(pictures), *options]) == 1  # the damaged picture
    return path


@pytest.fixture(scope="module")
def answers(run_file: Path) -> Boxes:
    """The boxes of the upright pictures, as the service answered."""
    found = {
        line.path: [[one.class_name, *one.xyxy] for one in line.result.predictions]
        for line in read_lines(run_file)
        if line.result is not None
    }
    assert found["empty.png"] == []
    assert {len(boxes) for path, boxes in found.items() if path != "empty.png"} == {3}
    return found


@pytest.fixture(scope="module")
def run() -> RunScript:
    requirements = (
        "pycocotools==2.0.11",
        "supervision==0.31.2",
        "label-studio-sdk==2.1.2",
        "pyarrow==26.0.1",
        "httpx>=0.28",
    )
    source = str(ROOT / "clients" / "python" / "src")
    return install(SCRIPTS, *requirements, variables={"PYTHONPATH": source})


@pytest.fixture
def export(run_file: Path, tmp_path: Path) -> Callable[..., Path]:
    def call(format_name: str, *options: str) -> Path:
        out = tmp_path / format_name
        arguments = ["--format", format_name, "--out", str(out), *options]
        assert main(["export", str(run_file), *arguments]) == 0
        return out

    return call


def assert_same_boxes(found: Boxes, expected: Boxes) -> None:
    assert found.keys() == expected.keys()
    for path, boxes in expected.items():
        assert len(found[path]) == len(boxes), path
        for box, wanted in zip(sorted(found[path]), sorted(boxes), strict=True):
            assert box[0] == wanted[0]
            assert box[1:] == pytest.approx(wanted[1:], abs=HALF_A_PIXEL), path


def read_datasets(export: Callable[..., Path], run: RunScript, root: Path, *options: str) -> Any:
    paths = (
        export("coco", *options),
        export("coco-results", *options),
        export("yolo", "--root", str(root), *options),
    )
    return run("read_datasets.py", *map(str, paths), str(root))


def test_readers_of_datasets_find_the_boxes_of_the_service(
    export: Callable[..., Path], run: RunScript, pictures: Path, answers: Boxes
) -> None:
    """Supervision turns pictures upright when it loads them."""
    for boxes in read_datasets(export, run, pictures).values():
        assert_same_boxes(boxes, answers)


def test_stored_boxes_fit_tools_that_ignore_the_tag(
    export: Callable[..., Path], run: RunScript, without_tags: Path, answers: Boxes
) -> None:
    """Each box has the colour of its class in its centre, in the pixels as stored."""
    read = read_datasets(export, run, without_tags, "--orientation", "stored")
    assert_same_boxes(read["from_coco"], read["pycocotools"])
    assert_same_boxes(read["from_yolo"], read["pycocotools"])
    assert_same_boxes(read["loadRes"], read["pycocotools"])
    assert_same_boxes({"1.png": read["from_yolo"]["1.png"]}, {"1.png": answers["1.png"]})
    for path, boxes in read["from_yolo"].items():
        with Image.open(without_tags / path) as picture:
            for name, x0, y0, x1, y1 in boxes:
                pixel = picture.getpixel(((x0 + x1) / 2, (y0 + y1) / 2))
                assert isinstance(pixel, tuple)
                assert pixel.index(max(pixel)) == COLOURS[name], (path, name)


def test_label_studio_accepts_tasks_whose_percent_are_the_boxes(
    export: Callable[..., Path], run: RunScript, answers: Boxes
) -> None:
    tasks_path = export("label-studio")
    errors = run("validate_tasks.py", str(tasks_path.with_suffix(".xml")), str(tasks_path))
    assert errors == [[]] * len(answers)
    found = {
        task["data"]["image"]: [box_of(region) for region in task["predictions"][0]["result"]]
        for task in json.loads(tasks_path.read_text())
    }
    assert_same_boxes(found, answers)


def box_of(region: Mapping[str, Any]) -> list[Any]:
    """Class and edges of a region, in pixels."""
    value, [name] = region["value"], region["value"]["rectanglelabels"]
    across, down = region["original_width"] / 100, region["original_height"] / 100
    left, top = value["x"] * across, value["y"] * down
    return [name, left, top, left + value["width"] * across, top + value["height"] * down]


def test_the_validator_reports_a_label_that_is_not_in_the_configuration(
    export: Callable[..., Path], run: RunScript
) -> None:
    """Otherwise the test above could not fail."""
    path = export("label-studio")
    config = path.with_suffix(".xml")
    config.write_text(config.read_text().replace("red circle", "red disc"))
    assert any(run("validate_tasks.py", str(config), str(path)))


def test_parquet_has_the_rows_of_csv(
    export: Callable[..., Path], run: RunScript, run_file: Path, tmp_path: Path
) -> None:
    read = run("read_parquet.py", str(run_file), str(tmp_path / "rows.parquet"))
    assert (read["types"]["path"], read["types"]["width"], read["types"]["x0"]) == (
        "string",
        "int32",
        "double",
    )
    with export("csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    as_text = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in read["rows"]
    ]
    assert as_text == rows


def test_supervision_reads_the_conversions_of_answers(
    service: RunningService, run: RunScript, run_file: Path, tmp_path: Path
) -> None:
    answer = next(line.answer for line in read_lines(run_file) if line.path == "6.png")
    empty = next(line.answer for line in read_lines(run_file) if line.path == "empty.png")
    response = loopback.post(
        f"{service.url}/v1/ground",
        files={"image": EXAMPLE_SCENE.read_bytes()},
        data={"task": "brief_caption"},
        timeout=60,
    )
    grounding = response.json()
    path = tmp_path / "answers.json"
    path.write_text(json.dumps([answer, grounding, empty]))
    detected, grounded, nothing = run("convert.py", str(path))
    assert answer is not None
    predictions = answer["predictions"]
    own = detected["to_supervision"]
    assert own["class_name"] == [one["class"] for one in predictions]
    assert own["confidence"] == pytest.approx([one["confidence"] for one in predictions], abs=1e-4)
    expected = [one["xyxy"] for one in predictions]
    for box, wanted in zip(own["xyxy"], expected, strict=True):
        assert box == pytest.approx(wanted, abs=HALF_A_PIXEL)
    for box, wanted in zip(sorted(detected["from_vlm"]["xyxy"]), sorted(expected), strict=True):
        assert box == pytest.approx(wanted, abs=HALF_A_PIXEL)
    boxes = [box for entity in grounding["entities"] for box in entity["boxes"]]
    assert len(boxes) > 0
    for box, wanted in zip(grounded["from_vlm"]["xyxy"], boxes, strict=True):
        assert box == pytest.approx(wanted["xyxy_refined"], abs=HALF_A_PIXEL)
    assert nothing["to_supervision"]["xyxy"] == nothing["from_vlm"]["xyxy"] == []


def test_the_backend_predicts_what_label_studio_accepts(
    service: RunningService, pictures: Path, run: RunScript, tmp_path: Path
) -> None:
    """A server of files stands in for Label Studio: it serves an uploaded picture."""
    config = (
        '<View><Image name="photo" value="$picture"/><RectangleLabels name="boxes" '
        'toName="photo"><Label value="disc" predicted_values="red circle"/>'
        '<Label value="blue square"/></RectangleLabels></View>'
    )
    body = {"tasks": [{"id": 1, "data": {"picture": "/6.png"}}], "label_config": config}
    files = partial(QuietHandler, directory=pictures)
    with running_server(ThreadingHTTPServer(("127.0.0.1", 0), files)) as label_studio:
        backend = Backend(BackendOptions(service.url, Addresses(f"http://{label_studio}")))
        server = BackendServer(("127.0.0.1", 0), backend, None, log=lambda _: None)
        with running_server(server) as address:
            response = loopback.post(f"http://{address}/predict", json=body, timeout=60)
    [prediction] = response.json()["results"]
    labels = [region["value"]["rectanglelabels"][0] for region in prediction["result"]]
    assert sorted(labels) == ["blue square", "disc", "disc"]
    (tmp_path / "config.xml").write_text(config)
    (tmp_path / "tasks.json").write_text(json.dumps([{"predictions": [prediction]}]))
    validated = run("validate_tasks.py", str(tmp_path / "config.xml"), str(tmp_path / "tasks.json"))
    assert validated == [[]]
