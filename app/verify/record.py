"""`kosmos2 verify --record`: writes the recorded answers of a checkpoint next to its weights."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.checkpoint.files import Checkpoint, open_checkpoint
from app.contract.examples import EMBEDDED_EXAMPLES, EXAMPLE_SCENE
from app.errors import CheckpointError
from app.verify.files import read_token_ids
from app.verify.jobs import Output, describe, run_engine
from app.verify.prompts import Material
from app.verify.recording import (
    PUBLISHED_RECORDING,
    RECORDING_NAME,
    Logit,
    RecordedAnswer,
    Recording,
    read_recording,
    replacing,
    sha256_of,
    write_recording,
)

_SOURCE = "kosmos2 verify --record"
_STEPS = 3  # as in the published recording: three steps at the start and three at the end
_MOST_STEPS = 128
_RECORDED_IDS = 3  # the first and the last ids of the vocabulary


def record(model: str, revision: str | None, picture: Path | None) -> Path:
    """Answer the requests in float32 on the CPU, and write the recording.

    The requests are those of the checkpoint's recording; without one, the embedded examples for the
    embedded checkpoint, and those of the published recording for any other.

    Args:
        picture: a file in the checkpoint's directory; `None`: the recorded one.

    Returns:
        The path of the recording.

    Raises:
        StartupError: the checkpoint cannot be opened or run, or lacks the picture.
        RequestError: the picture or a request is invalid.
        OSError: the recording cannot be written; an earlier one stays as it is.
    """
    checkpoint = open_checkpoint(model, revision)
    template = _template(checkpoint)
    given = picture or checkpoint.directory / template.picture
    file = given.parent.resolve() / given.name  # a file of the hub is a link
    if not (file.is_file() and file.is_relative_to(checkpoint.directory)):
        raise CheckpointError(f"{file}: the picture must be a file in {checkpoint.directory}")
    path = checkpoint.directory / RECORDING_NAME
    with replacing(path) as partial:
        write_recording(partial, _recording(checkpoint, template, file))
    return path


def _recording(checkpoint: Checkpoint, template: Recording, picture: Path) -> Recording:
    tensors = describe(checkpoint.directory)["tensors"]
    ids = read_token_ids(checkpoint, template.token_ids)
    return replace(
        template,
        model=checkpoint.name,
        revision=checkpoint.revision,
        num_parameters=tensors["num_parameters"],
        num_tensors=tensors["num_tensors"],
        token_ids={name: token_id for name, token_id in ids.items() if token_id is not None},
        files=_files(checkpoint),
        picture=str(picture.relative_to(checkpoint.directory)),
        picture_sha256=sha256_of(picture),
        answers=_answers(checkpoint, template.answers, picture),
    )


def _template(checkpoint: Checkpoint) -> Recording:
    own = checkpoint.directory / RECORDING_NAME
    if own.is_file():
        return read_recording(own)
    published = read_recording(PUBLISHED_RECORDING)
    if not checkpoint.is_embedded:
        return published
    picture = str(EXAMPLE_SCENE.resolve().relative_to(checkpoint.directory))
    return replace(published, picture=picture, answers=tuple(_embedded_requests()))


def _embedded_requests() -> list[RecordedAnswer]:
    """Return every example, and a caption with the n-gram ban and one after a JPEG round trip."""
    requests = {
        f"{number}_{example.task}": (example.json_fields, False)
        for number, example in enumerate(EMBEDDED_EXAMPLES)
    }
    requests["n_gram_ban"] = {"task": "detailed_caption", "no_repeat_ngram_size": 3}, False
    requests["jpeg_round_trip"] = {"task": "detailed_caption"}, True
    return [
        RecordedAnswer(name, _SOURCE, fields, round_trip, "", (), "")
        for name, (fields, round_trip) in requests.items()
    ]


def _files(checkpoint: Checkpoint) -> dict[str, tuple[int, str]]:
    files = [*checkpoint.directory.glob("*.json"), *checkpoint.directory.glob("*.safetensors")]
    return {
        file.name: (file.stat().st_size, sha256_of(file))
        for file in sorted(files)
        if file.name != RECORDING_NAME
    }


def _answers(
    checkpoint: Checkpoint, requests: Sequence[RecordedAnswer], picture: Path
) -> tuple[RecordedAnswer, ...]:
    vocabulary = max(Material.of(checkpoint, (), picture).tokenizer.patch_ids) + 1
    ids = [*range(_RECORDED_IDS), *range(vocabulary - _RECORDED_IDS, vocabulary)]
    wanted = tuple((step, token_id, 0.0) for step in range(_MOST_STEPS) for token_id in ids)
    blank = [replace(request, new_token_ids=None, logits=wanted) for request in requests]
    material = Material.of(checkpoint, blank, picture)
    outputs = run_engine(material.job("cpu", "float32")).alone
    return tuple(_recorded(material, key, output) for key, output in enumerate(outputs))


def _recorded(material: Material, key: int, output: Output) -> RecordedAnswer:
    given, request = material.given(key, output), material.answers[key]
    return replace(
        request,
        source=_SOURCE,
        text=given.text,
        entities=given.entities,
        markup=given.markup,
        new_token_ids=output.new_token_ids,
        logits=tuple(_logits(request, output)),
    )


def _logits(request: RecordedAnswer, output: Output) -> list[Logit]:
    """Return those of the first steps and first ids, and of the last steps and last ids."""
    num_steps = len(output.new_token_ids)
    first_id_at_the_end = request.logits[2 * _RECORDED_IDS - 1][1] - _RECORDED_IDS + 1
    chosen = []
    for (step, token_id, _), value in zip(request.logits, output.logits, strict=True):
        is_early = step < _STEPS and token_id < _RECORDED_IDS
        is_late = num_steps - _STEPS <= step < num_steps and token_id >= first_id_at_the_end
        if (is_early and step < num_steps) or is_late:
            chosen.append((step, token_id, round(value, 6)))
    return chosen
