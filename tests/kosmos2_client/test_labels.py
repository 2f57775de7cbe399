"""Labels, their prompts, and one answer from several requests."""

from pathlib import Path

import pytest

from kosmos2_client.batch.labels import InvalidClasses, Labels
from kosmos2_client.batch.request import BatchRequest
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


def test_an_answer_matches_the_request_it_belongs_to() -> None:
    detection = BatchRequest(Labels.from_names(["a", "b"]))
    assert detection.matches(detections("a", "b"))
    assert not detection.matches(detections("b", "a"))
    assert not detection.matches(grounding())
    task = BatchRequest(fields={"task": "brief_caption"})
    assert task.matches(grounding())
    assert not task.matches(grounding(task="raw"))
    assert not task.matches(detections("a"))
