"""The paper's protocol, with our own records in the formats of the published datasets."""

import json

import pytest
import torch
from PIL import Image

from app.grounding.markup import parse, write_object
from training.answering import Answer
from training.evaluate_published import (
    boxes_of_phrase,
    evaluate_flickr30k,
    evaluate_refcoco,
    recall_at,
)
from training.flickr30k import read_flickr30k
from training.refcoco import read_refcoco

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
LEFT_HALF, LOWER_RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0)
ON_LEFT_HALF = write_object([(0, 31 * 32 + 15)])
ON_LOWER_RIGHT = write_object([(16 * 32 + 16, 1023)])


class ScriptedAnswerer:
    """Returns a fixed answer for each prompt, and records the prompts."""

    def __init__(self, script):
        self.script = script
        self.ngram_bans = []

    def see(self, pictures):
        return torch.zeros(len(pictures), 1)

    def answer(self, image_embeds, prompts, no_repeat_ngram_size=0):
        self.ngram_bans.append(no_repeat_ngram_size)
        return [Answer(parse(text + self.script[text]), "", ()) for _, text in prompts]


@pytest.fixture
def flickr30k(tmp_path):
    for folder in ("Sentences", "Annotations", "images"):
        (tmp_path / folder).mkdir()
    (tmp_path / "Sentences" / "77.txt").write_text(SENTENCES)
    (tmp_path / "Annotations" / "77.xml").write_text(ANNOTATION)
    (tmp_path / "test.txt").write_text("77\n")
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "77.jpg")
    return read_flickr30k(tmp_path, tmp_path / "images", tmp_path / "test.txt")


def test_flickr30k_phrases_and_boxes(flickr30k):
    """Each phrase with boxes gives one query, with the unmarked caption before it."""
    assert [(query.before, query.phrase) for query in flickr30k] == [
        ("", "A young man"),
        ("A young man sits on", "a bench"),
        ("", "He"),
    ]
    assert flickr30k[0].boxes == (LEFT_HALF, LOWER_RIGHT)
    assert flickr30k[1].boxes == (LOWER_RIGHT,)
    assert flickr30k[1].prompt == "<grounding>A young man sits on <phrase>a bench</phrase>"


def test_flickr30k_recall(flickr30k):
    """A hit on any right box counts; boxes of other phrases do not."""
    first, second, third = (query.prompt for query in flickr30k)
    answerer = ScriptedAnswerer(
        {
            first: ON_LOWER_RIGHT,
            second: f"{ON_LEFT_HALF} and<phrase> a bench</phrase>{ON_LOWER_RIGHT}",
            third: f" sees<phrase> a dog</phrase>{ON_LEFT_HALF}",
        }
    )
    figures = evaluate_flickr30k(answerer, flickr30k)
    assert figures["R@1"] == pytest.approx(1 / 3)
    assert figures["R@5"] == pytest.approx(2 / 3)
    assert set(answerer.ngram_bans) == {3}


def test_refcoco_uses_the_first_box(tmp_path):
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
    (tmp_path / "val.json").write_text(json.dumps(content))
    expressions = read_refcoco(tmp_path / "val.json", tmp_path)
    assert [one.box for one in expressions] == [LEFT_HALF, LOWER_RIGHT]
    assert expressions[0].prompt == "<grounding><phrase>left half</phrase>"
    both = write_object([(0, 31 * 32 + 15), (16 * 32 + 16, 1023)])
    answerer = ScriptedAnswerer({one.prompt: both for one in expressions})
    assert evaluate_refcoco(answerer, expressions) == {"accuracy at IoU 0.5": 0.5}


def test_only_the_phrase_s_own_boxes_count():
    parsed = parse(f"<phrase> a dog</phrase>{ON_LEFT_HALF}<phrase> a cat</phrase>{ON_LOWER_RIGHT}")
    boxes = boxes_of_phrase(Answer(parsed, "", ()), "a cat")
    assert len(boxes) == 1
    assert boxes[0][0] > 0.5


def test_recall_at_k():
    found = [[LEFT_HALF, LOWER_RIGHT], []]
    assert recall_at(1, found, [[LOWER_RIGHT], [LEFT_HALF]]) == 0
    assert recall_at(2, found, [[LOWER_RIGHT], [LEFT_HALF]]) == 0.5
