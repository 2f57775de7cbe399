"""Runs the model for the scheduler: pictures, prompts, one more token of every running row.

Nothing here knows of queues or clients. Each method takes sequences that hold a slot and gives the
next token of each with its log-probability.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from app.engine.cuda_graphs import Buckets, PictureBuckets, Record, RoundedPass
from app.engine.decode import PassShape, TokenStep
from app.engine.kv_slots import KeyValueShape, KVSlots, PictureCache
from app.engine.phases import PhaseTimer
from app.engine.picture_pass import PicturePass
from app.engine.prefill import PromptPass
from app.engine.prefixes import Prefixes
from app.engine.sampling import RowOptions
from app.engine.sequence import Sequence
from app.model.loading import Kosmos2Model

ATTENTION_MULTIPLE = 16  # places: the memory-efficient kernel pads any other mask, by a copy


@dataclass(frozen=True)
class ChosenToken:
    """The next token of a sequence, and the logarithm of its probability."""

    sequence: Sequence
    token_id: int
    log_probability: float

    @property
    def is_valid(self) -> bool:
        """Whether the logits were finite: if not, the token means nothing."""
        return math.isfinite(self.log_probability)


@dataclass(frozen=True)
class _Launched:
    """A pass that the device computes: its sequences, in rows from `first_row` on."""

    sequences: frozenset[Sequence]
    first_row: int
    num_rows: int


class Runner:
    """The model, the slots it works on, and the prefixes of recent pictures.

    Args:
        model: loaded, on its device.
        num_slots: sequences at once.
        picture_cache_bytes: for prefixes of recent pictures.
        phase: called around each phase with its name (`vision`, `prefill`, `decode`).
        is_rounded: work as a CUDA device wants it: passes of few shapes, which can be recorded, and
            decode passes that are launched before their tokens are wanted.
        in_background: encode pictures in a thread beside the passes.
        max_pictures: of one pass over pictures.
    """

    def __init__(
        self,
        model: Kosmos2Model,
        num_slots: int,
        picture_cache_bytes: int,
        phase: PhaseTimer,
        is_rounded: bool,
        in_background: bool,
        max_pictures: int,
    ) -> None:
        config = model.decoder.config
        heads, width = config.attention_heads, config.embed_dim
        shape = KeyValueShape(config.layers, heads, width // heads)
        self.model = model
        self.device, self.dtype = model.device, model.dtype
        self.slots = KVSlots(shape, num_slots, model.decoder.num_positions, self.dtype, self.device)
        self._phase, self._is_rounded = phase, is_rounded
        self._launched: _Launched | None = None
        self.max_pictures = max_pictures
        self._step = TokenStep(model, self.slots)
        pictures = PicturePass(model, shape, max_pictures)
        if is_rounded:
            buckets = Buckets.up_to(num_slots, self.slots.max_length)
            batches = PictureBuckets.up_to(max_pictures)
            self._run_step = RoundedPass(self._step, buckets.shapes(), buckets.round_up)
            self._run_pictures = RoundedPass(pictures, batches.shapes(), batches.round_up)
        else:
            self._run_step = RoundedPass.exact(self._step)
            self._run_pictures = RoundedPass.exact(pictures)
        self._prompts = PromptPass(model, self.slots, ATTENTION_MULTIPLE if is_rounded else 1)
        self.prefixes = Prefixes(
            pictures, self._run_pictures, self.slots, picture_cache_bytes, phase, in_background
        )

    @property
    def pictures(self) -> PictureCache:
        """The prefixes of recent pictures."""
        return self.prefixes.cache

    @property
    def num_recordable(self) -> int:
        """Passes of fixed shapes, which a CUDA device can record."""
        return len(self._run_step.shapes) + len(self._run_pictures.shapes)

    @property
    def num_recorded(self) -> int:
        """Passes that are recorded."""
        return self._run_step.num_recorded + self._run_pictures.num_recorded

    def record_passes(self, record: Record) -> None:
        """Record the passes over rows and over pictures, before the first is run.

        Where memory runs out the others run without recordings.

        Raises:
            StartupError: a pass cannot be recorded.
        """
        if self._run_step.record(record):
            self._run_pictures.record(record)

    @torch.inference_mode()
    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Fill the slots of sequences that begin or go on, and choose the next token of each."""
        if not sequences:
            return []
        sequences = sorted(sequences, key=lambda sequence: sequence.held_slot)
        prompts = self._prompts.stage(sequences)
        self.prefixes.copy_into_slots(sequences)
        with self._phase("prefill"):
            tokens, logarithms = self._prompts(prompts).tolist()  # one copy, which waits
        return _chosen_tokens(sequences, range(len(sequences)), tokens, logarithms)

    @torch.inference_mode()
    def launch(self, sequences: list[Sequence]) -> None:
        """Begin the pass of `decode` early, on a device that computes while the host goes on."""
        if self._is_rounded and sequences:
            self._launched = self._launch(sequences)

    @torch.inference_mode()
    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Choose one more token for each running sequence of the pass launched, or else of all.

        The pass covers the slots from the lowest to the highest in use, which lie side by side: it
        reads them in place. Free slots among them are computed too, and not looked at.

        Args:
            sequences: that run; those that have left since the launch are passed over.
        """
        if not (sequences or self._launched):
            return []
        with self._phase("decode"):
            launched = self._launched or self._launch(sequences)
            self._launched = None
            chosen = self._step.read(launched.first_row, launched.num_rows)
        rows = [sequence for sequence in sequences if sequence in launched.sequences]
        return _chosen_tokens(rows, [s.held_slot - launched.first_row for s in rows], *chosen)

    @torch.inference_mode()
    def discard(self, sequences: Iterable[Sequence]) -> None:
        """Clear what sequences with invalid logits leave: their slots and their pictures' prefixes.

        A slot keeps finite numbers only: those beyond a sequence's length are multiplied by zero.
        """
        for sequence in sequences:
            self.slots.clear(sequence.held_slot)
            self.pictures.discard(sequence.request.picture_digest)

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

    def _launch(self, sequences: list[Sequence]) -> _Launched:
        """Stage and run a pass; on a CUDA device it runs on while this returns."""
        by_slot = {sequence.held_slot: sequence.row_options for sequence in sequences}
        first_row = 0 if self._is_rounded else min(by_slot)
        slots = range(first_row, max(by_slot) + 1)
        options = [by_slot.get(slot, RowOptions()) for slot in slots]
        self._step.stage(first_row, options)
        self._run_step(PassShape.of(first_row, options))
        return _Launched(frozenset(sequences), first_row, len(options))


def _chosen_tokens(
    sequences: list[Sequence], rows: Iterable[int], tokens: list[float], logarithms: list[float]
) -> list[ChosenToken]:
    return [
        ChosenToken(sequence, int(tokens[row]), logarithms[row])
        for sequence, row in zip(sequences, rows, strict=True)
    ]
