"""Runs the model for the scheduler: pictures, prompts, one more token of every running row.

Nothing here knows of queues or clients. Each method takes sequences that hold a slot and gives the
next token of each with its log-probability.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from app.engine.cuda_graphs import Buckets, RoundedSteps
from app.engine.decode import PassShape, TokenStep
from app.engine.kv_slots import KeyValueShape, KVSlots, PictureCache
from app.engine.phases import PhaseTimer
from app.engine.prefill import PromptPass
from app.engine.prefixes import Prefixes
from app.engine.sampling import RowOptions
from app.engine.sequence import Sequence
from app.model.loading import Kosmos2Model


@dataclass(frozen=True)
class ChosenToken:
    """The next token of a sequence, and the logarithm of its probability."""

    sequence: Sequence
    token_id: int
    log_probability: float


class Runner:
    """The model, the slots it works on, and the prefixes of recent pictures.

    Args:
        model: loaded, on its device.
        num_slots: sequences at once.
        picture_cache_bytes: for prefixes of recent pictures.
        phase: called around each phase with its name (`vision`, `prefill`, `decode`).
        is_rounded: decode in passes of few sizes, which a CUDA device can record.
        in_background: encode pictures in a thread beside the passes.
    """

    def __init__(
        self,
        model: Kosmos2Model,
        num_slots: int,
        picture_cache_bytes: int,
        phase: PhaseTimer,
        is_rounded: bool,
        in_background: bool,
    ) -> None:
        config = model.decoder.config
        heads, width = config.attention_heads, config.embed_dim
        shape = KeyValueShape(config.layers, heads, width // heads)
        self.model = model
        self.device, self.dtype = model.device, model.dtype
        self.slots = KVSlots(shape, num_slots, model.decoder.num_positions, self.dtype, self.device)
        self._phase = phase
        self.prefixes = Prefixes(model, self.slots, picture_cache_bytes, phase, in_background)
        self._run_prompts = PromptPass(model, self.slots)
        self._step = TokenStep(model, self.slots)
        buckets = Buckets.up_to(num_slots, self.slots.max_length)
        self._rounded_steps = RoundedSteps(self._step, buckets) if is_rounded else None

    @property
    def pictures(self) -> PictureCache:
        """The prefixes of recent pictures."""
        return self.prefixes.cache

    def record_passes(self) -> bool:
        """Record the passes that decode, before the first is run; false: it cannot be done."""
        return self._rounded_steps is not None and self._rounded_steps.record()

    @torch.inference_mode()
    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Fill the slots of sequences that begin or go on, and choose the next token of each."""
        if not sequences:
            return []
        sequences = sorted(sequences, key=lambda sequence: sequence.held_slot)
        self.prefixes.copy_into_slots(sequences)
        with self._phase("prefill"):
            chosen = self._run_prompts(sequences)
        return _chosen_tokens(sequences, range(len(sequences)), *chosen)

    @torch.inference_mode()
    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Choose one more token for each of the running sequences.

        The pass covers the slots from the lowest to the highest in use, which lie side by side: it
        reads them in place. Free slots among them are computed too, and nobody looks at it.
        """
        if not sequences:
            return []
        with self._phase("decode"):
            first_row, options = self._rows(sequences)
            size = PassShape.of(first_row, options)
            self._step.stage(first_row, options)
            (self._rounded_steps or self._step)(size)
            chosen = self._step.read(first_row, size.num_rows)
        return _chosen_tokens(sequences, [s.held_slot - first_row for s in sequences], *chosen)

    def recover(self) -> bool:
        """After a pass that failed: give back what memory can be spared; false: all is lost.

        After a fault in a kernel, nothing more can be computed by this process.
        """
        self.prefixes.clear()
        try:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return bool(torch.ones(1, device=self.device).item() == 1)
        except RuntimeError:
            return False

    def _rows(self, sequences: list[Sequence]) -> tuple[int, list[RowOptions]]:
        """The first slot of a step, and what it and those behind it are to do."""
        by_slot = {sequence.held_slot: sequence.row_options for sequence in sequences}
        first_row = 0 if self._rounded_steps else min(by_slot)
        slots = range(first_row, max(by_slot) + 1)
        return first_row, [by_slot.get(slot, RowOptions()) for slot in slots]


def _chosen_tokens(
    sequences: list[Sequence], rows: Iterable[int], tokens: list[float], logarithms: list[float]
) -> list[ChosenToken]:
    return [
        ChosenToken(sequence, int(tokens[row]), logarithms[row])
        for sequence, row in zip(sequences, rows, strict=True)
    ]
