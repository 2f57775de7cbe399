"""Runs the model for the scheduler: encodes pictures, prefills prompts, decodes running rows.

The runner is independent of queues and clients. Its passes accept sequences that hold a slot and
return the next tokens of each with their log-probabilities.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from app.engine.cells import CellLogits
from app.engine.choices import ChosenToken, chosen_tokens, with_named
from app.engine.cuda_graphs import Buckets, PictureBuckets, Record, RoundedPass
from app.engine.decode import PassShape, TokenStep
from app.engine.drafts import MAX_ROWS, are_worthwhile, count_drafts
from app.engine.grammar import DraftNext
from app.engine.kv_slots import KeyValueShape, KVSlots, PictureCache
from app.engine.phases import PhaseTimer
from app.engine.picture_pass import PicturePass
from app.engine.prefill import PromptPass
from app.engine.prefixes import Prefixes
from app.engine.sampling import RowOptions
from app.engine.sequence import Sequence
from app.model.loading import Kosmos2Model

ATTENTION_MULTIPLE = 16  # tokens; the memory-efficient kernel copies a mask of any other length


class RunnerCounts(NamedTuple):
    """Work of a runner since its start.

    Attributes:
        encoded: pictures.
        drafted: drafts that passes read.
        accepted: those of them that were the next token.
    """

    encoded: int
    drafted: int
    accepted: int


@dataclass(frozen=True)
class _LaunchedPass:
    """A pass that the device computes, with its sequences."""

    sequences: frozenset[Sequence]
    shape: PassShape


class Runner:
    """The model, its slots and the prefixes of recent pictures.

    Args:
        num_slots: number of sequences that run at the same time.
        picture_cache_bytes: size of the cache of picture prefixes.
        phase: encloses each phase, with its name (`vision`, `prefill`, `decode`).
        is_rounded: whether to work as suits a CUDA device: passes have few shapes, which can be
            recorded, and decode passes are launched before their tokens are needed.
        in_background: whether to encode pictures in a thread in parallel with the passes.
        max_pictures: number of pictures that one pass can encode.
        draft_next: returns the draft of a row.
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
        draft_next: DraftNext,
    ) -> None:
        config = model.decoder.config
        heads, width = config.attention_heads, config.embed_dim
        shape = KeyValueShape(config.layers, heads, width // heads)
        self.model = model
        self.device, self.dtype = model.device, model.dtype
        self.slots = KVSlots(shape, num_slots, model.decoder.num_positions, self.dtype, self.device)
        self.draft_next, self._phase, self._is_rounded = draft_next, phase, is_rounded
        self._num_drafted = self._num_accepted = 0
        self._launched: _LaunchedPass | None = None
        self.max_pictures = max_pictures
        self._cells = CellLogits(model.location_token_ids, num_slots, self.device)
        self._step = TokenStep(model, self.slots, self._cells)
        pictures = PicturePass(model, shape, max_pictures)
        if is_rounded:
            buckets = Buckets.up_to(num_slots, self.slots.max_length)
            batches = PictureBuckets.up_to(max_pictures)
            self._run_step = RoundedPass(self._step, buckets.shapes(), buckets.round_up)
            self._run_pictures = RoundedPass(pictures, batches.shapes(), batches.round_up)
        else:
            self._run_step = RoundedPass.exact(self._step)
            self._run_pictures = RoundedPass.exact(pictures)
        length_multiple = ATTENTION_MULTIPLE if is_rounded else 1
        self._prompts = PromptPass(model, self.slots, self._cells, length_multiple)
        self.prefixes = Prefixes(
            pictures, self._run_pictures, self.slots, picture_cache_bytes, phase, in_background
        )

    @property
    def pictures(self) -> PictureCache:
        """Cache of picture prefixes."""
        return self.prefixes.cache

    @property
    def counts(self) -> RunnerCounts:
        """Work since the start."""
        return RunnerCounts(self.prefixes.num_encoded, self._num_drafted, self._num_accepted)

    @property
    def num_recordable(self) -> int:
        """Number of passes of fixed shapes, which a CUDA device can record."""
        return len(self._run_step.shapes) + len(self._run_pictures.shapes)

    @property
    def num_recorded(self) -> int:
        """Number of recorded passes."""
        return self._run_step.num_recorded + self._run_pictures.num_recorded

    def record_passes(self, record: Record) -> None:
        """Record the passes over rows and pictures; call it before the first pass runs.

        If memory runs out, the remaining passes run without recordings.

        Raises:
            StartupError: a pass cannot be recorded.
        """
        if self._run_step.record(record):
            self._run_pictures.record(record)

    @torch.inference_mode()
    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Prefill the slots of new or requeued sequences; choose one or two tokens for each."""
        if not sequences:
            return []
        sequences = sorted(sequences, key=lambda sequence: sequence.held_slot)
        options = [self._options_of(sequence) for sequence in sequences]
        prompts = self._prompts.stage(sequences, options)
        self._count_drafts(prompts.shape, options)
        self.prefixes.copy_into_slots(sequences)
        with self._phase("prefill"):
            # One copy, for which the host waits.
            results, num = self._prompts(prompts).tolist(), 1 + prompts.shape.has_drafts
            tokens, logarithms, named = results[:num], results[num : 2 * num], results[2 * num :]
            chosen = chosen_tokens(sequences, range(len(sequences)), tokens, logarithms)
            return with_named(self._locate(chosen), sequences, named)

    @torch.inference_mode()
    def launch(self, sequences: list[Sequence]) -> None:
        """Launch the pass of the next `decode`, if the device computes while the host continues."""
        if self._is_rounded and sequences:
            self._launched = self._launch(sequences)

    @torch.inference_mode()
    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Choose one or two more tokens for each running sequence of the launched pass.

        If no pass was launched, run one over all sequences. The pass covers the adjacent slots from
        the lowest to the highest in use and reads them in place. It computes the free slots among
        them too and ignores their results.

        Args:
            sequences: running sequences; those that joined after the launch get no token.

        Returns:
            The tokens of a sequence in their order.
        """
        if not (sequences or self._launched):
            return []
        with self._phase("decode"):
            launched = self._launched or self._launch(sequences)
            self._launched = None
            choices = self._step.read(launched.shape)
            running = [sequence for sequence in sequences if sequence in launched.sequences]
            rows = [sequence.held_slot - launched.shape.first_row for sequence in running]
            return self._locate(chosen_tokens(running, rows, *choices))

    @torch.inference_mode()
    def discard(self, sequences: Iterable[Sequence]) -> None:
        """Clear the slots and evict the cached pictures of sequences with invalid logits."""
        # The next sequence in a slot multiplies the values beyond its length by zero, so they must
        # be finite.
        for sequence in sequences:
            self.slots.clear(sequence.held_slot)
            self.pictures.discard(sequence.request.picture_digest)

    def recover(self) -> bool:
        """Release memory after a failed pass; return whether the device can still compute."""
        self.prefixes.clear()
        try:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return bool(torch.ones(1, device=self.device).item() == 1)
        except RuntimeError:
            return False  # after a fault in a CUDA kernel, every further call in this process fails

    def _locate(self, chosen: list[ChosenToken]) -> list[ChosenToken]:
        """Add the distributions over cells to the location tokens of the last pass."""
        self._num_accepted += sum(choice.number for choice in chosen)
        located = [choice for choice in chosen if self._is_location(choice)]
        read = self._cells.read([(c.number, c.sequence.held_slot) for c in located])
        locations = iter(read)
        return [
            replace(choice, location=next(locations)) if self._is_location(choice) else choice
            for choice in chosen
        ]

    def _is_location(self, choice: ChosenToken) -> bool:
        return choice.is_valid and choice.token_id in self.model.location_token_ids

    def _options_of(self, sequence: Sequence) -> RowOptions:
        return sequence.row_options(sequence.draft(self.draft_next, self.model.end_token_ids))

    def _launch(self, sequences: list[Sequence]) -> _LaunchedPass:
        """Stage and start a pass; a CUDA device still computes it when this returns."""
        by_slot = {sequence.held_slot: sequence for sequence in sequences}
        first_row = 0 if self._is_rounded else min(by_slot)
        slots = range(first_row, max(by_slot) + 1)
        # A pass of many rows reads no drafts, so looking them up would be wasted.
        options_of = self._options_of if len(slots) <= MAX_ROWS else Sequence.row_options
        options = [options_of(by_slot[s]) if s in by_slot else RowOptions() for s in slots]
        self._step.stage(first_row, options)
        shape = PassShape.of(first_row, options, has_drafts=are_worthwhile(options))
        self._count_drafts(shape, options)
        self._run_step(shape)
        return _LaunchedPass(frozenset(sequences), shape)

    def _count_drafts(self, shape: PassShape, options: list[RowOptions]) -> None:
        self._num_drafted += count_drafts(options) if shape.has_drafts else 0
