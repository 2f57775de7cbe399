"""Schedules sequences: queues them, starts them in turn, and removes them.

Interactive sequences start before batch ones. Within a priority, one row
of each HTTP request starts in rotation, so a caption waits for one row of a detection. While other
requests are there, the rows of detections take half of a step's prompt tokens at most, so that
answers that are being written wait less. While interactive sequences are there, batch ones encode a
quarter of a step's pictures at most, because a new picture waits for the pass before.

waiting ──admit──▶ running ──finish──▶ removed
   │  ◀──requeue───   │
   └──── expire, cancel ───────────────▶ removed, their slots released at once
"""

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from app.engine.kv_slots import KVSlots
from app.engine.sequence import Sequence
from app.settings import MAX_SLOTS

Group = tuple[bytes, int]
"""The HTTP process and the key that all rows of one HTTP request share."""


@dataclass(frozen=True)
class SchedulerLimits:
    """Bounds of one step and of the queue.

    Attributes:
        max_waiting: HTTP requests that may wait in the queue.
        max_prefill_tokens: prompt tokens that one step may prefill.
        max_pictures: new pictures that one step may encode.
        steps_between_starts: steps without a start after a start, in which sequences gather for
            one pass; see `Scheduler.admit`.
    """

    max_waiting: int
    max_prefill_tokens: int
    max_pictures: int
    steps_between_starts: int = 0


@dataclass
class _Start:
    """What the sequences that start in one step need.

    Attributes:
        num_row_tokens: prompt tokens of rows of detections.
        pictures: digests of the pictures that have to be encoded.
        batch_pictures: those of them that a batch sequence brought.
    """

    num_tokens: int = 0
    num_row_tokens: int = 0
    pictures: set[bytes] = field(default_factory=set)
    batch_pictures: set[bytes] = field(default_factory=set)

    def add(self, sequence: Sequence, *, is_new: bool) -> None:
        """Add a sequence; `is_new`: its picture has to be encoded."""
        digest = sequence.request.picture_digest
        self.num_tokens += sequence.num_tokens
        if sequence.is_row:
            self.num_row_tokens += sequence.num_tokens
        if is_new and sequence.is_batch and digest not in self.pictures:
            self.batch_pictures.add(digest)
        if is_new:
            self.pictures.add(digest)


