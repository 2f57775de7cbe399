"""Invariant 2: drafts never change an answer, whether they are right, wrong or missing.

The checkpoint has random weights, and drafts are tokens of answers that were computed without
drafts. So passes of all kinds of rows accept drafts of any token, at the first and at later ones.
"""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import msgspec
import pytest

from app.engine.choices import ChosenToken
from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.grounding.localization import CellDistribution
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import Generate, SamplingParameters
from app.settings import EMBEDDED_CHECKPOINT
from harness.drafts import AnswerDrafts, no_draft
from harness.recordings import record_operators
from harness.requests import random_requests

pytestmark = pytest.mark.slow  # compares hundreds of answers

NUM_TOKENS = 12
NUM_SLOTS = 6
END = -1  # no row ends by itself
SAMPLED = SamplingParameters(max_new_tokens=NUM_TOKENS, temperature=0.9, seed=3)
KINDS = {
    "greedy": SamplingParameters(max_new_tokens=NUM_TOKENS),
    "banned": SamplingParameters(max_new_tokens=NUM_TOKENS, no_repeat_ngram_size=2),
    "banned from any repetition": SamplingParameters(
        max_new_tokens=NUM_TOKENS, no_repeat_ngram_size=1
    ),
    "sampled": SAMPLED,
    "sampled and banned": msgspec.structs.replace(
        SAMPLED, no_repeat_ngram_size=1, top_k=40, top_p=0.95
    ),
    "naming tokens": SamplingParameters(max_new_tokens=NUM_TOKENS, named_token_ids=[5, 600]),
}


@dataclass(frozen=True)
class Question:
    """A request; its prompt ends in different tokens than those of others."""

    request: Generate
    pixels: bytes

    def changed(self, **sampling: object) -> "Question":
        """Return the question with other sampling parameters."""
        changed = msgspec.structs.replace(self.request.sampling, **sampling)
        return Question(msgspec.structs.replace(self.request, sampling=changed), self.pixels)

    def continued(self, new_token_ids: list[int]) -> "Question":
        """Return the question as another engine left it."""
        changed = msgspec.structs.replace(self.request, new_token_ids=new_token_ids)
        return Question(changed, self.pixels)


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    """One question of each kind."""
    tokenizer = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
    prompts = [r.prompt for r in random_requests(tokenizer, len(KINDS), num_pictures=3)]
    return [
        Question(Generate(0, key, p.token_ids, p.picture_digest, sampling, math.inf), p.pixels)
        for key, (p, sampling) in enumerate(zip(prompts, KINDS.values(), strict=True))
    ]


@pytest.fixture(scope="module")
def expected(exact: Runner, questions: list[Question]) -> list[list[ChosenToken]]:
    """The answer to each question alone, without drafts."""
    runner = build(exact, no_draft, is_rounded=False)
    return [answer(runner, [question])[0] for question in questions]


@pytest.fixture(scope="module")
def drafts(questions: list[Question], expected: list[list[ChosenToken]]) -> AnswerDrafts:
    drafts = AnswerDrafts(wrong=600)
    learn(drafts, questions, expected)
    return drafts


@pytest.fixture(scope="module", params=["exact", "recorded"])
def runner(request: pytest.FixtureRequest, exact: Runner, drafts: AnswerDrafts) -> Runner:
    """A runner with drafts as on a CPU, and one whose recorded passes are launched early."""
    built = build(exact, drafts, is_rounded=request.param == "recorded")
    if request.param == "recorded":
        built.record_passes(record_operators)
        assert built.num_recorded == built.num_recordable > 0
    return built


def build(exact: Runner, draft_next: object, is_rounded: bool) -> Runner:
    return Runner(
        exact.model,
        NUM_SLOTS,
        2**20,
        lambda _: nullcontext(),
        is_rounded=is_rounded,
        in_background=False,
        max_pictures=4,
        draft_next=draft_next,
    )


def learn(
    drafts: AnswerDrafts, questions: list[Question], answers: list[list[ChosenToken]]
) -> None:
    drafts.learn(
        (question.request.token_ids, ids(chosen))
        for question, chosen in zip(questions, answers, strict=True)
    )


def ids(chosen: Iterable[ChosenToken]) -> list[int]:
    return [choice.token_id for choice in chosen]


def answer(runner: Runner, questions: list[Question]) -> list[list[ChosenToken]]:
    """Return the tokens of questions that run together."""
    sequences = [Sequence(b"test", q.request, q.pixels, arrived_at=0.0) for q in questions]
    for sequence in sequences:
        sequence.slot = runner.slots.allocate()
    answers: dict[Sequence, list[ChosenToken]] = {sequence: [] for sequence in sequences}
    chosen = runner.prefill(sequences)
    while chosen:
        for choice in chosen:
            assert not choice.sequence.is_finished
            assert choice.is_valid
            choice.sequence.append(choice.token_id, lambda token_id: token_id == END)
            answers[choice.sequence].append(choice)
            if choice.sequence.is_finished:
                runner.slots.free(choice.sequence.held_slot)
        running = [sequence for sequence in sequences if not sequence.is_finished]
        runner.launch(running)
        chosen = runner.decode(running)
    return list(answers.values())


