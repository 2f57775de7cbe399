"""Several processes train one model."""

import multiprocessing

import pytest
import torch
from torch import nn

from training.team import Team


def test_shares_cover_a_batch_once():
    for size in (1, 2, 3):
        shares = [Team(rank, size).share(16) for rank in range(size)]
        assert [place for share in shares for place in share] == list(range(16))


def average_in_a_team(rank, directory):
    """Write the gradients of process `rank` after the exchange."""
    team = Team(rank, 2)
    team.join(directory / "meeting-point")
    layer, unused = nn.Linear(2, 1, bias=False), nn.Linear(2, 2)
    layer.weight.grad = torch.tensor([[1.0, 10.0]]) * (rank + 1)
    team.average_gradients([*layer.parameters(), *unused.parameters()])
    torch.save(layer.weight.grad, directory / f"{rank}.pt")
    team.leave()


@pytest.mark.processes
def test_gradients_are_averaged(tmp_path):
    """Otherwise the processes' weights would differ."""
    context = multiprocessing.get_context("spawn")
    members = [context.Process(target=average_in_a_team, args=(r, tmp_path)) for r in range(2)]
    for member in members:
        member.start()
    for rank, member in enumerate(members):
        member.join(timeout=60)
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), torch.tensor([[1.5, 15.0]]))


def test_a_single_process_exchanges_nothing():
    team, layer = Team(), nn.Linear(2, 1)
    team.join(None)
    layer.weight.grad = torch.ones(1, 2)
    team.average_gradients(layer.parameters())
    assert torch.equal(layer.weight.grad, torch.ones(1, 2))
    assert team.is_leader
