"""Labels, their prompts, and one answer from several requests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kosmos2_client.batch.labels import InvalidClasses, Labels
from kosmos2_client.batch.request import BatchRequest
from kosmos2_client.run_file import Line
from tests.kosmos2_client.answers import detections, grounding


def test_an_answer_to_plain_classes_is_kept_whole() -> None:
    answer = detections("red circle", "star", a_new_field=1)
    assert Labels.from_names(["red circle", "star"]).combine([answer]) == answer


def test_prompts_are_replaced_by_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text('{"round": ["red circle", "moon"], "star": "star"}')
    labels = Labels.read(path)
    assert labels.requests() == [["red circle", "moon", "star"]]
    answer = labels.combine([detections("red circle", "moon", "star")])
    assert [
        (one["class"], one["class_id"], one.get("prompt")) for one in answer["predictions"]
    ] == [
        ("round", 0, "red circle"),
        ("round", 0, "moon"),
        ("star", 1, None),
    ]
    assert [one["class"] for one in answer["classes"]] == ["round", "star"]


def test_the_presence_of_a_label_is_that_of_its_most_probable_prompt(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text('{"round": ["circle", "moon"]}')
    answer = detections("circle", "moon")
    answer["classes"][0]["presence"], answer["classes"][1]["presence"] = 0.2, 0.7
    assert Labels.read(path).combine([answer])["classes"][0]["presence"] == 0.7


def test_more_classes_than_a_request_may_have_are_split_and_joined() -> None:
    names = [f"class {number}" for number in range(130)]
    labels = Labels.from_names(names)
    requests = labels.requests()
    assert [len(classes) for classes in requests] == [64, 64, 2]
    answer = labels.combine([detections(*classes) for classes in requests])
    assert [one["class"] for one in answer["classes"]] == names
    assert {one["class"]: one["class_id"] for one in answer["predictions"]} == {
        name: number for number, name in enumerate(names)
    }
    confidences = [one["confidence"] for one in answer["predictions"]]
    assert confidences == sorted(confidences, reverse=True)
    assert answer["usage"]["prompt_tokens"] == 210
    assert answer["time"] == 1.5


def test_a_text_file_has_a_class_per_line(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("\ufeffred circle\n\n blue square \n", encoding="utf-8")
    assert Labels.read(path).all_prompts() == ["red circle", "blue square"]


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"a": []}',
        '["a", "b"]',
        '{"a": "x", "b": "x"}',
        "no JSON",
        '{"a": 7}',
        '{"a": [["b"]]}',
    ],
)
def test_an_invalid_file_is_reported(tmp_path: Path, content: str) -> None:
    path = tmp_path / "classes.json"
    path.write_text(content)
    with pytest.raises(InvalidClasses):
        Labels.read(path)


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_no_class_and_a_repeated_class_are_reported(names: list[str]) -> None:
    with pytest.raises(InvalidClasses):
        Labels.from_names(names)


LABELS = Labels.from_pairs([("round", ["circle", "moon"]), ("star", ["star"])])
CIRCLES = LABELS.combine([detections("circle", "moon", "star")])
GROUNDED = grounding(task="phrase_grounding", text="a red circle", answer_start=12)


def phrase(text: str) -> BatchRequest:
    return BatchRequest(fields={"task": "phrase_grounding", "text": text})


@pytest.mark.parametrize(
    ("request_", "answer", "difference"),
    [
        (BatchRequest(LABELS), CIRCLES, None),
        (BatchRequest(LABELS), detections("star", "round"), "other classes"),
        (BatchRequest(LABELS), grounding(), "other classes"),
        (BatchRequest(Labels.from_names(["round", "star"])), CIRCLES, "other prompts"),
        (BatchRequest(LABELS, {"confidence": 0.3}), CIRCLES, None),
        (BatchRequest(LABELS, {"confidence": 0.30004}), CIRCLES, None),
        (BatchRequest(LABELS, {"confidence": 0.2}), CIRCLES, "another confidence (0.3)"),
        (BatchRequest(fields={"task": "brief_caption"}), grounding(), None),
        (BatchRequest(fields={"task": "brief_caption"}), grounding(task="raw"), "another task"),
        (BatchRequest(fields={"task": "brief_caption"}), detections("a"), "another task"),
        (
            BatchRequest(fields={"task": "phrase_grounding", "text": "a star"}),
            GROUNDED,
            "another text",
        ),
        *(
            (BatchRequest(fields={"task": "phrase_grounding", "text": text}), GROUNDED, None)
            for text in ("a red circle", " a  ｒed circle. ", "a <b>", "🦊")
        ),
    ],
)
def test_an_answer_shows_whether_it_belongs_to_another_request(
    request_: BatchRequest, answer: dict[str, Any], difference: str | None
) -> None:
    assert request_.difference_of(answer) == difference


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (None, None),
        ({"tiles": "auto", "max_new_tokens": 9}, None),
        ({"max_new_tokens": 9}, "another --tiles"),
        ({"tiles": "auto", "max_new_tokens": 8}, "another --max-new-tokens"),
    ],
)
def test_a_line_has_the_options_that_its_answer_does_not_show(
    options: dict[str, Any] | None, difference: str | None
) -> None:
    """Files of older versions have none."""
    request = BatchRequest(LABELS, {"tiles": "auto", "max_new_tokens": 9})
    line = replace(Line.of_answer("a.jpg", CIRCLES), options=options)
    assert request.difference(Line.from_json(line.to_json())) == difference
