"""Processes that train one model together; each computes its share of every batch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed
from torch.nn import Parameter


@dataclass(frozen=True)
class Team:
    """The rank of this process among `size`; a single process by default."""

    rank: int = 0
    size: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process writes the state and the log."""
        return self.rank == 0

    def join(self, meeting_point: Path) -> None:
        """Wait for the other processes; all must name the same file, which must not exist yet."""
        if self.size > 1:
            distributed.init_process_group(
                "gloo",
                init_method=f"file://{meeting_point.resolve()}",
                rank=self.rank,
                world_size=self.size,
            )

    def leave(self) -> None:
        """Leave the process group after training."""
        if self.size > 1:
            distributed.destroy_process_group()

    def share(self, batch_size: int) -> range:
        """Return the positions of a batch that this process computes.

        >>> list(Team(rank=1, size=2).share(6))
        [3, 4, 5]
        """
        return range(self.rank * batch_size // self.size, (self.rank + 1) * batch_size // self.size)

    def average_gradients(self, parameters: Iterable[Parameter]) -> None:
        """Replace every gradient by the mean over the processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        # One reduction of everything is faster than one for each tensor.
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.size
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, mean in zip(gradients, torch.split(together, sizes), strict=True):
            gradient.copy_(mean.view_as(gradient))
