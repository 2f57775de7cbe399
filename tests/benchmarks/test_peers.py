"""The peers give correct answers; otherwise a comparison with them would be meaningless."""

import asyncio
from pathlib import Path

import pytest
import torch
from torch import nn

from app.bench.client import load_client
from app.bench.loops import Bounds, closed_loop
from app.bench.results import Sample
from app.bench.workload import embedded_scenes, mixed_workload
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.contestants import Contestant, litserve, one_at_a_time, ray_serve, running
from benchmarks.peers.generation import Generation
from benchmarks.timed_generation import Kind, load_generation
from benchmarks.workloads import expected_markups, share_right

WORKLOAD = mixed_workload(embedded_scenes(), count=12, seed=0)


@pytest.fixture(scope="module")
def expected() -> list[str]:
    return expected_markups(EMBEDDED_CHECKPOINT, WORKLOAD)


@pytest.mark.slow
def test_a_padded_batch_gives_the_answers_of_each_request_alone(expected: list[str]) -> None:
    """By default, `transformers` 5 gives wrong answers for most padded rows."""
    generation = Generation(EMBEDDED_CHECKPOINT, threads=1)
    batch = [generation.encode(request.picture, request.fields) for request in WORKLOAD]
    assert len({inputs["input_ids"].shape[1] for inputs in batch}) > 2
    assert [answer["markup"] for answer in generation.answer_all(batch)] == expected


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("int8", torch.float32)],
)
def test_a_kind_decides_the_weights(kind: Kind, dtype: torch.dtype) -> None:
    """A peer whose answers were all computed in float32 would look exact in every kind."""
    model = load_generation(EMBEDDED_CHECKPOINT, kind, threads=1).model
    assert model.dtype is dtype
    has_plain_layers = any(type(module) is nn.Linear for module in model.modules())
    assert has_plain_layers == (kind != "int8")


@pytest.mark.large
@pytest.mark.parametrize(
    "peer", [one_at_a_time(), litserve(), ray_serve()], ids=lambda peer: peer.name
)
def test_a_peer_under_concurrent_requests_gives_correct_answers(
    peer: Contestant, expected: list[str]
) -> None:
    """The load is that of `benchmarks.closed_loop`."""
    if not peer.is_installed:
        pytest.skip(f"{peer.needs} is not installed: pip install -e '.[bench]'")

    async def ask(url: str) -> list[Sample]:
        bounds = Bounds(num_requests=len(WORKLOAD))
        async with load_client(url) as client:
            return await closed_loop(client.send, WORKLOAD, len(WORKLOAD), bounds)

    with running(peer, Path(EMBEDDED_CHECKPOINT)) as url:
        samples = asyncio.run(ask(url))
    assert all(sample.is_good for sample in samples)
    assert share_right(samples, expected) == 1.0
