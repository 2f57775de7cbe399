"""The grammar's drafts save passes, and answers of the embedded checkpoint stay what they are.

The checkpoint writes object lists as the published one does, so its answers accept drafts.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass

import pytest

from app.checkpoint.files import open_checkpoint
from app.engine.grammar import Grammar
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.grounding.class_prompts import phrase_prompt
from app.grounding.tasks import TASKS, write_prompt
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import Generate, SamplingParameters
from app.settings import EMBEDDED_CHECKPOINT, Settings
from harness.drafts import no_draft
from harness.requests import prompt_of
from harness.scenes import scene_pixels

pytestmark = pytest.mark.slow  # runs the embedded checkpoint

TOKENIZER = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
TAGS = TOKENIZER.tag_ids
CALIBRATION = open_checkpoint(str(EMBEDDED_CHECKPOINT)).calibration


@pytest.mark.parametrize(
    ("markup", "stops", "draft"),
    [
        ("<phrase> a cat</phrase>", (), "<object>"),
        ("<phrase> a cat</phrase>", ("<object>",), None),
        ("<phrase> a cat", (), None),
        ("<object><patch_index_0044>", (), None),
        ("<object><patch_index_0044><patch_index_0863>", (), "</object>"),
        (
            "<object><patch_index_0044><patch_index_0863>",
            ("</object>",),
            "</delimiter_of_multi_objects/>",
        ),
        (
            "<object><patch_index_0044><patch_index_0863></delimiter_of_multi_objects/>"
            "<patch_index_0001><patch_index_0002>",
            (),
            "</object>",
        ),
        ("<object><patch_index_0044><patch_index_0863></object>", (), None),
        ("<patch_index_0044><patch_index_0863>", (), None),
    ],
)
def test_the_grammar_drafts_tags_that_nearly_always_follow(
    markup: str, stops: tuple[str, ...], draft: str | None
) -> None:
    grammar = Grammar.of(TAGS, TOKENIZER.location_token_ids)
    drafted = grammar.draft_next(TOKENIZER.encode_prompt(markup), [TAGS[tag] for tag in stops])
    assert drafted == (None if draft is None else TAGS[draft])


@dataclass(frozen=True)
class Answer:
    """New tokens of a row, and the passes that it was in."""

    token_ids: list[int]
    num_passes: int


def caption(task: str = "brief_caption") -> str:
    return write_prompt(TASKS[task], text=None, regions=(), grounding=True)


def answer(runner: Runner, rows: list[tuple[str, bytes, SamplingParameters]]) -> list[Answer]:
    """Return the answers to prompts that run together."""
    sequences = []
    for key, (text, pixels, sampling) in enumerate(rows):
        prompt = prompt_of(TOKENIZER, text, pixels)
        request = Generate(0, key, prompt.token_ids, prompt.picture_digest, sampling, math.inf)
        sequences.append(Sequence(b"test", request, pixels, arrived_at=0.0))
        sequences[-1].slot = runner.slots.allocate()
    num_passes = dict.fromkeys(sequences, 0)
    run_pass, running = runner.prefill, sequences
    while running:
        for choice in run_pass(running):
            choice.sequence.append(choice.token_id, lambda i: i in runner.model.end_token_ids)
        for sequence in running:
            num_passes[sequence] += 1
            if sequence.is_finished:
                runner.slots.free(sequence.held_slot)
        run_pass, running = runner.decode, [s for s in running if not s.is_finished]
    return [Answer(sequence.new_token_ids, number) for sequence, number in num_passes.items()]


def build(**options: object) -> Runner:
    settings = Settings(model=str(EMBEDDED_CHECKPOINT), slots=8, **options)
    return build_runner(settings, open_checkpoint(settings.model), lambda _: nullcontext())


@pytest.fixture(scope="module")
def runner() -> Runner:
    return build()


def test_a_caption_needs_at_most_87_passes_per_100_tokens(runner: Runner) -> None:
    """Brief and detailed captions; without drafts each token needs a pass."""
    rows = [
        (caption(task), pixels, SamplingParameters(max_new_tokens=128))
        for pixels in scene_pixels(8)
        for task in ("brief_caption", "detailed_caption")
    ]
    answers = [answer(runner, [row])[0] for row in rows]
    num_tokens = sum(len(one.token_ids) for one in answers)
    assert num_tokens > 500
    assert sum(one.num_passes for one in answers) <= 0.87 * num_tokens


def test_a_box_of_a_class_needs_three_passes_and_every_further_one_two(runner: Runner) -> None:
    """Of `<object>`, four cells, a delimiter and `</object>`, two tokens are drafts."""
    sampling = detection()
    answers = [
        one
        for pixels in scene_pixels(6)
        for name in ("red circle", "circle", "triangle")
        for one in answer(runner, [(phrase_prompt(CALIBRATION, name), pixels, sampling)])
        if len(one.token_ids) % 3 == 1  # a class that is absent may get one corner only
    ]
    nums_boxes = [(len(one.token_ids) - 1) // 3 for one in answers]
    assert {1, 2} <= set(nums_boxes)
    for one, num_boxes in zip(answers, nums_boxes, strict=True):
        assert one.token_ids[-1] == TAGS["</object>"]
        assert one.num_passes == 1 + 2 * num_boxes


def detection() -> SamplingParameters:
    """Return the parameters of a detection's row."""
    return SamplingParameters(max_new_tokens=128, stop_token_ids=[TAGS["</object>"]])


