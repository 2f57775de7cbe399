"""`kosmos2-client export --format yolo`, whose files ultralytics reads."""

from pathlib import Path

import pytest
import yaml

from harness.run_files import answer_line, detect_answer, write_run
from kosmos2_client.cli import main
from kosmos2_client.export.yolo import data_yaml
from tests.kosmos2_client.exports import CIRCLE, Export


def test_yolo_has_an_empty_file_for_a_picture_without_predictions(export: Export) -> None:
    folder = export("yolo", "--val", "0.4")
    labels = {
        path.relative_to(folder / "labels").as_posix(): path.read_text()
        for path in (folder / "labels").rglob("*.txt")
    }
    assert labels == {
        "a.txt": "",
        "turned.txt": "1 0.175000 0.450000 0.250000 0.500000\n",
        "z/both.txt": "1 0.175000 0.450000 0.250000 0.500000\n"
        "0 0.750000 0.500000 0.500000 1.000000\n",
    }
    train = (folder / "train.txt").read_text().splitlines()
    val = (folder / "val.txt").read_text().splitlines()
    assert sorted(train + val) == [
        "./images/a.jpg",
        "./images/turned.jpg",
        "./images/z/both.jpg",
    ]
    assert len(val) == 1


@pytest.mark.parametrize("path", ["images/a.jpg", "train/images/a.jpg", "images/x/images/a.jpg"])
def test_yolo_labels_are_where_ultralytics_looks_for_them(path: str, tmp_path: Path) -> None:
    """It replaces the last `/images/` of a picture's path, as `img2label_paths` of ultralytics."""
    run = write_run(tmp_path / "run.jsonl", [answer_line(path, detect_answer([CIRCLE]))])
    out = tmp_path / "dataset"
    assert main(["export", str(run), "--format", "yolo", "--out", str(out)]) == 0
    [listed] = (out / "train.txt").read_text().splitlines()
    picture = f"{out}/{listed.removeprefix('./')}"
    labels = "/labels/".join(picture.rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
    assert Path(labels).read_text().startswith("1 0.175")


def test_yolo_without_validation_pictures_names_those_of_training(
    export: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ultralytics rejects an empty list."""
    folder = export("yolo", "--val", "0")
    assert yaml.safe_load((folder / "data.yaml").read_text())["val"] == "train.txt"
    assert "no pictures are left for validation" in capsys.readouterr().err


def test_yolo_names_pictures_that_ultralytics_skips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It reads by the end of the name, and does not report what it omits."""
    names = ("a.JPG", "b.gif", "c", "d.webp")
    lines = [answer_line(name, detect_answer([CIRCLE])) for name in names]
    run = write_run(tmp_path / "run.jsonl", lines)
    assert main(["export", str(run), "--format", "yolo", "--out", str(tmp_path / "dataset")]) == 0
    assert "ultralytics does not read b.gif, c: convert" in capsys.readouterr().err


def test_yolo_links_or_copies_the_pictures(export: Export, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    for name in ("a.jpg", "turned.jpg", "z/both.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    linked = export("yolo", "--root", str(root), out="linked") / "images" / "z" / "both.jpg"
    copied = export("yolo", "--root", str(root), "--copy", out="copied") / "images" / "a.jpg"
    assert (linked.is_symlink(), linked.read_text()) == (True, "z/both.jpg")
    assert (copied.is_symlink(), copied.read_text()) == (False, "a.jpg")


def test_names_of_classes_survive_yaml() -> None:
    names = ["no", "3", 'a "b"', "#", "über", "🦊", "a\tb", "a\x85b", ": x"]
    content = yaml.safe_load(data_yaml(names, "stored"))
    assert list(content["names"].values()) == names
    assert content["box_orientation"] == "stored"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a.jpg", "a.png"], "share a label file"),
        (["../a.jpg"], "below the root"),
        (["/a.jpg"], "below the root"),
        (["a\nb.jpg"], "line break"),
        (["a\u2028b.jpg"], "line break"),
        (["\udcff.jpg"], "UTF-8"),
        (["a/images/labels/b.jpg", "a/labels/images/b.jpg"], "share a label file"),
    ],
)
def test_yolo_rejects_names_that_have_no_label_file_of_their_own(
    paths: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run.jsonl", [answer_line(p, detect_answer([])) for p in paths])
    out = tmp_path / "dataset"
    assert main(["export", str(run), "--format", "yolo", "--out", str(out)]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()
