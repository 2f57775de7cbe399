"""Compares the answers of one device and dtype: engine alone, batch, HTTP, stream, `generate`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from app.errors import Kosmos2Error
from app.verify.checks import Check, GivenAnswer, Tally
from app.verify.jobs import Output, run_engine, run_reference
from app.verify.prompts import Material
from app.verify.service_side import ServiceAnswers, ask_all, serving


@dataclass(frozen=True)
class Target:
    """A device and a dtype."""

    device: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} on {self.device}"


@dataclass
class TargetRun:
    """What one device and dtype answered.

    Attributes:
        checks: of the engine's answers.
        outputs: of the engine, each prompt alone; empty if the engine cannot run.
        given: the engine's answers, alone and in a batch.
        tallies: by way (alone, batch, HTTP, streamed); those over HTTP are added later.
        caption_s: seconds that a caption took over HTTP.
    """

    target: Target
    checks: list[Check]
    outputs: Sequence[Output] = ()
    given: Sequence[GivenAnswer] = ()
    tallies: dict[str, Tally] = field(default_factory=dict)
    caption_s: float | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """Counts, the largest logit difference and the time of a caption, for the report."""
        target = {"device": self.target.device, "dtype": self.target.dtype}
        return target | _counts(self.tallies) | {"caption_s": self.caption_s}


def run_on_engine(material: Material, target: Target) -> TargetRun:
    """Compare the engine's answers on one device and dtype with the recorded ones."""
    try:
        outputs = run_engine(material.job(target.device, target.dtype))
    except Kosmos2Error as error:
        return TargetRun(target, [Check(f"answers, {target}", "not checked", str(error))])
    alone = [material.given(key, output) for key, output in enumerate(outputs.alone)]
    batch = [material.given(k % len(alone), output) for k, output in enumerate(outputs.batch)]
    tallies = {"alone": _tally(material, alone, target), "batch": _tally(material, batch, target)}
    return TargetRun(target, _checks(tallies, target), outputs.alone, [*alone, *batch], tallies)


def check_service(material: Material, run: TargetRun, picture: Path) -> Iterator[Check]:
    """Compare the answers over HTTP and streamed, and add their tallies to those of the run."""
    target = run.target
    try:
        with serving(material.checkpoint.directory, target.device, target.dtype) as client:
            service = ask_all(client, material.answers, picture.read_bytes())
    except (Kosmos2Error, httpx.HTTPError) as error:
        yield Check(f"HTTP, {target}", "not checked", str(error))
        return
    tallies = _service_tallies(material, service, run.given, target)
    run.tallies |= tallies
    run.caption_s = service.caption_s
    yield from _checks(tallies, target)
    yield from (Check(f"streamed, {target}", "differs", line) for line in service.stream_errors)
    yield Check(f"time of a caption, {target}", "ok", f"{service.caption_s:.3f} s")


def _tally(material: Material, given: Sequence[GivenAnswer], target: Target) -> Tally:
    tally = Tally()
    for key, answer in enumerate(given):
        tally.add(material.answers[key % len(material.answers)], answer, target.dtype)
    return tally


def _service_tallies(
    material: Material, service: ServiceAnswers, of_engine: Sequence[GivenAnswer], target: Target
) -> dict[str, Tally]:
    """Compare the service's answers; one that the engine also gave at a tie is excused like it."""
    ties = {answer.markup: answer.tie for answer in of_engine}
    whole, streamed = (
        [replace(answer, tie=ties.get(answer.markup)) for answer in answers]
        for answers in (service.whole, service.streamed)
    )
    return {
        "HTTP": _tally(material, whole, target),
        "streamed": _tally(material, streamed, target),
    }


def _checks(tallies: dict[str, Tally], target: Target) -> list[Check]:
    found = (tally.checks(f"{way}, {target}", target.dtype) for way, tally in tallies.items())
    return [check for checks in found for check in checks]


def _counts(tallies: dict[str, Tally]) -> dict[str, Any]:
    differences = [d for tally in tallies.values() for d in tally.logit_differences]
    return {
        "num_answers": sum(tally.num_answers for tally in tallies.values()),
        "num_equal": sum(tally.num_equal for tally in tallies.values()),
        "num_ties": sum(len(tally.ties) for tally in tallies.values()),
        "num_logits": len(differences),
        "largest_logit_difference": max(differences, default=None),
    }


def with_tokens(material: Material, outputs: Sequence[Output]) -> Material:
    """Add the tokens of equal answers whose text alone was recorded, so that ties can be found."""
    prompts = [
        replace(prompt, expected_ids=output.new_token_ids)
        if prompt.expected_ids is None
        and material.given(key, output).markup == material.answers[key].markup
        else prompt
        for key, (prompt, output) in enumerate(zip(material.prompts, outputs, strict=False))
    ]
    return replace(material, prompts=tuple(prompts)) if outputs else material


def check_reference(material: Material, run: TargetRun) -> Iterator[Check]:
    """Compare the engine's answers of a float32 run with those of `generate` on this machine."""
    name = f"generate of transformers, {run.target}"
    try:
        expected = run_reference(material.job(run.target.device, run.target.dtype))
    except Kosmos2Error as error:
        yield Check(name, "not checked", str(error))
        return
    pairs = list(zip(run.outputs, expected, strict=True))
    wrong = [
        f"{answer.name}: {_first_difference(*pair)}"
        for answer, pair in zip(material.answers, pairs, strict=True)
        if pair[0].new_token_ids != pair[1].new_token_ids
    ]
    differences = [
        abs(a - b)
        for ours, theirs in pairs
        for a, b in zip(ours.logits, theirs.logits, strict=True)
    ]
    detail = f"{len(pairs) - len(wrong)} of {len(pairs)} token sequences equal"
    if differences:
        detail += f", {len(differences)} logits differ by at most {max(differences):.6f}"
    yield Check(name, "differs" if wrong else "ok", detail)
    yield from (Check(name, "differs", line) for line in wrong)


def _first_difference(ours: Output, theirs: Output) -> str:
    pairs = enumerate(zip(ours.new_token_ids, theirs.new_token_ids, strict=False))
    for step, (a, b) in pairs:
        if a != b:
            return f"token {step} is {a}, of generate {b}"
    return f"{len(ours.new_token_ids)} tokens, of generate {len(theirs.new_token_ids)}"
