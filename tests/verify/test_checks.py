"""The comparison of answers and files with the recorded ones."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.checkpoint.files import open_checkpoint
from app.errors import CheckpointError
from app.settings import EMBEDDED_CHECKPOINT
from app.verify.checks import Check, GivenAnswer, Tally
from app.verify.command import VerifyOptions, find_picture, verify
from app.verify.files import check_files, check_tensors, check_token_ids
from app.verify.recording import (
    PUBLISHED_RECORDING,
    RECORDING_NAME,
    RecordedAnswer,
    find_recording,
    read_recording,
    write_recording,
)

OWN = EMBEDDED_CHECKPOINT / RECORDING_NAME
RIGHT = RecordedAnswer(
    name="caption",
    source="a test",
    request={"task": "brief_caption"},
    jpeg_round_trip=False,
    text="a dog",
    entities=(("a dog", (0, 5), ((0.0, 0.0, 0.5, 1.0),)),),
    markup="<phrase> a dog</phrase>",
    new_token_ids=(5, 6, 2),
    logits=((0, 5, 1.0), (2, 2, -3.0)),
)
GIVEN = GivenAnswer(RIGHT.text, RIGHT.entities, RIGHT.markup, (5, 6, 2), (1.0, -3.0))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint, to damage."""
    directory = tmp_path / "copy"
    shutil.copytree(EMBEDDED_CHECKPOINT, directory)
    return directory


def checks_of(given: GivenAnswer, dtype: str = "float32") -> list[Check]:
    tally = Tally()
    tally.add(RIGHT, given, dtype)
    return tally.checks("alone", dtype)


def test_an_equal_answer_is_ok() -> None:
    assert [(check.outcome, check.detail) for check in checks_of(GIVEN)] == [
        ("ok", "1 of 1 answers equal"),
        ("ok", "2 recorded logits, largest difference 0.000000"),
    ]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (replace(GIVEN, new_token_ids=(5, 7, 2)), "caption: token 1 is 7, recorded 6"),
        (replace(GIVEN, new_token_ids=(5, 6)), "caption: 2 tokens, recorded 3"),
        (replace(GIVEN, text="a cat"), "caption: text is 'a cat', recorded 'a dog'"),
        (
            replace(GIVEN, entities=(("a dog", (0, 5), ((0.0, 0.0, 0.6, 1.0),)),)),
            "caption: entities are 'a dog [0.000, 0.000, 0.600, 1.000]', "
            "recorded 'a dog [0.000, 0.000, 0.500, 1.000]'",
        ),
        (
            replace(GIVEN, markup="a dog"),
            "caption: markup is 'a dog', recorded '<phrase> a dog</phrase>'",
        ),
    ],
)
def test_a_different_answer_differs_in_one_line(given: GivenAnswer, line: str) -> None:
    first, second, *_ = checks_of(given)
    assert (first.outcome, first.detail) == ("differs", "0 of 1 answers equal")
    assert (second.outcome, second.detail) == ("differs", line)


@pytest.mark.parametrize(
    ("dtype", "largest"), [("bfloat16", 0.5), ("float16", 0.1), ("float32", 1e-4)]
)
def test_an_answer_may_differ_at_a_tie(dtype: str, largest: float) -> None:
    """Rounding moves the logits of bfloat16 by up to half a unit."""
    given = replace(GIVEN, new_token_ids=(5, 7, 2))
    (tied,) = checks_of(replace(given, tie=largest * 0.9), dtype)
    gap = f"{largest * 0.9:.4f}"
    assert (tied.outcome, tied.detail) == (
        "ok",
        f"0 of 1 answers equal, 1 different at a tie (gap up to {gap})",
    )
    for tie in (largest * 1.1, None):
        assert checks_of(replace(given, tie=tie), dtype)[0].outcome == "differs"


def test_logits_differ_in_float32_only() -> None:
    """In 16 bits the difference is only printed."""
    given = replace(GIVEN, logits=(1.0, -3.002))
    assert checks_of(given)[1].outcome == "differs"
    assert checks_of(replace(given, logits=(1.0, -3.0009)))[1].outcome == "ok"
    in_16_bits = checks_of(given, "float16")[1]
    assert (in_16_bits.outcome, in_16_bits.detail.split()[-1]) == ("ok", "0.002000")


def test_logits_of_missing_steps_are_not_compared() -> None:
    """The answer itself differs then."""
    assert checks_of(replace(GIVEN, new_token_ids=(2,), logits=(1.0, math.nan)))[-1].detail == (
        "1 recorded logits, largest difference 0.000000"
    )


