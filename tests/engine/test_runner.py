"""Passes of rounded shapes, which a CUDA device records, choose the same tokens as exact passes."""

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext

import msgspec
import pytest
import torch
from structlog.testing import capture_logs

from app.checkpoint.files import open_checkpoint
from app.engine.choices import ChosenToken
from app.engine.cuda_graphs import Recording, RoundedPass
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.errors import StartupError
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import Generate, SamplingParameters
from app.settings import EMBEDDED_CHECKPOINT, MAX_NGRAM_SIZE, Settings
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.recordings import record_operators
from harness.requests import random_requests

NUM_SLOTS = 5
MAX_LENGTH = 160
SAMPLED = SamplingParameters(temperature=0.8, top_k=50, top_p=0.9, seed=7)

# Kinds of rows with different numbers of tokens, so that rows finish one by one and others join.
KINDS = {
    "greedy": SamplingParameters(max_new_tokens=23),
    "banned": SamplingParameters(max_new_tokens=31, no_repeat_ngram_size=3),
    "banned from repeating one token": SamplingParameters(max_new_tokens=9, no_repeat_ngram_size=1),
    "the largest n-gram size": SamplingParameters(
        max_new_tokens=17, no_repeat_ngram_size=MAX_NGRAM_SIZE
    ),
    "a larger n-gram size of a checkpoint": SamplingParameters(
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
    """A runner with random weights whose passes have exactly the required shapes."""
    directory = write_random_checkpoint(
        tmp_path_factory.mktemp("checkpoints") / "tiny",
        tiny_config(EMBEDDED_CHECKPOINT),
        EMBEDDED_CHECKPOINT,
    )
    settings = Settings(model=str(directory), slots=NUM_SLOTS, max_sequence_length=MAX_LENGTH)
    return build_runner(settings, open_checkpoint(settings.model), lambda _: nullcontext())


def build_rounded(exact: Runner) -> Runner:
    """Return a runner with the same weights whose passes have rounded shapes."""
    return Runner(
        exact.model,
        NUM_SLOTS,
        2**20,
        lambda _: nullcontext(),
        is_rounded=True,
        in_background=False,
        max_pictures=4,
        draft_next=exact.draft_next,
    )


@pytest.fixture(scope="module")
def rounded(exact: Runner) -> Runner:
    """A runner with rounded passes that are not recorded."""
    return build_rounded(exact)


@pytest.fixture(scope="module")
def recorded(exact: Runner) -> Runner:
    """A runner with recorded passes: lists of operators instead of CUDA graphs."""
    runner = build_rounded(exact)
    runner.record_passes(record_operators)
    assert runner.num_recorded == runner.num_recordable > 0
    return runner


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    """One request of each kind, and one that ends at the last token of its slot."""
    tokenizer = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
    prompts = [r.prompt for r in random_requests(tokenizer, len(KINDS) + 1, num_pictures=4)]
    longest = SamplingParameters(max_new_tokens=MAX_LENGTH - len(prompts[0].token_ids))
    return [
        (Generate(0, key, p.token_ids, p.picture_digest, sampling, math.inf), p.pixels)
        for key, (p, sampling) in enumerate(zip(prompts, [longest, *KINDS.values()], strict=True))
    ]


def answer(runner: Runner, questions: list[Question]) -> Answers:
    """Return tokens and log-probabilities of each request; few start in each step, some move."""
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
        scheduler.close_gaps()
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rounded", "recorded"])
def test_rounded_passes_choose_the_tokens_of_each_row_alone(
    kind: str, exact: Runner, questions: list[Question], request: pytest.FixtureRequest
) -> None:
    """Rows of all kinds join and finish; free slots among and after them are computed too."""
    # A replayed pass must not depend on values that Python computed while it was recorded.
    check_alone_on(exact, answer(request.getfixturevalue(kind), questions), questions)


@pytest.mark.parametrize("kind", ["exact", "recorded"])
def test_only_sequences_that_still_run_get_tokens_of_a_launched_pass(
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


def test_a_launched_pass_without_running_sequences_is_dropped(
    recorded: Runner, questions: list[Question]
) -> None:
    """Otherwise the next decode would read it, and its own rows would get no tokens."""
    first, second = start(recorded, questions[:2])
    recorded.launch([first])
    assert recorded.decode([]) == []
    assert [choice.sequence for choice in recorded.decode([second])] == [second]
    for sequence in (first, second):
        recorded.slots.free(sequence.held_slot)


def start(runner: Runner, questions: list[Question]) -> list[Sequence]:
    """Return sequences that hold slots and have their first token."""
    sequences = [Sequence(b"test", request, pixels, 0.0) for request, pixels in questions]
    for sequence in sequences:
        sequence.slot = runner.slots.allocate()
    take(runner.prefill(sequences), defaultdict(list))
    return sequences


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "rounded", "recorded"])
def test_non_finite_numbers_stay_in_their_row_and_are_cleared_with_it(
    kind: str, questions: list[Question], request: pytest.FixtureRequest
) -> None:
    """In a slot that is not cleared, a masked NaN remains: zero times NaN is NaN."""
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


@pytest.mark.slow
def test_exact_passes_choose_the_tokens_of_each_row_alone(
    exact: Runner, questions: list[Question]
) -> None:
    """The same without rounded shapes, as on a CPU."""
    check_alone_on(exact, answer(exact, questions), questions)


@pytest.mark.slow
def test_a_reused_slot_does_not_change_answers(rounded: Runner, questions: list[Question]) -> None:
    """The order in which rows get slots does not change their tokens."""
    forwards, backwards = answer(rounded, questions), answer(rounded, questions[::-1])
    for key, chosen in forwards.items():
        assert [token for token, _ in chosen] == [token for token, _ in backwards[key]]


def test_prompts_of_one_pass_must_have_adjacent_slots(
    exact: Runner, questions: list[Question]
) -> None:
    """The pass would write into the slots between them."""
    sequences = [Sequence(b"test", request, pixels, 0.0) for request, pixels in questions[:2]]
    for sequence, slot in zip(sequences, (0, 2), strict=True):
        sequence.slot = slot
    with pytest.raises(RuntimeError, match="not adjacent"):
        exact.prefill(sequences)


def test_a_picture_that_is_encoded_again_is_not_reported_as_cached(
    exact: Runner, questions: list[Question]
) -> None:
    """After a failed pass, the pictures are evicted and the sequence starts again."""
    request, pixels = questions[0]
    sequence = Sequence(b"test", request, pixels, arrived_at=0.0)
    sequence.slot = exact.slots.allocate()
    exact.recover()
    cached_tokens = []
    for is_evicted in (False, True, False):
        exact.prefill([sequence])
        cached_tokens.append(sequence.num_cached_tokens)
        if is_evicted:
            assert exact.recover()
    exact.slots.free(sequence.slot)
    assert cached_tokens == [0, len(exact.model.prefix_token_ids), 0]


class FailingRecorder:
    """Records a number of passes, then raises."""

    def __init__(self, room: int, error: RuntimeError) -> None:
        self._room, self._error = room, error

    def __call__(self, run: Callable[[], None]) -> Recording:
        self._room -= 1
        if self._room < 0:
            raise self._error
        return record_operators(run)


@pytest.mark.slow
def test_passes_that_exceed_the_memory_run_without_recordings(
    exact: Runner, recorded: Runner, questions: list[Question]
) -> None:
    """The largest passes are recorded first. The log has the cause."""
    runner = build_rounded(exact)
    with capture_logs() as logs:
        runner.record_passes(FailingRecorder(3, torch.OutOfMemoryError("planted")))
    assert [entry["exc_info"] for entry in logs] == [True]
    assert runner.num_recorded == 3 < runner.num_recordable
    assert runner.recover()
    assert answer(runner, questions) == answer(recorded, questions)


def test_a_pass_that_cannot_be_recorded_stops_the_start_with_its_reason() -> None:
    """After a failed recording torch's allocator is broken, so the process must not serve."""
    passes = RoundedPass[int](lambda _: None, (2, 1), lambda shape: shape)
    with pytest.raises(StartupError, match="planted.*KOSMOS2_RECORDINGS=off"):
        passes.record(FailingRecorder(1, RuntimeError("planted")))
