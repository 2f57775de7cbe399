"""The calibration of a checkpoint is a file next to its weights."""

import json
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.checkpoint.calibration import Calibration, Curve
from app.checkpoint.files import Checkpoint, read_checkpoint
from app.errors import CheckpointError
from app.settings import EMBEDDED_CHECKPOINT

EVERY_MEMBER = {
    "default_threshold": 0.5,
    "class_phrase": "the {class}",
    "presence_question": "Can you see a {class}?",
    "presence_answers": ["Yes", "Nothing"],
    "presence_scale": 2,
    "presence_bias": -0.5,
    "cell_exponent": 0.8,
    "neighbour_share": 0.2,
    "full_overlap": 0.75,
    "confidence_curve": [[0, 0.1], [0.5, 0.1], [1, 0.9]],
    "measured": {"on": "1,000 scenes"},
}

INVALID = [
    ("default_threshold", [-0.1, 1.1, "0.5", None, True, [0.5]]),
    ("class_phrase", ["a class", "{class} or {class}", "", " {class}", None, 1]),
    (
        "presence_question",
        ["Anything?", "{class} or {class}?", "", "Is there a {class}? ", 1],
    ),
    (
        "presence_answers",
        ["Yes", ["Yes"], ["Yes", "Yes"], ["Yes", "No", "So"], ["Yes", ""], ["Yes", " No"], [1, 2]],
    ),
    ("presence_scale", [0, -1, "1", None, True, 10**400]),
    ("presence_bias", ["0", None, False, [0]]),
    ("cell_exponent", [0, -0.8, 10.5, "1", None, True]),
    ("neighbour_share", [-0.1, 1.5, "1", None, True]),
    ("full_overlap", [0, -0.8, 1.5, "1", None, True]),
    (
        "confidence_curve",
        [
            None,
            0.5,
            [],
            [[0, 0]],
            [0, 1],
            [[0, 0], [1]],
            [[0, 0], [1, "1"]],
            [[0, 0], [0.9, 1]],
            [[0.1, 0], [1, 1]],
            [[0, 0], [0.5, 0.4], [0.5, 0.6], [1, 1]],
            [[0, 0], [0.5, 0.9], [1, 0.8]],
            [[0, -0.1], [1, 1]],
            [[0, 0], [1, 1.1]],
        ],
    ),
    ("default_treshold", [0.5]),
]

LOGARITHMS = st.floats(-1e6, 0.0) | st.just(-math.inf)


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    """Curves that the file may contain."""
    unit = st.floats(0, 1)
    inner = draw(st.lists(unit.filter(lambda x: 0 < x < 1), unique=True, max_size=6).map(sorted))
    heights = draw(st.lists(unit, min_size=len(inner) + 2, max_size=len(inner) + 2).map(sorted))
    return tuple(zip([0.0, *inner, 1.0], heights, strict=True))


def read_with(directory: Path, calibration: str | None) -> Checkpoint:
    """Return the embedded checkpoint's files with this calibration file, or without one."""
    for file in EMBEDDED_CHECKPOINT.iterdir():
        if file.is_file() and file.name != "grounding_calibration.json":
            (directory / file.name).symlink_to(file)
    if calibration is not None:
        (directory / "grounding_calibration.json").write_text(calibration)
    return read_checkpoint(directory, "copy", None)


def test_a_checkpoint_without_a_calibration_has_the_threshold_0(tmp_path: Path) -> None:
    calibration = read_with(tmp_path, None).calibration
    assert calibration == Calibration()
    assert (calibration.is_measured, calibration.default_threshold) == (False, 0.0)


def test_only_the_threshold_is_required(tmp_path: Path) -> None:
    """A checkpoint may be measured without presence or curve."""
    checkpoint = read_with(tmp_path, '{"default_threshold": 0.5}')
    assert checkpoint.calibration == Calibration(is_measured=True, default_threshold=0.5)


def test_every_member_is_read(tmp_path: Path) -> None:
    """Each value differs from the default, so that the test detects a member that is not read."""
    calibration = read_with(tmp_path, json.dumps(EVERY_MEMBER)).calibration
    assert calibration == Calibration(
        is_measured=True,
        default_threshold=0.5,
        class_phrase="the {class}",
        presence_question="Can you see a {class}?",
        presence_answers=("Yes", "Nothing"),
        presence_scale=2.0,
        presence_bias=-0.5,
        cell_exponent=0.8,
        neighbour_share=0.2,
        full_overlap=0.75,
        confidence_curve=((0.0, 0.1), (0.5, 0.1), (1.0, 0.9)),
    )
    default = Calibration()
    names = {field.name for field in fields(Calibration)}
    assert [n for n in names if getattr(calibration, n) == getattr(default, n)] == []
    assert names - {"is_measured"} == EVERY_MEMBER.keys() - {"measured"}


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"measured": null}', '{"class_phrase": "x"}'])
def test_an_invalid_calibration_is_reported_with_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match="grounding_calibration.json"):
        read_with(tmp_path, text)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in INVALID for value in values]
)
def test_an_invalid_member_is_reported_with_its_key(tmp_path: Path, key: str, value: Any) -> None:
    """The message is one line."""
    with pytest.raises(CheckpointError, match=re.escape(key)) as caught:
        read_with(tmp_path, json.dumps(EVERY_MEMBER | {key: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("key", ["default_threshold", "presence_scale", "presence_bias"])
def test_numbers_must_be_finite(tmp_path: Path, key: str, number: str) -> None:
    """Python's JSON parser accepts these words."""
    with pytest.raises(CheckpointError, match=key):
        read_with(tmp_path, f'{{"default_threshold": 0.5, "{key}": {number}}}')


@given(LOGARITHMS, LOGARITHMS, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_presence_is_a_probability_for_any_logarithms(
    log_yes: float, log_no: float, scale: float, bias: float
) -> None:
    presence = Calibration(presence_scale=scale, presence_bias=bias).presence(log_yes, log_no)
    assert 0 <= presence <= 1


def test_presence_is_the_share_of_yes_without_scale_and_bias() -> None:
    presence = Calibration().presence(math.log(0.3), math.log(0.1))
    assert presence == pytest.approx(0.75)


def test_scale_and_bias_apply_to_the_log_odds() -> None:
    calibration = Calibration(presence_scale=2.0, presence_bias=-1.0)
    odds = math.exp(2.0 * (-0.5 - -1.5) - 1.0)
    assert calibration.presence(-0.5, -1.5) == pytest.approx(odds / (1 + odds))


@given(curves(), st.floats(0, 1), st.floats(0, 1))
def test_the_curve_is_monotone_and_stays_within_its_ends(
    curve: Curve, first: float, second: float
) -> None:
    calibration = Calibration(confidence_curve=curve)
    low, high = (calibration.corrected(value) for value in sorted((first, second)))
    assert curve[0][1] <= low <= high <= curve[-1][1]


@given(curves())
def test_the_curve_meets_its_points(curve: Curve) -> None:
    calibration = Calibration(confidence_curve=curve)
    assert [(x, calibration.corrected(x)) for x, _ in curve] == list(curve)


@given(st.floats(0, 1))
def test_the_default_curve_changes_nothing(value: float) -> None:
    assert Calibration().corrected(value) == value
