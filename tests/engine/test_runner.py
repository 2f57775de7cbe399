"""Passes of rounded sizes, which a CUDA device records, choose what exact passes choose."""

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.checkpoint import open_checkpoint
from app.engine.cuda_graphs import Buckets, PictureBuckets, Recording, RoundedPass
from app.engine.decode import PassShape
from app.engine.process import build_runner
from app.engine.runner import ChosenToken, Runner
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.errors import StartupError
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import Generate, SamplingParameters
from app.ipc.sampling_limits import MAX_NGRAM_SIZE
from app.settings import EMBEDDED_CHECKPOINT, Settings
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.recordings import record_operators
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


def build_rounded(exact: Runner) -> Runner:
    """A runner over the same weights whose passes are of few sizes."""
    return Runner(
        exact.model,
        NUM_SLOTS,
        2**20,
        lambda _: nullcontext(),
        is_rounded=True,
        in_background=False,
        max_pictures=4,
    )


@pytest.fixture(scope="module")
def rounded(exact: Runner) -> Runner:
    """One whose passes are not recorded."""
    return build_rounded(exact)


@pytest.fixture(scope="module")
def recorded(exact: Runner) -> Runner:
    """One whose passes are recorded; lists of operators stand in the place of CUDA graphs."""
    runner = build_rounded(exact)
    runner.record_passes(record_operators)
    assert runner.num_recorded == runner.num_recordable > 0
    return runner


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


@pytest.mark.parametrize("kind", ["rounded", "recorded"])
def test_rounded_passes_choose_what_each_row_chooses_alone(
    kind: str, exact: Runner, questions: list[Question], request: pytest.FixtureRequest
) -> None:
    """Rows of all kinds join and leave; free slots among them and behind them are computed too.

    Replayed, a pass has nothing that Python computed while it was recorded.
    """
    check_alone_on(exact, answer(request.getfixturevalue(kind), questions), questions)


@pytest.mark.parametrize("kind", ["exact", "recorded"])
def test_a_pass_launched_early_is_read_for_those_that_still_run(
    kind: str, questions: list[Question], request: pytest.FixtureRequest
) -> None:
    """A row that joined after the launch gets its token from the next pass."""
    runner = request.getfixturevalue(kind)
    first, second, third = start(runner, questions[:3])
    runner.launch([first, second])
    chosen = [choice.sequence for choice in runner.decode([second, third])]
    assert chosen == [second] if kind == "recorded" else [second, third]
    assert runner.decode([]) == []
    for sequence in (first, second, third):
        runner.slots.free(sequence.held_slot)


def test_a_pass_whose_rows_have_all_left_is_forgotten(
    recorded: Runner, questions: list[Question]
) -> None:
    """Otherwise the next decode would read it, and give its own rows nothing."""
    first, second = start(recorded, questions[:2])
    recorded.launch([first])
    assert recorded.decode([]) == []
    assert [choice.sequence for choice in recorded.decode([second])] == [second]
    for sequence in (first, second):
        recorded.slots.free(sequence.held_slot)


def start(runner: Runner, questions: list[Question]) -> list[Sequence]:
    """Sequences that hold slots and have their first token."""
    sequences = [Sequence(b"test", request, pixels, 0.0) for request, pixels in questions]
    for sequence in sequences:
        sequence.slot = runner.slots.allocate()
    take(runner.prefill(sequences), defaultdict(list))
    return sequences


@pytest.mark.parametrize("kind", ["exact", "rounded", "recorded"])
def test_invalid_numbers_of_a_row_stay_in_its_row_and_leave_with_it(
    kind: str, questions: list[Question], request: pytest.FixtureRequest
) -> None:
    """Masked NaN is still NaN: zero times NaN, in each slot that is not cleared."""
    runner = request.getfixturevalue(kind)
    before = answer(runner, questions)
    sequences = start(runner, questions[:3])
    for layer in runner.slots.layers:
        layer[:, sequences[1].held_slot] = math.nan
    assert [choice.is_valid for choice in runner.decode(sequences)] == [True, False, True]
    runner.discard(sequences[1:2])
    for sequence in sequences:
        runner.slots.free(sequence.held_slot)
    assert answer(runner, questions) == before


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


@given(st.integers(1, 16))
def test_every_number_of_pictures_has_a_pass_that_is_recorded(num_pictures: int) -> None:
    buckets = PictureBuckets.up_to(16)
    assert num_pictures <= buckets.round_up(num_pictures) in set(buckets.shapes())


@given(sizes)
def test_every_pass_that_requests_may_ask_for_has_a_size_that_is_recorded(size: PassShape) -> None:
    """It covers the rows, the tokens, the ban and the sampling."""
    buckets = Buckets.up_to(24, 512)
    rounded = buckets.round_up(size)
    assert rounded in set(buckets.shapes())
    assert rounded.first_row == 0
    assert rounded.num_rows >= size.first_row + size.num_rows
    assert rounded.length >= size.length
    assert rounded.max_ngram_size >= size.max_ngram_size
    assert rounded.is_sampled == size.is_sampled


class Failing:
    """Records as many passes as it is given room for, then raises."""

    def __init__(self, room: int, error: RuntimeError) -> None:
        self._room, self._error = room, error

    def __call__(self, run: Callable[[], None]) -> Recording:
        self._room -= 1
        if self._room < 0:
            raise self._error
        return record_operators(run)


def test_where_memory_for_recordings_runs_out_the_others_stay(
    exact: Runner, recorded: Runner, questions: list[Question]
) -> None:
    """The largest come first; the others run without recordings. The log has the cause."""
    runner = build_rounded(exact)
    with capture_logs() as logs:
        runner.record_passes(Failing(3, torch.OutOfMemoryError("planted")))
    assert [entry["exc_info"] for entry in logs] == [True]
    assert runner.num_recorded == 3 < runner.num_recordable
    assert runner.recover()
    assert answer(runner, questions) == answer(recorded, questions)


def test_a_pass_that_cannot_be_recorded_ends_the_start_with_its_reason() -> None:
    """After a failed recording torch's allocator is not whole: the process must not serve."""
    passes = RoundedPass[int](lambda _: None, (2, 1), lambda shape: shape)
    with pytest.raises(StartupError, match="planted.*KOSMOS2_RECORDINGS=off"):
        passes.record(Failing(1, RuntimeError("planted")))


@pytest.mark.parametrize("is_sampled", [False, True])
def test_a_larger_ban_than_is_recorded_is_kept(is_sampled: bool) -> None:
    """Only a checkpoint can ask for one; cut short, it would forbid what is allowed."""
    size = PassShape(0, 1, 128, MAX_NGRAM_SIZE + 1, is_sampled)
    assert Buckets.up_to(24, 512).round_up(size) == size
