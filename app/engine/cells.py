"""Keeps the logits of the location tokens, and reads the most probable cells of chosen ones.

A location token names one of 1024 cells. Its neighbours' probabilities state where between the
cells the corner lies (docs/adr/0033-refined-boxes-and-confidence.md).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from app.ipc.engine_messages import LocationDistribution

NUM_BEST = 32
"""Cells of a distribution that are sent; the others count as improbable."""


class CellLogits:
    """The logits of all cells for the last token of every slot.

    Args:
        token_ids: ids of the location tokens, in the order of their cells.
    """

    def __init__(self, token_ids: range, num_slots: int, device: torch.device) -> None:
        self._token_ids = token_ids
        self._logits = torch.zeros(num_slots, len(token_ids), device=device)  # (S, C)

    @property
    def logits(self) -> Tensor:
        """Logits of the last pass, (S, C) float32."""
        return self._logits

    def store(self, slots: slice | Tensor, logits: Tensor) -> None:
        """Copy the cells' part of `logits` into `slots`. A CUDA graph can record this.

        Args:
            slots: R slots.
            logits: (R, V) float32, before the ban and any filter.
        """
        self._logits[slots] = logits[:, self._token_ids.start : self._token_ids.stop]

    def read(self, slots: Sequence[int]) -> list[LocationDistribution]:
        """Return the distribution of each slot; wait for one copy to the host.

        Call it after the tokens of the same pass have been read and before the next pass starts.
        """
        if not slots:
            return []
        indices = torch.tensor(slots, device=self._logits.device)  # (N,)
        logits = self._logits.index_select(0, indices)  # (N, C)
        best = logits.topk(min(NUM_BEST, len(self._token_ids)), sorted=False)
        probabilities = (best.values - logits.logsumexp(-1, keepdim=True)).exp()  # (N, K)
        # Float32 represents the number of a cell exactly, so that one copy carries both.
        packed = torch.stack([best.indices.float(), probabilities]).cpu().numpy()  # (2, N, K)
        cells, weights = packed[0].astype("<u2"), packed[1].astype("<f4")
        return [
            LocationDistribution(cells[row].tobytes(), weights[row].tobytes())
            for row in range(len(slots))
        ]
