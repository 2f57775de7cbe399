"""Encoding of pictures in a background thread: only requests that need a new picture wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from app.checkpoint.picture_size import PICTURE_BYTES
from app.ipc.engine_messages import Cancel, Failure, NewTokens, encode
from harness.engine_rig import (
    EPOCH,
    NUM_SLOTS,
    EngineRig,
    UnreliableRunner,
    build_unreliable_runner,
    open_rig,
)
from harness.waiting import eventually

TIMEOUT_S = 10.0


class Gate:
    """A phase timer that blocks the encoding of pictures, or makes it fail.

    Attributes:
        was_awaited_in_vain: whether the engine waited for a picture instead of running other rows.
    """

    def __init__(self) -> None:
        self.is_open = Event()
        self.fails = self.was_awaited_in_vain = False

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        if phase == "vision":
            self.was_awaited_in_vain |= not self.is_open.wait(TIMEOUT_S)
            if self.fails:
                raise MemoryError("planted")
        yield


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> UnreliableRunner:
    gate.is_open.set()  # for the warm-up
    return build_unreliable_runner(tmp_path_factory.mktemp("runner") / "checkpoint", gate)


@pytest.fixture
def rig(runner: UnreliableRunner, gate: Gate, tmp_path: Path) -> Iterator[EngineRig]:
    runner.prefixes.clear()
    gate.is_open.set()
    gate.fails = False
    with open_rig(runner, tmp_path) as opened:
        yield opened
    # The next test counts pictures, so none may be encoded late.
    gate.is_open.set()
    runner.prefixes.wait()
    assert not gate.was_awaited_in_vain


def picture(number: int) -> bytes:
    return bytes([number]) * PICTURE_BYTES


def start_encoding(rig: EngineRig, gate: Gate) -> None:
    """Start a row that decodes, and one whose picture is encoded while the gate is closed."""
    rig.submit(1, picture=picture(1), max_new_tokens=40)
    rig.engine.step()
    rig.next_messages(1)
    gate.is_open.clear()
    rig.submit(2, picture=picture(2))
    rig.engine.step()


def keys_with_tokens(rig: EngineRig, count: int) -> set[int]:
    """Return the keys of the requests that get tokens in the next messages."""
    messages = rig.next_messages(count)
    tokens = (message.tokens for message in messages if isinstance(message, NewTokens))
    return {token.key for tokens_of_step in tokens for token in tokens_of_step}


def finish_encoding(rig: EngineRig, gate: Gate) -> None:
    """Open the gate and wait for the thread."""
    gate.is_open.set()
    rig.runner.prefixes.wait()


def test_running_rows_continue_while_a_picture_is_encoded(rig: EngineRig, gate: Gate) -> None:
    start_encoding(rig, gate)
    rig.engine.step()
    assert keys_with_tokens(rig, 2) == {1}
    gate.is_open.set()
    tokens, failed = rig.run_until_idle()
    assert failed == []
    assert len(tokens[2]) == 50


def test_the_background_thread_does_not_change_answers(rig: EngineRig, gate: Gate) -> None:
    """The same answer in a batch and alone, encoded by the thread and by the pass that needs it."""
    start_encoding(rig, gate)
    gate.is_open.set()
    in_background, _ = rig.run_until_idle()
    rig.runner.prefixes.clear()
    rig.submit(2, picture=picture(2))
    alone, _ = rig.run_until_idle()
    assert in_background[2] == alone[2]


def test_a_request_with_a_new_picture_waits_for_the_batch_in_progress(
    rig: EngineRig, gate: Gate
) -> None:
    """Pictures that arrive during a batch form the next batch."""
    start_encoding(rig, gate)
    rig.send(encode(Cancel(EPOCH, 2)))  # releases a slot; the batch continues
    rig.submit(3, picture=picture(3))
    rig.engine.step()
    assert [s.request.key for s in rig.scheduler.waiting] == [3]
    finish_encoding(rig, gate)
    tokens, _ = rig.run_until_idle()
    assert {1, 3} <= tokens.keys()


def test_a_request_with_a_cached_picture_starts_while_another_is_encoded(
    rig: EngineRig, gate: Gate
) -> None:
    start_encoding(rig, gate)
    rig.send(encode(Cancel(EPOCH, 2)))  # releases a slot; the batch continues
    rig.submit(3, picture=picture(1))
    rig.engine.step()
    assert rig.runner.prefixes.is_busy
    assert keys_with_tokens(rig, 3) == {1, 3}


def test_a_row_that_starts_as_its_picture_is_ready_does_not_encode_it_again(
    rig: EngineRig, gate: Gate
) -> None:
    """The prefix is cached only when the step copies it into a slot, after rows have started."""
    prefixes = rig.runner.prefixes
    num_encoded = prefixes.num_encoded + 2  # the pictures of both rows
    start_encoding(rig, gate)
    rig.send(encode(Cancel(EPOCH, 1)))
    rig.submit(3, picture=picture(2))
    gate.is_open.set()
    assert eventually(lambda: prefixes.num_encoded == num_encoded)
    tokens, failed = rig.run_until_idle()
    assert (tokens[2], failed) == (tokens[3], [])
    assert prefixes.num_encoded == num_encoded


def test_a_request_cancelled_during_encoding_holds_nothing(rig: EngineRig, gate: Gate) -> None:
    start_encoding(rig, gate)
    rig.send(encode(Cancel(EPOCH, 2)))
    # The cancelled request had no slot yet; the other one still holds its slot.
    assert rig.scheduler.slots.num_free == NUM_SLOTS - 1
    finish_encoding(rig, gate)
    tokens, failed = rig.run_until_idle()
    assert tokens.keys() == {1}
    assert failed == []
    assert not rig.runner.prefixes.is_busy


@pytest.mark.slow
def test_requests_whose_pictures_cannot_be_encoded_are_retried_and_then_rejected(
    rig: EngineRig, gate: Gate
) -> None:
    """The same handling as for any other failed pass."""
    gate.fails = True
    rig.submit(1, picture=picture(1))
    rig.submit(2, picture=picture(2))
    tokens, failed = rig.run_until_idle()
    assert failed == [Failure(EPOCH, 1, "engine_failure"), Failure(EPOCH, 2, "engine_failure")]
    assert tokens == {}


def test_a_failure_of_encoding_that_does_not_repeat_fails_no_request(
    rig: EngineRig, gate: Gate
) -> None:
    start_encoding(rig, gate)
    gate.fails = True
    finish_encoding(rig, gate)
    gate.fails = False
    tokens, failed = rig.run_until_idle()
    assert failed == []
    assert {1, 2} <= tokens.keys()


def test_tokens_report_whether_the_picture_was_cached(rig: EngineRig, gate: Gate) -> None:
    start_encoding(rig, gate)
    gate.is_open.set()
    new_tokens, _ = rig.new_tokens_until_idle()
    assert new_tokens[2][0].cached_tokens == 0
    assert new_tokens[2][0].vision_s > 0
    rig.submit(3, picture=picture(2))
    new_tokens, _ = rig.new_tokens_until_idle()
    assert new_tokens[3][0].cached_tokens > 0
    assert new_tokens[3][0].vision_s == 0
