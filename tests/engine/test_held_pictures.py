"""A held picture crosses to the engine once and is encoded once, even without a cache."""

import hashlib
from collections.abc import Iterator

import pytest

from app.checkpoint.picture_size import PICTURE_BYTES
from app.ipc.engine_messages import (
    Failure,
    Generate,
    HoldPicture,
    ReleasePicture,
    SamplingParameters,
    encode,
)
from harness.engine_rig import EPOCH, EngineRig

PICTURES = [bytes([grey]) * PICTURE_BYTES for grey in range(3)]
HOLD = 500


def hold(rig: EngineRig, number: int, deadline: float = 1e9) -> None:
    digest = hashlib.sha256(PICTURES[number]).digest()
    rig.send(encode(HoldPicture(EPOCH, HOLD + number, digest, deadline)), PICTURES[number])


def ask_about(rig: EngineRig, key: int, number: int) -> None:
    """Send a row about a held picture, without its bytes."""
    digest = hashlib.sha256(PICTURES[number]).digest()
    sampling = SamplingParameters(max_new_tokens=2)
    rig.send(
        encode(
            Generate(
                EPOCH,
                key,
                rig.prompt.token_ids,
                digest,
                sampling,
                1e9,
                held_picture=HOLD + number,
                group=HOLD,
            )
        )
    )


@pytest.fixture
def without_cache(rig: EngineRig) -> Iterator[EngineRig]:
    """A rig whose cache is too small for any picture."""
    rig.runner.pictures.clear()
    max_bytes, rig.runner.pictures.max_bytes = rig.runner.pictures.max_bytes, 0
    yield rig
    rig.runner.pictures.max_bytes = max_bytes


def test_all_rows_of_a_held_picture_share_one_pass(without_cache: EngineRig) -> None:
    """Rows arrive after the picture of an earlier row has left a cache that holds none."""
    rig = without_cache
    hold(rig, 0)
    for key in range(1, 7):
        ask_about(rig, key, 0)
    tokens, failed = rig.new_tokens_until_idle()
    assert failed == []
    cached = [tokens[key][0].cached_tokens for key in range(1, 7)]
    first_batch = rig.scheduler.slots.num_slots
    assert all(cached[first_batch:])
    assert sum(count == 0 for count in cached) <= first_batch
    rig.send(encode(ReleasePicture(EPOCH, HOLD)))
    assert rig.runner.pictures.num_bytes == 0


def test_a_row_about_a_held_picture_has_the_tokens_of_a_row_that_brings_it(rig: EngineRig) -> None:
    rig.submit(1, max_new_tokens=2, picture=PICTURES[1])
    hold(rig, 1)
    ask_about(rig, 2, 1)
    answers, failed = rig.run_until_idle()
    assert (answers[2], failed) == (answers[1], [])
    rig.send(encode(ReleasePicture(EPOCH, HOLD + 1)))


def test_rows_that_arrived_survive_the_release(without_cache: EngineRig) -> None:
    rig = without_cache
    hold(rig, 0)
    ask_about(rig, 1, 0)
    rig.send(encode(ReleasePicture(EPOCH, HOLD)))
    answers, failed = rig.run_until_idle()
    assert (len(answers[1]), failed) == (2, [])


def test_a_row_about_a_picture_that_is_not_held_fails(rig: EngineRig) -> None:
    ask_about(rig, 1, 2)
    assert rig.run_until_idle() == ({}, [Failure(EPOCH, 1, "engine_failure")])


def test_the_holds_of_an_ended_http_process_end(without_cache: EngineRig) -> None:
    """It cannot release them any more."""
    rig = without_cache
    hold(rig, 0)
    ask_about(rig, 1, 0)
    rig.client.close(linger=0)
    while not rig.scheduler.is_idle:
        rig.engine.step()
    assert rig.runner.pictures.num_bytes == 0


def test_a_hold_ends_at_its_deadline(without_cache: EngineRig) -> None:
    """Its HTTP process may have died without releasing it."""
    rig = without_cache
    hold(rig, 0, deadline=rig.clock.now + 5)
    ask_about(rig, 1, 0)
    rig.run_until_idle()
    assert rig.runner.pictures.num_bytes > 0
    rig.clock.now += 6
    rig.submit(2, max_new_tokens=1, picture=PICTURES[1])
    rig.run_until_idle()
    assert rig.runner.pictures.num_bytes == 0
    ask_about(rig, 3, 0)
    assert rig.run_until_idle()[1] == [Failure(EPOCH, 3, "engine_failure")]
