"""The engine's loop: each step, and requests that expire, are cancelled or are replayed."""

import os

import msgspec
import pytest

from app.checkpoint.picture_size import PICTURE_BYTES
from app.grounding.localization import CellDistribution
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import (
    Cancel,
    Failure,
    Generate,
    NewToken,
    NewTokens,
    SamplingParameters,
    encode,
)
from app.settings import EMBEDDED_CHECKPOINT
from harness.drafts import AnswerDrafts
from harness.engine_rig import (
    EPOCH,
    NUM_SLOTS,
    EngineRig,
)


def test_a_request_gets_one_token_from_each_step(
    rig: EngineRig,
) -> None:
    """Each token is sent before the engine waits for the next pass."""
    rig.submit(7)
    for _ in range(3):
        rig.engine.step()
        (message,) = rig.next_messages(1)
        assert isinstance(message, NewTokens)
        assert [token.key for token in message.tokens] == [7]
        assert all(token.log_probability <= 0 for token in message.tokens)


def test_the_tokens_of_one_pass_are_sent_in_order_in_one_message(rig: EngineRig) -> None:
    """A right draft makes a pass give two tokens; the ninth token of nine has no draft."""
    undisturbed = rig.tokens_of(1)
    drafts = AnswerDrafts(undisturbed[0], [True])
    drafts.learn([(rig.prompt.token_ids, undisturbed)])
    rig.runner.draft_next = drafts
    rig.submit(2, max_new_tokens=9)
    names = ("drafts_total", "drafts_accepted_total", "generation_tokens_total")
    before = [counted(rig, name) for name in names]
    received = []
    for _ in range(5):
        rig.engine.step()
        [message] = rig.next_messages(1)
        assert isinstance(message, NewTokens)
        received.append(message.tokens)
    assert [len(tokens) for tokens in received] == [2, 2, 2, 2, 1]
    tokens = [token for message in received for token in message]
    assert [token.token_id for token in tokens] == undisturbed
    assert [token.finish_reason for token in tokens] == [None] * 8 + ["length"]
    assert rig.scheduler.is_idle
    assert [counted(rig, name) for name in names] == [
        number + more for number, more in zip(before, (4, 4, 9), strict=True)
    ]
    assert counted(rig, "engine_batch_size_sum") == counted(rig, "engine_batch_size_count")


def counted(rig: EngineRig, name: str) -> float:
    """Return the value of a series of the engine."""
    value = rig.registry.get_sample_value(f"kosmos2_{name}")
    assert value is not None
    return value


def test_on_cuda_the_next_pass_is_launched_before_a_token_is_sent(rig: EngineRig) -> None:
    """So the device computes while the host works; on the CPU a pass would delay the tokens."""
    undisturbed = rig.tokens_of(1)
    rig.runner.slots.token_ids.zero_()
    rig.submit(2, max_new_tokens=9)
    for _ in range(2):
        rig.engine.step()
        rig.next_messages(1)
    # Two steps send two tokens; where passes are launched early, the third has been computed too.
    num_computed = 3 if rig.runner.num_recorded else 2
    begin = len(rig.prompt.token_ids)
    computed = rig.runner.slots.token_ids[0, begin : begin + 4].tolist()
    assert computed == [*undisturbed[:num_computed], *[0] * (4 - num_computed)]


def test_a_sequence_that_moves_to_another_slot_keeps_its_answer(rig: EngineRig) -> None:
    """It moves into the slot of one that ended before it."""
    undisturbed, other = rig.tokens_of(1), bytes([9]) * PICTURE_BYTES
    rig.submit(1, max_new_tokens=9, picture=other)
    undisturbed_other = rig.run_until_idle()[0][1]
    assert undisturbed_other != undisturbed
    rig.submit(2, max_new_tokens=4)
    rig.submit(3, max_new_tokens=9, picture=other)
    for _ in range(5):
        rig.engine.step()
    assert [sequence.slot for sequence in rig.scheduler.running] == [0]
    assert rig.run_until_idle() == ({2: undisturbed[:4], 3: undisturbed_other}, [])


def test_a_row_cancelled_during_its_pass_does_not_affect_the_next_row(rig: EngineRig) -> None:
    """The pass still writes into the slot, but the next row overwrites it before reading."""
    undisturbed = rig.tokens_of(1)
    rig.submit(1)
    rig.engine.step()
    rig.engine.step()  # launches another pass
    rig.send(encode(Cancel(EPOCH, 1)))
    rig.next_messages(2)
    rig.submit(2, max_new_tokens=9)
    assert rig.run_until_idle() == ({2: undisturbed}, [])


def test_only_the_last_token_has_a_finish_reason(rig: EngineRig) -> None:
    rig.submit(7, max_new_tokens=3)
    for _ in range(3):
        rig.engine.step()
    tokens = [token for message in rig.next_messages(3) for token in message.tokens]
    assert [token.finish_reason for token in tokens] == [None, None, "length"]
    assert rig.scheduler.slots.num_free == NUM_SLOTS


def test_a_cancelled_request_releases_its_slot_by_the_next_step(rig: EngineRig) -> None:
    """Invariant 5: a cancelled request holds nothing when the next step begins."""
    rig.submit(7)
    rig.engine.step()
    assert rig.scheduler.slots.num_free == NUM_SLOTS - 1
    rig.send(encode(Cancel(EPOCH, 7)))
    assert rig.scheduler.slots.num_free == NUM_SLOTS
    rig.next_messages(1)
    rig.engine.step()
    assert rig.is_silent()


def test_an_expired_request_fails_and_releases_its_slot_by_the_next_step(rig: EngineRig) -> None:
    rig.submit(7, deadline=rig.clock.now + 5)
    rig.engine.step()
    rig.next_messages(1)
    rig.clock.now += 5
    rig.engine.step()
    assert rig.next_messages(1) == [Failure(EPOCH, 7, "deadline")]
    assert rig.scheduler.slots.num_free == NUM_SLOTS