@pytest.mark.parametrize("path", [OWN, PUBLISHED_RECORDING])
def test_a_recording_is_written_as_it_was_read(path: Path, tmp_path: Path) -> None:
    """Byte for byte, so that recording again gives a small difference."""
    write_recording(tmp_path / "again.json", read_recording(path))
    assert (tmp_path / "again.json").read_text() == path.read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.clear(),
        lambda content: content.update(token_ids=[1]),
        lambda content: content["files"].update(x={"bytes": "1", "sha256": ""}),
        lambda content: content.update(answers=[]),
        lambda content: content["answers"][0].update(request=[1]),
        lambda content: content["answers"][0].update(text=None),
        lambda content: content["answers"][0].update(logits=[["0", 1, 1.0]]),
        lambda content: content["answers"][0].update(logits=[[-1, 1, 1.0]]),
    ],
)
def test_a_damaged_recording_is_reported(copy: Path, change: Callable[[Any], None]) -> None:
    content = json.loads((copy / RECORDING_NAME).read_bytes())
    change(content)
    (copy / RECORDING_NAME).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="not a recording"):
        find_recording(open_checkpoint(str(copy)))


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "\xff"])
def test_a_file_that_is_no_recording_is_reported(copy: Path, text: str) -> None:
    (copy / RECORDING_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match="not a recording"):
        find_recording(open_checkpoint(str(copy)))


def test_intact_files_are_ok(copy: Path) -> None:
    checkpoint = open_checkpoint(str(copy))
    recording = find_recording(checkpoint)
    found = [*check_files(checkpoint, recording), *check_token_ids(checkpoint, recording)]
    assert [check.outcome for check in found] == ["ok", "ok"]


def test_a_tampered_file_is_one_line(copy: Path) -> None:
    """One changed bit of a weight, which no size shows."""
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    checkpoint = open_checkpoint(str(copy))
    (found,) = check_files(checkpoint, find_recording(checkpoint))
    assert found.outcome == "differs"
    assert found.detail.startswith("model.safetensors has the SHA-256 ")


def test_a_file_of_another_size_is_one_line(copy: Path) -> None:
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    checkpoint = open_checkpoint(str(copy))
    (found,) = check_files(checkpoint, find_recording(checkpoint))
    assert found.detail == "config.json has 1,199 bytes, recorded 1,198"


def test_an_absent_file_is_one_line(copy: Path) -> None:
    """Of the older layout, for example, which the service can read too."""
    (copy / "generation_config.json").unlink()
    checkpoint = open_checkpoint(str(copy))
    intact, absent = check_files(checkpoint, find_recording(checkpoint))
    assert intact.outcome == "ok"
    assert absent == Check("files", "not checked", "recorded, but not here: generation_config.json")


def test_a_truncated_file_is_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command stops there with exit code 1."""
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert verify(VerifyOptions(str(copy))) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("differs     files: ")
    assert "truncated, 9,383,680 of 9,384,680 bytes" in line


def test_a_damaged_tokenizer_is_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After the lines of the files, of which each has its own."""
    tokenizer = copy / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes()[:5000])
    assert verify(VerifyOptions(str(copy))) == 1
    *_, line, verdict = capsys.readouterr().out.splitlines()
    assert line.startswith(f"not checked answers: the tokenizer in {copy} cannot be read: ")
    assert verdict == "failed: 0 ok, 1 differs, 1 not checked"


def test_a_missing_picture_of_a_local_recording_is_not_fetched(copy: Path) -> None:
    """The hub has no checkpoint of that name; a request would reveal it, and take time."""
    checkpoint = open_checkpoint(str(copy))
    recording = replace(find_recording(checkpoint), picture="missing.png")
    with pytest.raises(CheckpointError, match=r"missing.png, the recorded picture, is missing"):
        find_picture(None, checkpoint, recording)


def test_other_tensors_and_counts_differ() -> None:
    recording = read_recording(OWN)
    found = {"missing": ["a", "b", "c", "d"], "unexpected": [], "misshapen": ["e"]}
    tensors = found | {"num_tensors": 165, "num_parameters": 7}
    lines = [f"{check.outcome} {check.detail}" for check in check_tensors(tensors, recording)]
    assert lines == [
        "differs 4 missing: a, b, c…",
        "differs 1 misshapen: e",
        "differs 7, recorded 4,682,688",
        "ok 165",
    ]
