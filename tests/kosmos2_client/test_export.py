"""`kosmos2-client export` without the tools that read its files; tests/clients has those."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.run_files import answer_line, detect_answer, error_line, write_run
from kosmos2_client.cli import main
from tests.kosmos2_client.exports import SQUARE, Export


def test_coco_has_every_answered_picture_and_sorted_categories(export: Export) -> None:
    dataset = json.loads(export("coco").read_text())
    assert dataset["info"]["box_orientation"] == "upright"
    assert [(one["id"], one["file_name"]) for one in dataset["images"]] == [
        (1, "a.jpg"),
        (2, "turned.jpg"),
        (3, "z/both.jpg"),
    ]
    names = ["blue square", "red circle"]
    assert dataset["categories"] == [{"id": n, "name": name} for n, name in enumerate(names, 1)]
    assert [(one["id"], one["image_id"], one["category_id"]) for one in dataset["annotations"]] == [
        (1, 2, 2),
        (2, 3, 2),
        (3, 3, 1),
    ]
    assert dataset["annotations"][1]["bbox"] == [10, 20, 50, 50]


def test_classes_set_the_order_of_the_ids_and_drop_others(
    export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = json.loads(export("coco", "--classes", "red circle, star").read_text())
    assert [one["name"] for one in dataset["categories"]] == ["red circle", "star"]
    assert {one["category_id"] for one in dataset["annotations"]} == {1}
    notes = capsys.readouterr().err
    assert "the run has no class star" in notes
    assert "not exported: blue square" in notes


def test_results_use_the_ids_of_an_existing_dataset(export: Export, tmp_path: Path) -> None:
    truth = {
        "images": [{"id": 40, "file_name": "z/both.jpg"}],
        "categories": [{"id": 7, "name": "blue square"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(truth))
    results = json.loads(
        export("coco-results", "--ids-from", str(tmp_path / "instances.json")).read_text()
    )
    assert results == [
        {
            "image_id": 40,
            "category_id": 7,
            "bbox": [100, 0, 100, 100],
            "score": 0.4,
            "box_orientation": "upright",
        }
    ]


def test_empty_results_are_reported(export: Export, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(export("coco-results", "--confidence", "1").read_text()) == []
    assert "loadRes rejects an empty list" in capsys.readouterr().err


def test_results_without_a_common_picture_name_the_reason(
    export: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = {"images": [{"id": 1, "file_name": "x.jpg"}], "categories": [{"id": 7, "name": "star"}]}
    (tmp_path / "instances.json").write_text(json.dumps(truth))
    export("coco-results", "--ids-from", str(tmp_path / "instances.json"))
    shown = capsys.readouterr().err
    assert "3 of 3 pictures are not in" in shown
    assert "has no class blue square, red circle" in shown
    assert "nothing was found" not in shown


def test_an_old_dataset_is_not_mixed_with_a_new_one(export: Export, tmp_path: Path) -> None:
    export("yolo")
    out = str(tmp_path / "out")
    assert main(["export", str(tmp_path / "run.jsonl"), "--format", "yolo", "--out", out]) == 1


def test_label_studio_has_tasks_with_percent_boxes_and_a_configuration(export: Export) -> None:
    path = export("label-studio", "--image-prefix", "/data/local-files/?d=p/", out="tasks.json")
    tasks = json.loads(path.read_text())
    assert [task["data"]["image"] for task in tasks] == [
        "/data/local-files/?d=p/a.jpg",
        "/data/local-files/?d=p/turned.jpg",
        "/data/local-files/?d=p/z/both.jpg",
    ]
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [0, 1, 2]
    region = tasks[2]["predictions"][0]["result"][0]
    expected = {"x": 5, "y": 20, "width": 25, "height": 50, "rotation": 0}
    assert region["value"] == expected | {"rectanglelabels": ["red circle"]}
    assert '<Label value="blue square"/>' in path.with_suffix(".xml").read_text()


def test_tasks_do_not_replace_their_own_configuration(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tasks.xml"
    assert main(["export", str(run_file), "--format", "label-studio", "--out", str(out)]) == 1
    assert not out.exists()
    assert "the labelling configuration is written there" in capsys.readouterr().err


def test_tables_distinguish_nothing_found_from_no_answer(export: Export) -> None:
    with export("csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["class"], row["error"]) for row in rows] == [
        ("a.jpg", "", ""),
        ("turned.jpg", "red circle", ""),
        ("z/both.jpg", "red circle", ""),
        ("z/both.jpg", "blue square", ""),
        ("damaged.jpg", "", "invalid_image"),
    ]
    assert [float(rows[3][name]) for name in ("x0", "y0", "x1", "y1")] == [100, 0, 200, 100]


def test_csv_can_be_read_with_every_name_of_a_picture(tmp_path: Path) -> None:
    """One such name made the whole table unreadable for pandas, polars and duckdb."""
    names = ["a\rb.jpg", "a\nb.jpg", 'a,"b".jpg', "caf\udce9.jpg"]
    run = write_run(
        tmp_path / "run.jsonl",
        [*(answer_line(name, detect_answer([])) for name in names), error_line("\udcff\r.jpg")],
    )
    out = tmp_path / "table.csv"
    assert main(["export", str(run), "--format", "csv", "--out", str(out)]) == 0
    content = out.read_bytes()
    assert content.endswith(b"invalid_image\n")
    with out.open(encoding="utf-8", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    assert paths == [*sorted(names[:3]), "caf\ufffd.jpg", "\ufffd\r.jpg"]


def test_stored_boxes_fit_the_pixels_of_the_file(export: Export) -> None:
    """EXIF tag 6: the upright picture of 200 × 100 is stored as 100 × 200."""
    dataset = json.loads(export("coco", "--orientation", "stored").read_text())
    assert dataset["info"]["box_orientation"] == "stored"
    turned = dataset["images"][1]
    assert (turned["width"], turned["height"]) == (100, 200)
    assert dataset["annotations"][0]["bbox"] == [20, 140, 50, 50]


def test_an_answer_of_a_second_run_replaces_an_error(tmp_path: Path, run_file: Path) -> None:
    retried = write_run(
        tmp_path / "retried.jsonl",
        [answer_line("damaged.jpg", detect_answer([SQUARE])), error_line("a.jpg")],
    )
    out = tmp_path / "both.json"
    assert main(["export", str(run_file), str(retried), "--format", "coco", "--out", str(out)]) == 0
    dataset = json.loads(out.read_text())
    assert [one["file_name"] for one in dataset["images"]] == [
        "a.jpg",
        "damaged.jpg",
        "turned.jpg",
        "z/both.jpg",
    ]


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_the_current_folder_is_no_file_to_write(
    run_file: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["export", str(run_file), "--format", "coco", "--out", out])
    assert "must name a new file or folder" in capsys.readouterr().err


def test_a_damaged_line_is_reported_and_a_partial_last_line_is_not(
    tmp_path: Path, run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    arguments = ["export", str(run_file), "--format", "coco", "--out", str(out)]
    with run_file.open("a") as file:
        file.write('{"path": "cut')
    assert main(arguments) == 0
    assert len(json.loads(out.read_text())["images"]) == 3
    run_file.write_text('{"path": 1}\n')
    assert main(arguments) == 1
    assert "run.jsonl, line 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "export {0}/run.jsonl --format csv --out {0}/run.jsonl",
        "export {0}/run.jsonl --format csv --out {0}/link.jsonl",
        "export {0}/run.jsonl --format csv --thresholds {0}/other --out {0}/other",
        "evaluate {0}/run.jsonl --truth {0}/other --json {0}/other",
        "evaluate {0}/run.jsonl --truth {0}/other --json {0}/new --write-thresholds {0}/new",
    ],
)
def test_no_file_of_a_command_is_overwritten(
    run_file: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run may have taken hours."""
    run_file.with_name("link.jsonl").symlink_to(run_file)
    run_file.with_name("other").write_text("{}")
    before = {path: path.read_bytes() for path in run_file.parent.iterdir()}
    assert main(command.format(run_file.parent).split()) == 1
    assert "is another file of this command" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run_file.parent.iterdir()} == before


