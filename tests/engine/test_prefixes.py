"""Pictures encoded in a thread beside the passes: nobody waits for them who need not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from app.ipc.engine_messages import PICTURE_BYTES, Cancel, Failure, NewTokens, encode
from harness.engine_rig import (
    EPOCH,
    NUM_SLOTS,
    EngineRig,
    UnreliableRunner,
    build_unreliable_runner,
    open_rig,
)

TIMEOUT_S = 30.0


class Gate:
    """A timer of phases that holds up the encoding of pictures, or has it fail."""

    def __init__(self) -> None:
        self.is_open = Event()
        self.fails = False

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        if phase == "vision":
            assert self.is_open.wait(TIMEOUT_S)
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
    gate.is_open.set()


def picture(number: int) -> bytes:
    return bytes([number]) * PICTURE_BYTES


def start_beside(rig: EngineRig, gate: Gate) -> None:
    """A row that runs, and one whose picture is being encoded for as long as the gate is shut."""
    rig.ask(1, picture=picture(1), max_new_tokens=40)
    rig.engine.step()
    rig.answers(1)
    gate.is_open.clear()
    rig.ask(2, picture=picture(2))
    rig.engine.step()


def keys_told(rig: EngineRig, count: int) -> set[int]:
    """Whose tokens the next messages hold."""
    messages = rig.answers(count)
    return {token.key for each in messages if isinstance(each, NewTokens) for token in each.tokens}


def finish_encoding(rig: EngineRig, gate: Gate) -> None:
    """Let the thread go on, and wait for it."""
    gate.is_open.set()
    rig.runner.prefixes.wait()


def test_running_rows_go_on_while_a_picture_is_encoded(rig: EngineRig, gate: Gate) -> None:
    start_beside(rig, gate)
    rig.engine.step()
    assert keys_told(rig, 2) == {1}
    gate.is_open.set()
    tokens, failed = rig.run_until_idle()
    assert failed == []
    assert len(tokens[2]) == 50


def test_the_answer_is_the_one_without_a_thread(rig: EngineRig, gate: Gate) -> None:
    """With another row beside it or alone, encoded in the thread or by the pass that needs it."""
    start_beside(rig, gate)
    gate.is_open.set()
    beside, _ = rig.run_until_idle()
    rig.runner.prefixes.clear()
    rig.ask(2, picture=picture(2))
    alone, _ = rig.run_until_idle()
    assert beside[2] == alone[2]


def test_who_has_a_new_picture_waits_for_those_that_are_being_encoded(
    rig: EngineRig, gate: Gate
) -> None:
    """One batch at a time: what comes meanwhile makes the next one."""
    start_beside(rig, gate)
    rig.send(encode(Cancel(EPOCH, 1)))
    rig.ask(3, picture=picture(3))
    finish_encoding(rig, gate)
    assert [s.request.key for s in rig.scheduler.waiting] == [3]
    tokens, _ = rig.run_until_idle()
    assert {2, 3} <= tokens.keys()


def test_who_leaves_while_his_picture_is_encoded_leaves_nothing(rig: EngineRig, gate: Gate) -> None:
    start_beside(rig, gate)
    rig.send(encode(Cancel(EPOCH, 2)))
    assert rig.scheduler.slots.num_free == NUM_SLOTS - 1
    finish_encoding(rig, gate)
    tokens, failed = rig.run_until_idle()
    assert tokens.keys() == {1}
    assert failed == []
    assert not rig.runner.prefixes.is_busy


def test_pictures_that_cannot_be_encoded_are_tried_again_and_then_refused(
    rig: EngineRig, gate: Gate
) -> None:
    """As when any other pass fails."""
    gate.fails = True
    rig.ask(1, picture=picture(1))
    rig.ask(2, picture=picture(2))
    tokens, failed = rig.run_until_idle()
    assert failed == [Failure(EPOCH, 1, "engine_failure"), Failure(EPOCH, 2, "engine_failure")]
    assert tokens == {}


def test_a_failure_that_does_not_come_again_is_not_noticed(rig: EngineRig, gate: Gate) -> None:
    start_beside(rig, gate)
    gate.fails = True
    finish_encoding(rig, gate)
    gate.fails = False
    tokens, failed = rig.run_until_idle()
    assert failed == []
    assert {1, 2} <= tokens.keys()


def test_what_is_told_of_a_picture_is_whether_it_was_at_hand(rig: EngineRig, gate: Gate) -> None:
    start_beside(rig, gate)
    gate.is_open.set()
    told, _ = rig.new_tokens_until_idle()
    assert told[2][0].cached_tokens == 0
    assert told[2][0].vision_s > 0
    rig.ask(3, picture=picture(2))
    told, _ = rig.new_tokens_until_idle()
    assert told[3][0].cached_tokens > 0
    assert told[3][0].vision_s == 0
