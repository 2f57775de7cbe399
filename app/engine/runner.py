"""Runs the model for the scheduler: encodes pictures, prefills prompts, decodes running rows.

The runner is independent of queues and clients. Its passes accept sequences that hold a slot and
return the next token of each with its log-probability.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from app.engine.cells import CellLogits
from app.engine.cuda_graphs import Buckets, PictureBuckets, Record, RoundedPass
from app.engine.decode import PassShape, TokenStep
from app.engine.kv_slots import KeyValueShape, KVSlots, PictureCache
from app.engine.phases import PhaseTimer
from app.engine.picture_pass import PicturePass
from app.engine.prefill import PromptPass
from app.engine.prefixes import Prefixes
from app.engine.sampling import RowOptions
from app.engine.sequence import Sequence
from app.ipc.engine_messages import LocationDistribution
from app.model.loading import Kosmos2Model

ATTENTION_MULTIPLE = 16  # tokens; the memory-efficient kernel copies a mask of any other length


@dataclass(frozen=True)
class ChosenToken:
    """The next token of a sequence.

    Attributes:
        log_probability: its log-probability.
        location: distribution over cells if it is a location token, otherwise `None`.
        named_log_probabilities: of the tokens that the request names, with its first token.
    """

    sequence: Sequence
    token_id: int
    log_probability: float
    location: LocationDistribution | None = None
    named_log_probabilities: tuple[float, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the logits were finite; otherwise the token is meaningless."""
        return math.isfinite(self.log_probability)


@dataclass(frozen=True)
class _LaunchedPass:
    """A pass that the device computes: its sequences, in rows from `first_row` on."""

    sequences: frozenset[Sequence]
    first_row: int
    num_rows: int


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
        """Prefill the slots of new or requeued sequences, and choose the next token of each."""
        if not sequences:
            return []
        sequences = sorted(sequences, key=lambda sequence: sequence.held_slot)
        prompts = self._prompts.stage(sequences)
        self.prefixes.copy_into_slots(sequences)
        with self._phase("prefill"):
            # One copy, for which the host waits.
            tokens, logarithms, *named = self._prompts(prompts).tolist()
            chosen = _chosen_tokens(sequences, range(len(sequences)), tokens, logarithms)
            return _with_named(self._locate(chosen), named)

    @torch.inference_mode()
    def launch(self, sequences: list[Sequence]) -> None:
        """Launch the pass of the next `decode`, if the device computes while the host continues."""
        if self._is_rounded and sequences:
            self._launched = self._launch(sequences)

    @torch.inference_mode()
    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Choose one more token for each running sequence of the launched pass.

        If no pass was launched, run one over all sequences. The pass covers the adjacent slots from
        the lowest to the highest in use and reads them in place. It computes the free slots among
        them too and ignores their results.

        Args:
            sequences: running sequences; those that joined after the launch get no token.
        """
        if not (sequences or self._launched):
            return []
        with self._phase("decode"):
            launched = self._launched or self._launch(sequences)
            self._launched = None
            choices = self._step.read(launched.first_row, launched.num_rows)
            running = [sequence for sequence in sequences if sequence in launched.sequences]
            rows = [sequence.held_slot - launched.first_row for sequence in running]
            return self._locate(_chosen_tokens(running, rows, *choices))

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
        token_ids = self.model.location_token_ids
        located = [c.sequence for c in chosen if c.is_valid and c.token_id in token_ids]
        if not located:
            return chosen
        read = self._cells.read([sequence.held_slot for sequence in located])
        locations = dict(zip(located, read, strict=True))
        return [
            replace(choice, location=locations[choice.sequence])
            if choice.sequence in locations
            else choice
            for choice in chosen
        ]

    def _launch(self, sequences: list[Sequence]) -> _LaunchedPass:
        """Stage and start a pass; a CUDA device still computes it when this returns."""
        by_slot = {sequence.held_slot: sequence.row_options for sequence in sequences}
        first_row = 0 if self._is_rounded else min(by_slot)
        slots = range(first_row, max(by_slot) + 1)
        options = [by_slot.get(slot, RowOptions()) for slot in slots]
        self._step.stage(first_row, options)
        self._run_step(PassShape.of(first_row, options))
        return _LaunchedPass(frozenset(sequences), first_row, len(options))


def _chosen_tokens(
    sequences: list[Sequence], rows: Iterable[int], tokens: list[float], logarithms: list[float]
) -> list[ChosenToken]:
    return [
        ChosenToken(sequence, int(tokens[row]), logarithms[row])
        for sequence, row in zip(sequences, rows, strict=True)
    ]


def _with_named(chosen: list[ChosenToken], named: list[list[float]]) -> list[ChosenToken]:
    """Add the log-probabilities of named tokens.

    Args:
        named: one list per named token, with one entry per choice.
    """
    if not named:
        return chosen
    return [
        replace(choice, named_log_probabilities=values[: len(choice.sequence.named_token_ids)])
        for choice, values in zip(chosen, zip(*named, strict=True), strict=True)
    ]
