"""`kosmos2 verify`: compares a checkpoint on this machine with its recorded answers."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import httpx

from app.checkpoint.files import Checkpoint, open_checkpoint
from app.checkpoint.hub import fetch_file
from app.errors import CheckpointError, Kosmos2Error, RequestError, StartupError
from app.verify.accuracy import Accuracy, Ask, measure_flickr30k, measure_refcoco
from app.verify.checks import Check
from app.verify.files import check_files, check_tensors, check_token_ids
from app.verify.jobs import describe
from app.verify.prompts import Material
from app.verify.recording import Recording, find_recording, sha256_of
from app.verify.report import Report, checksums_of, describe_machine
from app.verify.runs import Target, check_reference, check_service, run_on_engine, with_tokens
from app.verify.service_side import ask, serving

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class VerifyOptions:
    """Options of `kosmos2 verify`.

    Attributes:
        model: directory or hub id.
        report: folder for the report; `None` writes none.
        picture: file of the picture; `None` finds it next to the weights or on the hub.
        device: the only device to run on; `None`: all.
        dtype: the only dtype to run; `None`: all.
        refcoco: annotations of a split of RefCOCO; `None` measures nothing.
        flickr30k: file of ids of a split of Flickr30k Entities; `None` measures nothing.
        images: folder of the datasets' pictures; `None`: `images` next to the annotations.
        limit: number of questions per dataset.
    """

    model: str
    revision: str | None = None
    report: Path | None = None
    picture: Path | None = None
    device: str | None = None
    dtype: str | None = None
    refcoco: Path | None = None
    flickr30k: Path | None = None
    images: Path | None = None
    limit: int = 500


def verify(options: VerifyOptions) -> int:
    """Run all checks, print one line for each, and write the report.

    Returns:
        The exit code: 1 if anything differs or no answer could be compared, otherwise 0.

    Raises:
        OSError: the report cannot be written.
    """
    if options.report is not None:
        # An error, if any, before all checks.
        options.report.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=options.report).close()
    try:
        checkpoint = open_checkpoint(options.model, options.revision)
        recording = find_recording(checkpoint)
    except CheckpointError as error:
        print(Check("files", "differs", str(error)))
        return 1
    sums = checksums_of(checkpoint)
    report = Report(checkpoint.name, checkpoint.revision, recording.model, {}, sums)
    for check in _checks(options, checkpoint, recording, report):
        report.checks.append(check)
        print(check, flush=True)
    print(report.verdict)
    if options.report is not None:
        report.write(options.report)
        print(f"report: {options.report / 'report.html'}")
    return 0 if report.has_passed else 1


def _checks(
    options: VerifyOptions, checkpoint: Checkpoint, recording: Recording, report: Report
) -> Iterator[Check]:
    yield from check_files(checkpoint, recording)
    try:
        yield from check_token_ids(checkpoint, recording)
        _show_progress("tensors and devices")
        described = describe(checkpoint.directory)
        report.machine = describe_machine(described["versions"], described["devices"])
        yield from check_tensors(described["tensors"], recording)
        picture = find_picture(options.picture, checkpoint, recording)
        yield _check_picture(picture, recording)
        material = Material.of(checkpoint, recording.answers, picture)
    except (StartupError, RequestError, OSError) as error:
        yield Check("answers", "not checked", str(error))
        return
    targets = _targets(options, [device["device"] for device in described["devices"]])
    for target in targets:
        _show_progress(f"answers, {target}")
        run = run_on_engine(material, target)
        yield from run.checks
        if run.outputs:
            _show_progress(f"HTTP, {target}")
            yield from check_service(material, run, picture)
        report.runs += [run.figures] if run.outputs else []
        material = with_tokens(material, run.outputs)
        if run.outputs and target.dtype == "float32":
            _show_progress(f"generate of transformers, {target}")
            yield from check_reference(material, run)
    yield from _check_datasets(options, checkpoint, targets[0])


def find_picture(given: Path | None, checkpoint: Checkpoint, recording: Recording) -> Path:
    """Return the picture of the recording: the given one, next to the weights, or on the hub.

    Raises:
        CheckpointError: it is missing; of a recording from the hub, the hub cannot be reached
            either, or does not have it.
    """
    if given is not None:
        return given
    beside = checkpoint.directory / recording.picture
    if beside.is_file():
        return beside
    if recording.revision is None:
        raise CheckpointError(f"{beside}, the recorded picture, is missing; see --picture")
    return fetch_file(recording.model, recording.revision, recording.picture)


def _check_picture(picture: Path, recording: Recording) -> Check:
    sha256 = sha256_of(picture)
    if sha256 == recording.picture_sha256:
        return Check("picture", "ok", f"{picture.name} has the recorded SHA-256")
    return Check(
        "picture",
        "differs",
        f"{picture.name} has the SHA-256 {sha256[:12]}…, recorded {recording.picture_sha256[:12]}…",
    )


def _targets(options: VerifyOptions, devices: Sequence[str]) -> list[Target]:
    """Return all devices and dtypes to run, the best device first, float32 first on each."""
    wanted = [device for device in reversed(devices) if options.device in {None, device}]
    dtypes = [dtype for dtype in DTYPES if options.dtype in {None, dtype}]
    if not wanted:
        raise StartupError(f"device {options.device} cannot be used on this machine")
    return [Target(device, dtype) for device in wanted for dtype in dtypes]


def _check_datasets(
    options: VerifyOptions, checkpoint: Checkpoint, target: Target
) -> Iterator[Check]:
    """Yield the accuracy on each dataset, next to the paper's; a figure never differs."""
    datasets = [(measure_refcoco, options.refcoco), (measure_flickr30k, options.flickr30k)]
    given = [(measure, path) for measure, path in datasets if path is not None]
    if not given:
        yield Check("accuracy", "not checked", "no dataset; see --refcoco and --flickr30k")
        return
    try:
        with serving(checkpoint.directory, target.device, target.dtype) as client:
            for measure, path in given:
                _show_progress(f"{path.name}, {options.limit} questions")
                images = options.images or path.parent / "images"
                found = _measure(measure, client, path, images, options.limit)
                yield Check(f"accuracy, {found.dataset}", "ok", str(found))
    except (Kosmos2Error, httpx.HTTPError, OSError, ValueError, LookupError) as error:
        yield Check("accuracy", "not checked", str(error) or repr(error))


def _measure(
    measure: Callable[[Ask, Path, Path, int], Accuracy],
    client: httpx.Client,
    path: Path,
    images: Path,
    limit: int,
) -> Accuracy:
    def ask_service(fields: dict[str, Any], picture: bytes) -> dict[str, Any]:
        return ask(client, fields, picture)

    return measure(ask_service, path, images, limit)


def _show_progress(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)
