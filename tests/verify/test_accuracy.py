"""The paper's protocol, with our own records in the formats of the published datasets."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.grounding.markup import parse, write_object
from app.pictures.marks import Box
from app.verify.accuracy import Accuracy, boxes_of_phrase, measure_flickr30k, measure_refcoco
from app.verify.flickr30k import Query, read_flickr30k
from app.verify.refcoco import read_refcoco

SENTENCES = """\
[/EN#1/people A young man] sits on [/EN#2/other a bench] .
[/EN#1/people He] looks at [/EN#0/scene the park] .
"""
ANNOTATION = """\
<annotation>
  <filename>77.jpg</filename>
  <size><width>100</width><height>50</height><depth>3</depth></size>
  <object><name>1</name>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>50</xmax><ymax>50</ymax></bndbox></object>
  <object><name>2</name><name>1</name>
    <bndbox><xmin>51</xmin><ymin>26</ymin><xmax>100</xmax><ymax>50</ymax></bndbox></object>
  <object><name>0</name><scene>1</scene><nobndbox>1</nobndbox></object>
</annotation>
"""
LEFT_HALF: Box = (0.0, 0.0, 0.5, 1.0)
LOWER_RIGHT: Box = (0.5, 0.5, 1.0, 1.0)
ON_LEFT_HALF = write_object([(0, 31 * 32 + 15)])
ON_LOWER_RIGHT = write_object([(16 * 32 + 16, 1023)])


class ScriptedService:
    """Returns a fixed answer for each prompt, and records the fields of the requests."""

    def __init__(self, script: dict[str, str]) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []

    def __call__(self, fields: dict[str, Any], picture: bytes) -> dict[str, Any]:
        assert picture.startswith(b"\xff\xd8")
        self.requests.append(fields)
        return answer_of(fields["text"] + self.script[fields["text"]])


def answer_of(markup: str) -> dict[str, Any]:
    """Return the part of an answer that is measured."""
    entities = [
        {"phrase": e.phrase, "boxes": [{"xyxy_normalized": list(box.box)} for box in e.boxes]}
        for e in parse(markup).cleaned().entities
    ]
    return {"entities": entities}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset of one picture in the layout of Flickr30k Entities."""
    for folder in ("Sentences", "Annotations", "images"):
        (tmp_path / folder).mkdir()
    (tmp_path / "Sentences" / "77.txt").write_text(SENTENCES)
    (tmp_path / "Annotations" / "77.xml").write_text(ANNOTATION)
    (tmp_path / "test.txt").write_text("77\n")
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "77.jpg")
    return tmp_path


@pytest.fixture
def queries(root: Path) -> list[Query]:
    return read_flickr30k(root, root / "images", root / "test.txt")


@pytest.mark.processes
def test_datasets_are_read_as_utf8_in_any_locale(root: Path) -> None:
    """The encoding of the locale is ASCII here; one of Latin-1 would change the phrases."""
    marked = SENTENCES.replace("young", "jeûne")
    (root / "Sentences" / "77.txt").write_text(marked, encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from app.verify.flickr30k import read_flickr30k; "
        "root = Path(sys.argv[1]); "
        "print(ascii(read_flickr30k(root, root, root / 'test.txt')[0].phrase))"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program, root],
        env=os.environ | ascii_only,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ascii("A jeûne man")


def test_flickr30k_phrases_and_boxes(queries: list[Query]) -> None:
    """Each phrase with boxes gives one query, with the unmarked caption before it."""
    assert [(query.before, query.phrase) for query in queries] == [
        ("", "A young man"),
        ("A young man sits on", "a bench"),
        ("", "He"),
    ]
    assert queries[0].boxes == (LEFT_HALF, LOWER_RIGHT)
    assert queries[1].boxes == (LOWER_RIGHT,)
    assert queries[1].prompt == "<grounding>A young man sits on <phrase>a bench</phrase>"


def test_flickr30k_counts_the_first_box_of_the_phrase(root: Path, queries: list[Query]) -> None:
    """Any right box counts; boxes of other phrases and later boxes do not."""
    first, second, third = (query.prompt for query in queries)
    service = ScriptedService(
        {
            first: ON_LOWER_RIGHT,
            second: f"{ON_LEFT_HALF} and<phrase> a bench</phrase>{ON_LOWER_RIGHT}",
            third: f" sees<phrase> a dog</phrase>{ON_LEFT_HALF}",
        }
    )
    found = measure_flickr30k(service, root / "test.txt", root / "images", limit=500)
    assert found == Accuracy("flickr30k_test", 1, 3, 0.7872)
    assert {fields["no_repeat_ngram_size"] for fields in service.requests} == {3}
    assert measure_flickr30k(service, root / "test.txt", root / "images", 2).num_questions == 2


def test_refcoco_counts_the_first_box(tmp_path: Path) -> None:
    """The dataset stores left, top, width and height in pixels."""
    Image.new("RGB", (200, 100)).save(tmp_path / "1.jpg")
    entry = {"file_name": "1.jpg", "width": 200, "height": 100}
    texts = ["left half", "lower right"]
    content = {
        "images": [{"id": i, "caption": text, **entry} for i, text in enumerate(texts)],
        "annotations": [
            {"image_id": 0, "bbox": [0, 0, 100, 100]},
            {"image_id": 1, "bbox": [100, 50, 100, 50]},
        ],
    }
    file = tmp_path / "finetune_refcoco_val.json"
    file.write_text(json.dumps(content))
    expressions = read_refcoco(file, tmp_path)
    assert [one.box for one in expressions] == [LEFT_HALF, LOWER_RIGHT]
    assert expressions[0].prompt == "<grounding><phrase>left half</phrase>"
    both = write_object([(0, 31 * 32 + 15), (16 * 32 + 16, 1023)])
    service = ScriptedService({one.prompt: both for one in expressions})
    assert measure_refcoco(service, file, tmp_path, 500) == Accuracy("refcoco_val", 1, 2, 0.5232)


def test_only_the_phrase_s_own_boxes_count() -> None:
    answer = answer_of(
        f"<phrase> a dog</phrase>{ON_LEFT_HALF}<phrase> a cat</phrase>{ON_LOWER_RIGHT}"
    )
    (box,) = boxes_of_phrase(answer, "a cat")
    assert box["xyxy_normalized"][0] > 0.5


def test_an_accuracy_is_printed_with_its_interval_next_to_the_papers() -> None:
    text = str(Accuracy("refcoco_val", 261, 500, 0.5232))
    assert "52.20% (95 % interval 47.82% to 56.54%)" in text
    assert "the paper: 52.32%" in text