def test_a_full_queue_rejects_a_request_at_once(rig: EngineRig) -> None:
    """The engine has two slots and a queue of one."""
    for key in range(4):
        rig.submit(key)
    assert rig.next_messages(1) == [Failure(EPOCH, 3, "overloaded")]


def test_a_message_of_an_older_epoch_is_dropped(rig: EngineRig) -> None:
    """It was meant for an engine that has ended, and its sender sends requests again itself."""
    rig.submit(7, epoch=EPOCH - 1)
    assert rig.scheduler.is_idle
    assert rig.is_silent()


@pytest.mark.parametrize(
    "frames", [(b"nonsense",), (b"",), (msgspec.msgpack.encode(["generate"]),)]
)
def test_an_invalid_message_is_dropped(rig: EngineRig, frames: tuple[bytes, ...]) -> None:
    rig.send(*frames)
    assert rig.scheduler.is_idle


def test_a_request_without_its_picture_fails_alone(rig: EngineRig) -> None:
    """Invariant 4."""
    rig.submit(6)
    request = Generate(EPOCH, 7, rig.prompt.token_ids, b"", SamplingParameters(), 1e9)
    rig.send(encode(request), b"too short")
    rig.engine.step()
    failed, tokens = rig.next_messages(2)
    assert failed == Failure(EPOCH, 7, "engine_failure")
    assert isinstance(tokens, NewTokens)
    assert {token.key for token in tokens.tokens} == {6}


def test_a_request_longer_than_a_slot_is_rejected(rig: EngineRig) -> None:
    rig.submit(7, max_new_tokens=1000)
    assert rig.next_messages(1) == [Failure(EPOCH, 7, "engine_failure")]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("num_received", [1, 4, 8])
def test_a_replayed_request_continues_after_the_tokens_it_has(
    rig: EngineRig, num_received: int, temperature: float
) -> None:
    """Draws and the n-gram ban depend on all tokens, so the remaining tokens are unchanged."""
    sampling = SamplingParameters(9, no_repeat_ngram_size=2, temperature=temperature, seed=5)
    rig.submit(1, sampling=sampling)
    undisturbed = rig.new_tokens_until_idle()[0][1]
    received = [token.token_id for token in undisturbed[:num_received]]
    rig.submit(2, sampling=sampling, new_token_ids=received, is_replay=True)
    rest = rig.new_tokens_until_idle()[0][2]
    for token, expected in zip(rest, undisturbed[num_received:], strict=True):
        assert (token.token_id, token.finish_reason) == (expected.token_id, expected.finish_reason)
        assert token.log_probability == pytest.approx(expected.log_probability, abs=1e-3)
        assert probabilities(token) == pytest.approx(probabilities(expected), abs=1e-4)


def test_every_location_token_is_sent_with_its_distribution(rig: EngineRig) -> None:
    """Refined boxes and their confidence are computed from it."""
    rig.submit(1, max_new_tokens=40)
    tokens = rig.new_tokens_until_idle()[0][1]
    location_ids = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT).location_token_ids
    is_location = [token.token_id in location_ids for token in tokens]
    assert 0 < sum(is_location) < len(tokens)
    assert [token.location is not None for token in tokens] == is_location


def test_each_phase_of_each_request_is_measured_once(rig: EngineRig) -> None:
    names = [f"request_{phase}_time_seconds_count" for phase in ("queue", "prefill", "decode")]
    rig.submit(1)
    rig.submit(2)
    rig.run_until_idle()
    assert [counted(rig, name) for name in names] == [2, 2, 2]


def probabilities(token: NewToken) -> list[float]:
    """Return the probabilities of the best cells, sorted; empty if the token is not a location."""
    if token.location is None:
        return []
    return sorted(CellDistribution.from_message(token.location).probabilities.tolist())


def test_a_replayed_request_is_accepted_by_a_full_queue(rig: EngineRig) -> None:
    for key in range(4):
        rig.submit(key, is_replay=True)
    assert rig.is_silent()


def test_running_requests_are_published_before_each_step(rig: EngineRig) -> None:
    """If the engine dies in the step, these requests are the suspects."""
    rig.submit(7)
    rig.submit(8)
    rig.engine.step()
    assert rig.state.running == [7, 8]
    rig.run_until_idle()
    rig.clock.now += 1
    rig.submit(9, epoch=EPOCH - 1)
    assert rig.state.running == []


def test_requests_of_an_ended_http_process_are_cancelled(rig: EngineRig) -> None:
    rig.submit(7)
    rig.client.close(linger=0)
    while rig.scheduler.running or rig.scheduler.waiting:
        rig.engine.step()
    assert rig.scheduler.slots.num_free == NUM_SLOTS


def test_a_second_request_with_a_picture_uses_its_cached_prefix(rig: EngineRig) -> None:
    """Its answer equals that of the first request."""
    rig.runner.pictures.clear()
    tokens = {}
    for key in (1, 2):
        rig.submit(key, max_new_tokens=2)
        tokens |= rig.new_tokens_until_idle()[0]
    assert [token.cached_tokens for token in tokens[1]] == [0, 0]
    assert [token.cached_tokens for token in tokens[2]] == [67, 67]
    assert [token.token_id for token in tokens[1]] == [token.token_id for token in tokens[2]]


def test_the_engine_stops_when_its_parent_pipe_closes(rig: EngineRig) -> None:
    """So no engine survives a killed supervisor."""
    # The engine only checks that the pipe is readable, which a closed pipe is too.
    os.write(rig.parent_pipe, b"x")
    assert rig.engine.receive() is False
