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
    """The logits of all cells for the tokens that the last pass chose, up to two per slot.

    Args:
        token_ids: ids of the location tokens, in the order of their cells.
    """

    def __init__(self, token_ids: range, num_slots: int, device: torch.device) -> None:
        self._token_ids = token_ids
        self._logits = torch.zeros(2, num_slots, len(token_ids), device=device)  # (2, S, C)

    @property
    def logits(self) -> Tensor:
        """Logits of the last pass for each slot's first and second token, (2, S, C) float32."""
        return self._logits

    def store(self, slots: slice | Tensor, logits: Tensor) -> None:
        """Copy the cells' part of `logits` into `slots`. A CUDA graph can record this.

        Args:
            slots: R slots.
            logits: (R, T, V) float32, before the ban and any filter.
        """
        cells = logits[..., self._token_ids.start : self._token_ids.stop]  # (R, T, C)
        self._logits[: logits.shape[1], slots] = cells.transpose(0, 1)

    def read(self, tokens: Sequence[tuple[int, int]]) -> list[LocationDistribution]:
        """Return the distributions of some of the chosen tokens; wait for one copy to the host.

        Call it after the tokens of the same pass have been read and before the next pass starts.

        Args:
            tokens: number (0 or 1) and slot of each token.
        """
        if not tokens:
            return []
        num_slots = self._logits.shape[1]
        indices = torch.tensor(
            [number * num_slots + slot for number, slot in tokens], device=self._logits.device
        )  # (N,)
        logits = self._logits.flatten(0, 1).index_select(0, indices)  # (N, C)
        best = logits.topk(min(NUM_BEST, len(self._token_ids)), sorted=False)
        probabilities = (best.values - logits.logsumexp(-1, keepdim=True)).exp()  # (N, K)
        # Float32 represents the number of a cell exactly, so that one copy carries both.
        packed = torch.stack([best.indices.float(), probabilities]).cpu().numpy()  # (2, N, K)
        cells, weights = packed[0].astype("<u2"), packed[1].astype("<f4")
        return [
            LocationDistribution(cells[row].tobytes(), weights[row].tobytes())
            for row in range(len(tokens))
        ]
