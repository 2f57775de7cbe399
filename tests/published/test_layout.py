"""Checkpoints in the layouts of the published repository are opened, loaded and served."""

from pathlib import Path

import pytest

from app.checkpoint.files import open_checkpoint
from app.model.loading import expected_tensors
from app.verify.prompts import Material
from app.verify.recording import PUBLISHED_RECORDING, read_recording
from harness import loopback
from harness.published_layout import PUBLISHED_FILES
from harness.reference import Reference
from harness.scripted_engine import NAME as SCRIPT
from harness.service import running_service
from tests.verify.test_command import run_verify


def test_the_published_layout_has_the_published_files(published_layout: Path) -> None:
    assert {file.name for file in published_layout.iterdir()} - {SCRIPT} == PUBLISHED_FILES


def test_both_layouts_have_all_tensors_and_settings(
    published_layout: Path, older_layout: Path
) -> None:
    """The settings of pictures are read from the older file, and the ban is upstream's 3."""
    for directory, dtype in ((published_layout, "F32"), (older_layout, "F16")):
        checkpoint = open_checkpoint(str(directory))
        expected = expected_tensors(checkpoint)
        stored = {name: checkpoint.tensors[name].shape for name in expected}
        assert stored == expected
        assert {checkpoint.tensors[name].dtype for name in expected} == {dtype}
        assert checkpoint.no_repeat_ngram_size == 3
        assert checkpoint.image_mean == (0.48145466, 0.4578275, 0.40821073)
        assert checkpoint.image_std == (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.large
def test_the_older_layout_is_served_with_the_answers_of_transformers(
    older_layout: Path, material: Material, snowman: Path
) -> None:
    """End to end, from the shards to the markup, with the picture and the ban of the card."""
    key = next(k for k, answer in enumerate(material.answers) if answer.name == "brief_caption")
    token_ids, pixels = list(material.prompts[key].token_ids), material.pictures[0]
    new = Reference(older_layout).generate(token_ids, pixels, 32, ngram_size=3)
    expected = material.tokenizer.decode(token_ids + new).rpartition("</image>")[2].strip()
    with running_service(model=older_layout) as service:
        answer = loopback.post(
            f"{service.url}/v1/ground",
            files={"image": snowman.read_bytes()},
            data={"task": "brief_caption", "max_new_tokens": "32"},
            timeout=120,
        ).json()
    assert answer["markup"].strip() == expected
    assert answer["usage"]["completion_tokens"] == len(new)


@pytest.mark.large
def test_verify_fails_on_random_weights_and_names_the_answers(
    published_layout: Path, snowman: Path
) -> None:
    """The files are those of the published layout, but no answer is."""
    done = run_verify(published_layout, "--dtype", "float32", "--picture", snowman)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for way, count in (("alone", 10), ("batch", 16), ("HTTP", 10), ("streamed", 10)):
        differing = [line for line in lines if line.startswith(f"differs     {way}, float32 on ")]
        assert f"0 of {count} answers equal" in differing[0]
        for answer in read_recording(PUBLISHED_RECORDING).answers:
            assert any(f": {answer.name}: text is " in line for line in differing)
    assert any("parameters: " in line and "recorded 1,664,485,376" in line for line in lines)
    assert "ok          tokenizer: 14 special tokens have the recorded ids" in lines
    assert any(line.startswith("ok          generate of transformers") for line in lines)