def check(answers: list[list[ChosenToken]], expected: list[list[ChosenToken]]) -> None:
    """Compare tokens, log-probabilities, distributions and named tokens."""
    for ours, theirs in zip(answers, expected, strict=True):
        assert ids(ours) == ids(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
            assert probabilities(one) == pytest.approx(probabilities(other), abs=1e-5)
            assert one.named_log_probabilities == pytest.approx(
                other.named_log_probabilities, abs=1e-4
            )


def probabilities(choice: ChosenToken) -> list[float]:
    """Return the sorted probabilities of the best cells; empty for other tokens."""
    if choice.location is None:
        return []
    return sorted(CellDistribution.from_message(choice.location).probabilities.tolist())


def test_answers_with_drafts_equal_those_without_alone_and_in_a_batch(
    runner: Runner, questions: list[Question], expected: list[list[ChosenToken]]
) -> None:
    """Tokens, log-probabilities and distributions; in a batch, only the prefill reads drafts."""
    before = runner.counts
    check([answer(runner, [question])[0] for question in questions], expected)
    check(answer(runner, questions), expected)
    check(answer(runner, questions[::-1]), expected[::-1])  # in slots that others left
    num_accepted = runner.counts.accepted - before.accepted
    assert 10 < num_accepted < runner.counts.drafted - before.drafted - 5


def test_location_tokens_after_accepted_drafts_are_compared(
    runner: Runner, questions: list[Question]
) -> None:
    """Otherwise the test above would not compare their distributions."""
    chosen = [c for question in questions for c in answer(runner, [question])[0]]
    assert any(choice.number and choice.location for choice in chosen)
    assert any(choice.number for choice in chosen if choice.sequence.request.key == 5)


@pytest.mark.parametrize("kind", [0, 4])
def test_an_answer_ends_at_its_limit_of_tokens_wherever_drafts_are(
    runner: Runner, questions: list[Question], expected: list[list[ChosenToken]], kind: int
) -> None:
    """A draft is only read if another token may follow it."""
    for limit in range(1, NUM_TOKENS):
        limited = questions[kind].changed(max_new_tokens=limit)
        check(answer(runner, [limited]), [expected[kind][:limit]])


@pytest.mark.parametrize("kind", [0, 3])
def test_an_answer_ends_at_a_stop_token_wherever_drafts_are(
    runner: Runner, questions: list[Question], expected: list[list[ChosenToken]], kind: int
) -> None:
    """A stop token is no draft, and nothing follows one that is drawn instead of the draft."""
    for stop in ids(expected[kind]):
        length = ids(expected[kind]).index(stop) + 1
        stopped = questions[kind].changed(stop_token_ids=[stop])
        check(answer(runner, [stopped]), [expected[kind][:length]])


def test_a_replay_continues_after_any_number_of_tokens(
    runner: Runner, questions: list[Question], expected: list[list[ChosenToken]]
) -> None:
    """The prompt of a replay ends in tokens of the answer, and its prefill reads a draft too."""
    before = runner.counts
    for number in range(1, NUM_TOKENS):
        replayed = [
            question.continued(ids(chosen)[:number])
            for question, chosen in zip(questions[:5], expected[:5], strict=True)
        ]
        check(answer(runner, replayed), [chosen[number:] for chosen in expected[:5]])
    assert runner.counts.accepted > before.accepted


def test_a_row_fills_its_slot_to_the_last_token(exact: Runner, questions: list[Question]) -> None:
    """The last token of a slot is never a draft, wherever the drafts before it are."""
    room = exact.slots.max_length - len(questions[0].request.token_ids)
    long = [questions[0].changed(max_new_tokens=room)]
    undrafted = answer(build(exact, no_draft, is_rounded=False), long)
    for rights in ((True, None), (None, True), (True,)):
        drafts = AnswerDrafts(600, rights)
        learn(drafts, long, undrafted)
        runner = build(exact, drafts, is_rounded=False)
        check(answer(runner, long), undrafted)
        assert runner.counts.accepted > 10


def test_right_drafts_halve_the_passes(exact: Runner, questions: list[Question]) -> None:
    """Every pass gives two tokens, also the prefill."""
    undrafted = answer(build(exact, no_draft, is_rounded=False), questions[:1])
    drafts = AnswerDrafts(600, [True])
    learn(drafts, questions[:1], undrafted)
    runner = build(exact, drafts, is_rounded=False)
    [chosen] = answer(runner, questions[:1])
    assert [choice.number for choice in chosen] == [0, 1] * (NUM_TOKENS // 2)
    assert runner.counts.accepted == runner.counts.drafted == NUM_TOKENS // 2


def test_keys_and_values_of_a_rejected_draft_are_cleared(
    exact: Runner, questions: list[Question]
) -> None:
    """Its keys and values could be read by the next row of the slot, if they are not finite."""
    drafts = AnswerDrafts(600, [False])
    undrafted = answer(build(exact, no_draft, is_rounded=False), questions[:1])
    learn(drafts, questions[:1], undrafted)
    runner = build(exact, drafts, is_rounded=False)
    check(answer(runner, questions[:1]), undrafted)
    assert runner.counts.drafted > runner.counts.accepted == 0
    # The last token has no keys and values, and no token follows it.
    length = len(questions[0].request.token_ids) + NUM_TOKENS - 1
    for layer in runner.slots.layers:
        assert layer[:, 0, :, :length].abs().amax(dim=(0, 1, 3)).min() > 0
        assert not layer[:, 0, :, length:].any()


def test_a_decode_pass_of_several_rows_reads_no_drafts(
    exact: Runner, questions: list[Question]
) -> None:
    """Otherwise the rounding of an answer would depend on its neighbours more than without."""
    drafts = AnswerDrafts(600, [True])
    undrafted = answer(build(exact, no_draft, is_rounded=False), questions)
    learn(drafts, questions, undrafted)
    runner = build(exact, drafts, is_rounded=False)
    chosen = answer(runner, questions)
    check(chosen, undrafted)
    assert [[choice.number for choice in row[:3]] for row in chosen] == [[0, 1, 0]] * len(chosen)
    assert not any(choice.number for row in chosen for choice in row[2:])
