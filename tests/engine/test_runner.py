"""Passes of rounded sizes, which a CUDA device records, choose what exact passes choose."""

import math
from collections import defaultdict
from contextlib import nullcontext

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.checkpoint import open_checkpoint
from app.engine.cuda_graphs import Buckets, RoundedSteps
from app.engine.decode import PassShape
from app.engine.process import build_runner
from app.engine.runner import ChosenToken, Runner
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import Generate, SamplingParameters
from app.ipc.sampling_limits import MAX_NGRAM_SIZE
from app.settings import EMBEDDED_CHECKPOINT, Settings
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.requests import random_requests

NUM_SLOTS = 5
MAX_LENGTH = 160
SAMPLED = SamplingParameters(temperature=0.8, top_k=50, top_p=0.9, seed=7)

# Each kind of row, and how many tokens it is to get: rows leave one by one, others join.
KINDS = {
    "greedy": SamplingParameters(max_new_tokens=23),
    "banned": SamplingParameters(max_new_tokens=31, no_repeat_ngram_size=3),
    "banned from repeating one token": SamplingParameters(max_new_tokens=9, no_repeat_ngram_size=1),
    "the largest ban": SamplingParameters(max_new_tokens=17, no_repeat_ngram_size=MAX_NGRAM_SIZE),
    "a checkpoint's own larger ban": SamplingParameters(
        max_new_tokens=12, no_repeat_ngram_size=MAX_NGRAM_SIZE + 4
    ),
    "sampled": msgspec.structs.replace(SAMPLED, max_new_tokens=27),
    "sampled and banned": msgspec.structs.replace(
        SAMPLED, max_new_tokens=14, no_repeat_ngram_size=2
    ),
    "one token": SamplingParameters(max_new_tokens=1),
}

