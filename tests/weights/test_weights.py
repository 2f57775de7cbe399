"""The published weights, in the directory that KOSMOS2_WEIGHTS names, give the recorded answers."""

import os
from pathlib import Path

import pytest

from app.checkpoint.files import open_checkpoint
from app.verify.checks import LOGIT_TOLERANCE, Check
from app.verify.command import find_picture
from app.verify.files import check_files
from app.verify.jobs import run_engine
from app.verify.prompts import Material
from app.verify.recording import find_recording
from app.verify.runs import Target, check_reference, check_service, run_on_engine

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def weights() -> Path:
    directory = os.environ.get("KOSMOS2_WEIGHTS")
    if directory is None:
        pytest.skip("KOSMOS2_WEIGHTS names no directory with the published weights")
    return Path(directory)


def differing(checks: list[Check]) -> list[str]:
    return [str(check) for check in checks if check.outcome != "ok"]


def test_the_files_are_the_recorded_ones(weights: Path) -> None:
    checkpoint = open_checkpoint(str(weights))
    assert differing(list(check_files(checkpoint, find_recording(checkpoint)))) == []


def test_every_interface_gives_the_recorded_answers(weights: Path) -> None:
    """In float32: alone, in a batch, over HTTP, streamed, and as `generate` answers here."""
    checkpoint = open_checkpoint(str(weights))
    recording = find_recording(checkpoint)
    picture = find_picture(None, checkpoint, recording)
    material = Material.of(checkpoint, recording.answers, picture)
    run = run_on_engine(material, Target("cpu", "float32"))
    assert differing([*run.checks, *check_service(material, run, picture)]) == []
    assert differing(list(check_reference(material, run))) == []


def test_the_recorded_logits_are_reproduced_after_a_restart(weights: Path) -> None:
    """A second process gives the same tokens; kernels may sum in another order."""
    checkpoint = open_checkpoint(str(weights))
    recording = find_recording(checkpoint)
    picture = find_picture(None, checkpoint, recording)
    job = Material.of(checkpoint, recording.answers, picture).job("cpu", "float32")
    first, second = run_engine(job), run_engine(job)
    for ours, again in zip(first.alone, second.alone, strict=True):
        assert ours.new_token_ids == again.new_token_ids
        assert ours.logits == pytest.approx(again.logits, abs=LOGIT_TOLERANCE)