@pytest.mark.parametrize("format_name", ["coco", "csv", "parquet", "label-studio"])
def test_neither_a_folder_nor_a_device_is_replaced(
    run_file: Path, format_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if format_name == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not a dependency of this project")
    os.mkfifo(run_file.with_name("pipe"))
    run_file.with_name("folder").mkdir()
    for name in ("pipe", "folder"):
        out = str(run_file.with_name(name))
        assert main(["export", str(run_file), "--format", format_name, "--out", out]) == 1
        assert f"{out}: is not a file" in capsys.readouterr().err


@pytest.mark.parametrize("format_name", ["coco", "csv", "label-studio"])
def test_a_missing_folder_is_named_as_the_user_typed_it(
    run_file: Path, format_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_file.with_name("missing")
    out = ["--format", format_name, "--out", str(folder / "out")]
    assert main(["export", str(run_file), *out]) == 1
    assert capsys.readouterr().err == f"kosmos2-client: {folder}: no such folder\n"


@pytest.mark.processes
def test_help_texts_are_printed_on_a_terminal_without_utf_8() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "kosmos2_client.cli", "export", "--help"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_is_no_dataset_is_reported_without_its_bytes(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = run_file.with_name("truth.json")
    truth.write_bytes(b"\x89PNG" * 1000)
    for options in (
        ["evaluate", str(run_file), "--truth"],
        ["export", str(run_file), "--format", "coco-results", "--out", "out", "--ids-from"],
    ):
        assert main([*options, str(truth)]) == 1
        message = f"kosmos2-client: {truth}: must be UTF-8\n"
        assert capsys.readouterr().err == message