class Scheduler:
    """Owns the queue, the running sequences and, through them, the slots.

    Args:
        is_cached: returns whether the prefix of a picture, named by its digest, is cached.
    """

    def __init__(
        self, slots: KVSlots, limits: SchedulerLimits, is_cached: Callable[[bytes], bool]
    ) -> None:
        self.slots = slots
        self.limits = limits
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self._is_cached = is_cached
        self._steps_since_start = 0
        self._turn = 0  # the highest turn that has started
        self._last_turns: dict[Group, int] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no sequence waits or runs."""
        return not self.waiting and not self.running

    def can_add(self, sequence: Sequence) -> bool:
        """Return whether there is room for the sequence's HTTP request, or it is here already."""
        groups = {other.group for other in (*self.waiting, *self.running)}
        max_groups = self.limits.max_waiting + self.slots.num_slots
        return sequence.group in groups or len(groups) < max_groups

    @property
    def _num_free(self) -> int:
        """Number of sequences that may start; running sequences without a slot will need one."""
        return self.slots.num_slots - len(self.running)

    @property
    def _max_batch(self) -> int:
        """Number of slots that batch sequences may occupy; a quarter stays for interactive ones."""
        return self.slots.num_slots - self.slots.num_slots // 4

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; check `can_add` first."""
        sequence.turn = self._turn
        if sequence.request.group is not None:
            # One turn after the group's previous row. A group that had paused gets no credit.
            sequence.turn = max(self._turn, self._last_turns.get(sequence.group, -1) + 1)
            self._last_turns[sequence.group] = sequence.turn
        insort(self.waiting, sequence, key=_position)

    def admit(self, now: float, can_encode: bool = True) -> list[Sequence]:
        """Start waiting sequences in order, as many as the slots and the limits of a step allow.

        If many sequences run, the waiting ones gather for some steps, so that one pass starts
        several of them: on a CUDA device, starting one takes half as long as starting sixteen.

        Args:
            now: seconds on the monotonic clock.
            can_encode: if false, a sequence with a new picture keeps waiting, and so do all
                sequences after it.
        """
        self._steps_since_start += 1
        if self._is_gathering:
            return []
        admitted = list(self._admissible(self.limits.max_pictures if can_encode else 0))
        if admitted:
            self._steps_since_start = 0
        del self.waiting[: len(admitted)]
        for sequence in admitted:
            sequence.started_at = now
            self._turn = max(self._turn, sequence.turn)
        self.running += admitted
        # The others have no effect any more.
        self._last_turns = {g: turn for g, turn in self._last_turns.items() if turn >= self._turn}
        return admitted

    @property
    def _is_gathering(self) -> bool:
        """Whether waiting sequences should wait for others that start in the same pass."""
        limits = self.limits
        return (
            self._steps_since_start <= limits.steps_between_starts
            and len(self.running) >= limits.max_pictures
            and len(self.waiting) < limits.max_pictures
        )

    def assign_slots(self, sequences: Iterable[Sequence]) -> None:
        """Assign slots to running sequences that will be prefilled in this step."""
        # Not earlier: a decode pass computes every slot from the lowest to the highest in use, so a
        # slot that waits for its prefill would cost time without producing a token.
        for sequence in sequences:
            sequence.slot = self.slots.allocate()

    def close_gaps(self) -> None:
        """Move the sequences with the highest slots into free slots below them.

        A decode pass computes every slot from the lowest to the highest in use, also free ones.
        Call it when no pass is launched, after `finish`.
        """
        placed = sorted((s for s in self.running if s.slot is not None), key=lambda s: s.held_slot)
        num_placed = len(placed)
        while placed and placed[-1].held_slot >= num_placed:
            sequence = placed.pop()
            source, sequence.slot = sequence.held_slot, self.slots.allocate()
            self.slots.copy(source, sequence.slot, sequence.num_tokens)
            self.slots.free(source)

    def _admissible(self, max_pictures: int) -> Iterator[Sequence]:
        start = _Start()
        max_row_tokens = self._max_row_tokens if self.waiting else 0
        max_batch_pictures = self._max_batch_pictures if self.waiting else 0
        max_running = min((s.max_running for s in self.running), default=MAX_SLOTS)
        num_batch = sum(s.is_batch for s in self.running)
        for num_others, sequence in enumerate(self._with_slot(), len(self.running)):
            max_running = min(max_running, sequence.max_running)
            num_batch += sequence.is_batch
            if num_others >= max_running or (sequence.is_batch and num_batch > self._max_batch):
                return
            is_first = not start.num_tokens  # the first sequence starts even if it is too long
            start.add(sequence, is_new=not self._is_cached(sequence.request.picture_digest))
            is_too_long = (
                start.num_tokens > self.limits.max_prefill_tokens
                or start.num_row_tokens > max_row_tokens
            )
            has_too_many = (
                len(start.pictures) > max_pictures or len(start.batch_pictures) > max_batch_pictures
            )
            if (is_too_long and not is_first) or has_too_many:
                return
            yield sequence

    @property
    def _max_row_tokens(self) -> int:
        """Prompt tokens of a step that rows of detections may prefill."""
        are_alone = all(sequence.is_row for sequence in chain(self.running, self.waiting))
        return self.limits.max_prefill_tokens // (1 if are_alone else 2)

    @property
    def _max_batch_pictures(self) -> int:
        """New pictures of a step that batch sequences may bring."""
        are_alone = all(sequence.is_batch for sequence in chain(self.running, self.waiting))
        most = self.limits.max_pictures
        return most if are_alone else max(1, most // 4)

    def _with_slot(self) -> Iterator[Sequence]:
        return islice(self.waiting, self._num_free)

    def requeue(self, sequences: list[Sequence]) -> None:
        """Requeue the sequences of a failed pass first, with half the batch limit.

        They keep their tokens and continue after them.
        """
        self._remove(set(sequences).__contains__)
        for sequence in reversed(sequences):
            sequence.max_running = max(1, len(sequences) // 2)
            sequence.first_token_at = 0.0
            sequence.is_requeued = True
            self.waiting.insert(0, sequence)

    def expire(self, now: float) -> list[Sequence]:
        """Remove and return the sequences whose deadline has passed."""
        return self._remove(lambda sequence: sequence.request.deadline <= now)

    def cancel(self, names: Iterable[tuple[bytes, int]]) -> list[Sequence]:
        """Remove and return the named sequences; ignore names that do not exist."""
        cancelled = set(names)
        return self._remove(lambda sequence: sequence.name in cancelled)

    def cancel_client(self, client: bytes) -> list[Sequence]:
        """Remove and return all sequences of an HTTP process that has ended."""
        return self._remove(lambda sequence: sequence.client == client)

    def finish(self) -> list[Sequence]:
        """Remove and return the running sequences that have their last token."""
        return self._remove(lambda sequence: sequence.is_finished)

    def _remove(self, is_removed: Callable[[Sequence], bool]) -> list[Sequence]:
        removed = [s for s in (*self.running, *self.waiting) if is_removed(s)]
        if removed:
            dropped = set(removed)
            self.running = [sequence for sequence in self.running if sequence not in dropped]
            self.waiting = [sequence for sequence in self.waiting if sequence not in dropped]
        for sequence in removed:
            if sequence.slot is not None:
                self.slots.free(sequence.slot)
                sequence.slot = None
        return removed

    def check(self) -> None:
        """Check that each slot in use belongs to exactly one running sequence.

        Raises:
            RuntimeError: slots and sequences do not match, which only a defect here can cause.
        """
        held = sorted(s.slot for s in self.running if s.slot is not None)
        if not len(set(held)) == len(held) == self.slots.num_used:
            raise RuntimeError(
                f"{len(held)} running sequences hold {len(set(held))} slots "
                f"of {self.slots.num_used} in use"
            )


def _position(sequence: Sequence) -> tuple[bool, bool, int]:
    """Return the sort key of the queue: requeued sequences first, then interactive ones."""
    return not sequence.is_requeued, sequence.is_batch, sequence.turn