Question = tuple[Generate, bytes]
Answers = dict[int, list[tuple[int, float]]]


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A runner over random weights whose passes are as large as they need to be."""
    directory = write_random_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "tiny",
        tiny_config(EMBEDDED_CHECKPOINT),
        EMBEDDED_CHECKPOINT,
    )
    settings = Settings(model=str(directory), slots=NUM_SLOTS, max_sequence_length=MAX_LENGTH)
    return build_runner(settings, open_checkpoint(settings.model), lambda _: nullcontext())


@pytest.fixture(scope="module")
def rounded(exact: Runner) -> Runner:
    """A runner over the same weights whose passes are of few sizes."""
    return Runner(
        exact.model,
        NUM_SLOTS,
        2**20,
        lambda _: nullcontext(),
        is_rounded=True,
        in_background=False,
    )


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    """One of each kind with its picture, and one that ends at the very last place of its slot."""
    tokenizer = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
    prompts = [each.prompt for each in random_requests(tokenizer, len(KINDS) + 1, num_pictures=4)]
    longest = SamplingParameters(max_new_tokens=MAX_LENGTH - len(prompts[0].token_ids))
    return [
        (Generate(0, key, p.token_ids, p.picture_digest, sampling, math.inf), p.pixels)
        for key, (p, sampling) in enumerate(zip(prompts, [longest, *KINDS.values()], strict=True))
    ]


def answer(runner: Runner, questions: list[Question]) -> Answers:
    """The tokens and log-probabilities of each; few start in a step, as slots become free."""
    limits = SchedulerLimits(max_waiting=len(questions), max_prefill_tokens=200, max_pictures=2)
    scheduler = Scheduler(runner.slots, limits, runner.pictures.__contains__)
    answers: Answers = defaultdict(list)
    for request, pixels in questions:
        scheduler.add(Sequence(b"test", request, pixels, arrived_at=0.0))
    while not scheduler.is_idle:
        admitted = scheduler.admit(0.0)
        scheduler.assign_slots(admitted)
        take(runner.prefill(admitted), answers)
        scheduler.finish()
        take(runner.decode(list(scheduler.running)), answers)
        scheduler.finish()
    scheduler.check()
    return answers


def take(chosen: list[ChosenToken], answers: Answers) -> None:
    for choice in chosen:
        choice.sequence.append(choice.token_id, lambda _: False)
        key = choice.sequence.request.key
        answers[key].append((choice.token_id, choice.log_probability))


def check_alone_on(exact: Runner, together: Answers, questions: list[Question]) -> None:
    for question in questions:
        key = question[0].key
        tokens, logarithms = zip(*together[key], strict=True)
        expected_tokens, expected = zip(*answer(exact, [question])[key], strict=True)
        assert tokens == expected_tokens, question[0].sampling
        assert logarithms == pytest.approx(expected, abs=1e-4), question[0].sampling


def test_rounded_passes_choose_what_each_row_chooses_alone(
    exact: Runner, rounded: Runner, questions: list[Question]
) -> None:
    """Rows of all kinds join and leave; free slots among them and behind them are computed too."""
    check_alone_on(exact, answer(rounded, questions), questions)


def test_exact_passes_choose_what_each_row_chooses_alone(
    exact: Runner, questions: list[Question]
) -> None:
    """The same without rounding, as on a CPU."""
    check_alone_on(exact, answer(exact, questions), questions)


def test_a_slot_that_another_left_tells_nothing(rounded: Runner, questions: list[Question]) -> None:
    """The order in which rows take slots changes nothing of their answers, to the last token."""
    forwards, backwards = answer(rounded, questions), answer(rounded, questions[::-1])
    for key, chosen in forwards.items():
        assert [token for token, _ in chosen] == [token for token, _ in backwards[key]]


def test_a_picture_that_has_to_be_encoded_again_is_not_told_as_at_hand(
    exact: Runner, questions: list[Question]
) -> None:
    """After a pass that failed, the pictures are forgotten, and the sequence starts again."""
    request, pixels = questions[0]
    sequence = Sequence(b"test", request, pixels, arrived_at=0.0)
    sequence.slot = exact.slots.allocate()
    exact.recover()
    told = []
    for forgets in (False, True, False):
        exact.prefill([sequence])
        told.append(sequence.num_cached_tokens)
        if forgets:
            assert exact.recover()
    exact.slots.free(sequence.slot)
    assert told == [0, len(exact.model.prefix_token_ids), 0]


sizes = st.builds(
    PassShape,
    first_row=st.integers(0, 11),
    num_rows=st.integers(1, 13),
    length=st.integers(1, 512),
    max_ngram_size=st.integers(0, MAX_NGRAM_SIZE),
    is_sampled=st.booleans(),
)


@given(sizes)
def test_every_pass_that_requests_may_ask_for_has_a_size_that_is_recorded(size: PassShape) -> None:
    """It covers the rows, the tokens, the ban and the sampling."""
    buckets = Buckets.up_to(24, 512)
    rounded = buckets.round_up(size)
    assert rounded in set(buckets.sizes())
    assert rounded.first_row == 0
    assert rounded.num_rows >= size.first_row + size.num_rows
    assert rounded.length >= size.length
    assert rounded.max_ngram_size >= size.max_ngram_size
    assert rounded.is_sampled == size.is_sampled


@pytest.mark.skipif(torch.cuda.is_available(), reason="passes can be recorded here")
def test_where_passes_cannot_be_recorded_they_run_all_the_same() -> None:
    """Slower, with the same answers."""
    ran: list[PassShape] = []
    steps = RoundedSteps(ran.append, Buckets.up_to(4, 512))
    assert not steps.record()
    ran.clear()
    steps(PassShape(0, 3, 100, 0, is_sampled=False))
    assert ran == [PassShape(0, 4, 128, 0, is_sampled=False)]


@pytest.mark.parametrize("is_sampled", [False, True])
def test_a_larger_ban_than_is_recorded_is_kept(is_sampled: bool) -> None:
    """Only a checkpoint can ask for one; cut short, it would forbid what is allowed."""
    size = PassShape(0, 1, 128, MAX_NGRAM_SIZE + 1, is_sampled)
    assert Buckets.up_to(24, 512).round_up(size) == size