def mixed_rows() -> list[tuple[str, bytes, SamplingParameters]]:
    """Return eight rows of all kinds, with and without the ban."""
    sampled = SamplingParameters(max_new_tokens=60, temperature=0.8, top_p=0.95, seed=4)
    kinds = [
        (caption(), SamplingParameters(max_new_tokens=40)),
        (caption("detailed_caption"), SamplingParameters(40, no_repeat_ngram_size=3)),
        (caption(), sampled),
        (caption(), SamplingParameters(40, 3, temperature=1.2, top_k=20, seed=9)),
        (phrase_prompt(CALIBRATION, "circle"), detection()),
        (phrase_prompt(CALIBRATION, "blue square"), detection()),
        (phrase_prompt(CALIBRATION, "star"), SamplingParameters(20, 1)),
        (phrase_prompt(CALIBRATION, "cross"), sampled),
    ]
    return [
        (text, pixels, sampling)
        for (text, sampling), pixels in zip(kinds, scene_pixels(len(kinds)), strict=True)
    ]


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_answers_do_not_depend_on_drafts(quantize: str) -> None:
    """Alone and in a batch of mixed rows, greedy and sampled."""
    runner, rows = build(quantize=quantize), mixed_rows()
    alone, together = (token_ids(runner, batches) for batches in ([[r] for r in rows], [rows]))
    num_accepted = runner.counts.accepted
    assert num_accepted > 20
    runner.draft_next = no_draft
    assert alone == together == token_ids(runner, [[row] for row in rows])
    assert runner.counts.accepted == num_accepted


def test_answers_in_bfloat16_depend_on_drafts_only_by_its_rounding() -> None:
    """Rounding differs between passes of one and of two tokens, as between sizes of a batch."""
    runner, rows = build(dtype="bfloat16"), mixed_rows()
    drafted = token_ids(runner, [[row] for row in rows])
    assert runner.counts.accepted > 10
    runner.draft_next = no_draft
    undrafted = token_ids(runner, [[row] for row in rows])
    num_equal = sum(one == other for one, other in zip(drafted, undrafted, strict=True))
    assert num_equal >= len(rows) - 1


def token_ids(
    runner: Runner, batches: list[list[tuple[str, bytes, SamplingParameters]]]
) -> list[list[int]]:
    """Return the new tokens of all rows, batch after batch."""
    return [one.token_ids for rows in batches for one in answer(runner, rows)]
