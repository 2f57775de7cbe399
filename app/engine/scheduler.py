"""Which sequences wait, which run, and which may start: first come, first served.

waiting ──admit──▶ running ──finish──▶ gone
   │  ◀──requeue───   │
   └──── expire, cancel ───────────────▶ gone, their slots free at once
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from app.engine.kv_slots import KVSlots
from app.engine.sequence import Sequence
from app.settings import MAX_SLOTS


@dataclass(frozen=True)
class SchedulerLimits:
    """Bounds of one step and of the queue.

    Attributes:
        max_waiting: sequences that may wait.
        max_prefill_tokens: prompt tokens that one step may take on.
        max_pictures: pictures that one step may encode.
    """

    max_waiting: int
    max_prefill_tokens: int
    max_pictures: int


class Scheduler:
    """Owns the queue, the running sequences and, through them, the slots.

    Args:
        slots: where sequences run.
        limits: see there.
        is_cached: whether a picture of that digest needs no encoding.
    """

    def __init__(
        self, slots: KVSlots, limits: SchedulerLimits, is_cached: Callable[[bytes], bool]
    ) -> None:
        self.slots = slots
        self.limits = limits
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._is_cached = is_cached

    @property
    def is_idle(self) -> bool:
        """Whether a step would have nothing to do."""
        return not self.waiting and not self.running

    @property
    def can_add(self) -> bool:
        """Whether one more sequence may come: a free slot is a place too."""
        return len(self.waiting) < self.limits.max_waiting + self._num_free

    @property
    def _num_free(self) -> int:
        """How many more may run: each that runs has a slot or will need one."""
        return self.slots.num_slots - len(self.running)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; ask `can_add` first."""
        self.waiting.append(sequence)

    def admit(self, now: float, can_encode: bool = True) -> list[Sequence]:
        """Start as many waiting sequences, in order, as slots and the step's bounds allow.

        Args:
            now: on the monotonic clock, seconds.
            can_encode: false: a sequence with a new picture waits, and all behind it.
        """
        admitted = list(self._admissible(self.limits.max_pictures if can_encode else 0))
        for sequence in admitted:
            self.waiting.popleft()
            sequence.started_at = now
            self.running.append(sequence)
        return admitted

    def assign_slots(self, sequences: Iterable[Sequence]) -> None:
        """Give slots to running sequences that are about to be prefilled.

        Not before: the slots of a pass lie side by side, and those among them that do not decode
        are computed in vain.
        """
        for sequence in sequences:
            sequence.slot = self.slots.allocate()

    def _admissible(self, max_pictures: int) -> Iterator[Sequence]:
        num_tokens, new_pictures = 0, set[bytes]()
        max_running = min((s.max_running for s in self.running), default=MAX_SLOTS)
        for num_others, sequence in enumerate(self._with_slot(), len(self.running)):
            max_running = min(max_running, sequence.max_running)
            if num_others >= max_running:
                return
            is_first = num_tokens == 0  # the first one starts, however long it is
            num_tokens += sequence.num_tokens
            if not self._is_cached(sequence.request.picture_digest):
                new_pictures.add(sequence.request.picture_digest)
            is_too_long = num_tokens > self.limits.max_prefill_tokens and not is_first
            if is_too_long or len(new_pictures) > max_pictures:
                return
            yield sequence

    def _with_slot(self) -> Iterator[Sequence]:
        return islice(self.waiting, self._num_free)

    def requeue(self, sequences: list[Sequence]) -> None:
        """After a pass over these has failed: let them try again, among half as many.

        They wait before all others, and go on behind the tokens they have.
        """
        self._remove(set(sequences).__contains__)
        for sequence in reversed(sequences):
            sequence.max_running = max(1, len(sequences) // 2)
            sequence.first_token_at = 0.0
            self.waiting.appendleft(sequence)

    def expire(self, now: float) -> list[Sequence]:
        """Take out the sequences whose deadline has passed."""
        return self._remove(lambda sequence: sequence.request.deadline <= now)

    def cancel(self, names: Iterable[tuple[bytes, int]]) -> list[Sequence]:
        """Take out the named sequences; names that are not here (any more) are passed over."""
        wanted = set(names)
        return self._remove(lambda sequence: sequence.name in wanted)

    def cancel_client(self, client: bytes) -> list[Sequence]:
        """Take out all sequences of an HTTP process that is gone."""
        return self._remove(lambda sequence: sequence.client == client)

    def finish(self) -> list[Sequence]:
        """Take out the running sequences that have their last token."""
        return self._remove(lambda sequence: sequence.is_finished)

    def _remove(self, is_out: Callable[[Sequence], bool]) -> list[Sequence]:
        removed = [s for s in (*self.running, *self.waiting) if is_out(s)]
        if removed:
            gone = set(removed)
            self.running = [sequence for sequence in self.running if sequence not in gone]
            self.waiting = deque(sequence for sequence in self.waiting if sequence not in gone)
        for sequence in removed:
            if sequence.slot is not None:
                self.slots.free(sequence.slot)
                sequence.slot = None
        return removed

    def check(self) -> None:
        """See that each slot in use belongs to one running sequence; done whenever idle.

        Raises:
            RuntimeError: when the books do not balance, which only a defect here can cause.
        """
        held = sorted(s.slot for s in self.running if s.slot is not None)
        if not len(set(held)) == len(held) == self.slots.num_used:
            raise RuntimeError(
                f"{len(held)} running sequences hold {len(set(held))} slots "
                f"of {self.slots.num_used} in use"
            )
