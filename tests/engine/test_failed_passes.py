"""A pass that fails is repeated with fewer requests, until the culprit is rejected alone."""

import hashlib
import math

import pytest
import torch

from app.checkpoint.picture_size import PICTURE_BYTES
from app.ipc.engine_messages import (
    Failure,
)
from harness.engine_rig import (
    EPOCH,
    EngineRig,
)


@pytest.mark.parametrize("num_steps", [0, 1, 2])
def test_non_finite_numbers_fail_only_their_own_row(rig: EngineRig, num_steps: int) -> None:
    """In a picture's prefix or in a slot; the next row in that slot gets the usual answer."""
    undisturbed = rig.tokens_of(1)
    rig.submit(1, max_new_tokens=9)
    rig.submit(2, max_new_tokens=9, picture=bytes([9]) * PICTURE_BYTES)
    for _ in range(num_steps):
        rig.engine.step()
    if num_steps:
        for layer in rig.runner.slots.layers:
            layer[:, 0] = math.nan
    else:
        prefix = rig.runner.pictures.get(hashlib.sha256(rig.prompt.pixels).digest())
        assert prefix is not None
        with torch.inference_mode():
            prefix.fill_(math.nan)
    tokens, failed = rig.run_until_idle()
    assert failed == [Failure(EPOCH, 1, "engine_failure")]
    assert len(tokens[2]) == 9
    assert rig.tokens_of(3) == undisturbed


@pytest.mark.parametrize(("fails_at_launch", "num_tokens"), [(False, 2), (True, 4)])
def test_a_request_that_makes_a_pass_fail_is_rejected_alone(
    rig: EngineRig, fails_at_launch: bool, num_tokens: int
) -> None:
    """Invariant 4: the other requests of the pass get the same tokens as without it."""
    undisturbed = rig.tokens_of(1)
    rig.runner.poisoned_keys = frozenset({2})
    rig.runner.fails_at_launch = fails_at_launch
    for key in (1, 2, 3):
        rig.submit(key, max_new_tokens=9)
    tokens, failed = rig.run_until_idle()
    assert failed == [Failure(EPOCH, 2, "engine_failure")]
    assert tokens.pop(2) == undisturbed[:num_tokens]
    assert tokens == {1: undisturbed, 3: undisturbed}


def test_batches_become_smaller_when_memory_runs_out(rig: EngineRig) -> None:
    """The engine evicts cached pictures first."""
    undisturbed = rig.tokens_of(1)
    rig.runner.max_batch_size = 1
    for key in (1, 2, 3):
        rig.submit(key, max_new_tokens=9)
    assert rig.runner.pictures.num_bytes > 0
    rig.engine.step()
    assert rig.runner.pictures.num_bytes == 0
    assert rig.run_until_idle() == (dict.fromkeys((1, 2, 3), undisturbed), [])


def test_a_request_too_large_for_the_memory_is_rejected(rig: EngineRig) -> None:
    """The engine first retries it alone, with an empty cache."""
    rig.runner.max_batch_size = 0
    rig.submit(7)
    rig.engine.step()
    assert rig.is_silent()
    rig.engine.step()
    assert rig.next_messages(1) == [Failure(EPOCH, 7, "engine_failure")]
    assert rig.scheduler.is_idle
