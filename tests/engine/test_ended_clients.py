"""The end of an HTTP process affects only its own requests."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import zmq

from harness.drafts import wrong_draft
from harness.engine_rig import EngineRig, UnreliableRunner, open_rig
from harness.waiting import eventually

NUM_SLOTS = 4


@pytest.fixture
def rig(runner: UnreliableRunner, tmp_path: Path) -> Iterator[EngineRig]:
    """A rig with more slots than those of other tests."""
    larger = UnreliableRunner(
        runner.model,
        NUM_SLOTS,
        2**28,  # bytes of the picture cache
        lambda _: nullcontext(),
        is_rounded=False,
        in_background=False,
        max_pictures=4,
        draft_next=wrong_draft,
    )
    larger.max_batch_size = NUM_SLOTS
    with open_rig(larger, tmp_path) as opened:
        yield opened


def open_client(rig: EngineRig, folder: Path) -> "zmq.Socket[bytes]":
    """Return the socket of another HTTP process."""
    client = rig.client.context.socket(zmq.DEALER)
    client.connect(f"ipc://{folder}/socket")
    return client


def is_gone(rig: EngineRig, client: bytes) -> bool:
    """Return whether messages to a client cannot be sent any more."""
    try:
        rig.router.send_multipart([client, b""])
    except zmq.ZMQError:
        return True
    return False


def test_others_start_in_the_step_in_which_the_end_is_noticed(
    rig: EngineRig, tmp_path: Path
) -> None:
    """A pass over prompts needs slots without gaps, so none may become free within a step."""
    ended = rig.client
    rig.submit(1)
    rig.engine.step()
    [first] = rig.scheduler.running
    rig.client = open_client(rig, tmp_path)
    rig.submit(2)
    rig.engine.step()
    ended.close(linger=0)
    assert eventually(lambda: is_gone(rig, first.client))
    rig.submit(3)
    rig.submit(4)
    rig.engine.step()
    assert all(sequence.first_token_at for sequence in rig.scheduler.running)
    rig.engine.step()
    assert [sequence.request.key for sequence in rig.scheduler.running] == [2, 3, 4]
    answers, failed = rig.run_until_idle()
    assert (list(answers), failed) == ([2, 3, 4], [])
    assert rig.scheduler.slots.num_free == NUM_SLOTS
    rig.client.close(linger=0)
