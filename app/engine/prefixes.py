"""From pictures to the beginnings of prompts: encoded once, kept for recent pictures.

Where passes leave a processor free, pictures are encoded in a thread beside them, one batch at a
time: what arrives meanwhile makes the next batch, and running rows keep their pace.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent import futures
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from app.engine.kv_slots import KVSlots, PictureCache
from app.engine.phases import PhaseTimer
from app.engine.picture_pass import PicturePass
from app.engine.sequence import Sequence


@dataclass(frozen=True)
class EncodedPicture:
    """What became of a picture.

    Attributes:
        prefix: keys and values of the prompt's beginning, (N, 2, H, P, D).
        took_s: seconds, with those that were encoded together with it; on CUDA, which computes
            by itself, those of uploading and launching.
    """

    prefix: Tensor
    took_s: float


@dataclass(frozen=True)
class _Batch:
    """Pictures that are encoded together, and what will become of each, by digest."""

    digests: Collection[bytes]
    encoded: "futures.Future[Mapping[bytes, EncodedPicture]]"


class Prefixes:
    """Keys and values of the tokens that depend on a picture alone.

    Args:
        picture_pass: with the pass's inputs and outputs.
        run: runs that pass over a number of staged pictures.
        slots: where they are wanted.
        cache_bytes: for those of recent pictures.
        phase: called around the encoding of pictures, with `vision`.
        in_background: encode in a thread of its own, of one processor.
    """

    def __init__(
        self,
        picture_pass: PicturePass,
        run: Callable[[int], None],
        slots: KVSlots,
        cache_bytes: int,
        phase: PhaseTimer,
        in_background: bool,
    ) -> None:
        self.cache = PictureCache(cache_bytes)
        self._pass, self._run, self._slots, self._phase = picture_pass, run, slots, phase
        self._pass_lock = Lock()  # a picture evicted meanwhile is encoded outside the thread
        self._thread = futures.ThreadPoolExecutor(1, "vision", torch.set_num_threads, (1,))
        self.in_background = in_background
        self._begun: _Batch | None = None
        self._done: _Batch | None = None

    @property
    def is_busy(self) -> bool:
        """Whether pictures are being encoded, so that others have to wait."""
        return self._begun is not None

    def collect(self) -> None:
        """Take over the finished batch, if any; called at the beginning of a step."""
        self._done = None  # who did not take his picture has left
        if self._begun is not None and self._begun.encoded.done():
            self._begun, self._done = None, self._begun

    def wait(self) -> None:
        """When there is nothing else to do: until the batch is done."""
        if self._begun is not None:
            futures.wait([self._begun.encoded])
            self.collect()

    def begin(self, sequences: Collection[Sequence]) -> None:
        """Have the pictures of sequences that start encoded in the thread; ask `is_busy` first."""
        new = self._missing(sequences)
        if self.in_background and new:
            self._begun = _Batch(new.keys(), self._thread.submit(self._encode, new))

    def is_ready(self, sequence: Sequence) -> bool:
        """Whether nothing has to be waited for before `copy_into_slots`."""
        return self._begun is None or sequence.request.picture_digest not in self._begun.digests

    def copy_into_slots(self, sequences: Collection[Sequence]) -> None:
        """Copy each sequence's picture into its slot; a picture that is not at hand is encoded."""
        encoded: dict[bytes, EncodedPicture] = {}
        if self._done is not None:
            encoded |= self._done.encoded.result()
        missing = self._missing(sequences)
        left = {digest: pixels for digest, pixels in missing.items() if digest not in encoded}
        encoded |= self._encode(left)
        for sequence in sequences:
            self._copy_into_slot(sequence, encoded.get(sequence.request.picture_digest))
        for digest, each in encoded.items():
            self.cache.put(digest, each.prefix)

    def clear(self) -> None:
        """Give back all memory that can be spared."""
        self.cache.clear()
        self._begun = self._done = None

    def _copy_into_slot(self, sequence: Sequence, encoded: EncodedPicture | None) -> None:
        digest = sequence.request.picture_digest
        prefix = self.cache.get(digest) if encoded is None else encoded.prefix
        if prefix is None:
            raise RuntimeError("a sequence to prefill has no picture")
        self._slots.write_prefix(sequence.held_slot, prefix)
        sequence.num_cached_tokens = self._pass.num_tokens if encoded is None else 0
        sequence.vision_s = 0.0 if encoded is None else encoded.took_s

    def _missing(self, sequences: Iterable[Sequence]) -> dict[bytes, bytes]:
        """Pictures that are not in the cache, by digest."""
        pictures = {s.request.picture_digest: s.pixels for s in sequences}
        return {digest: each for digest, each in pictures.items() if digest not in self.cache}

    def _encode(self, pictures: Mapping[bytes, bytes]) -> Mapping[bytes, EncodedPicture]:
        """Encode pictures by digest, as many at a time as a pass takes."""
        digests, size = list(pictures), self._pass.max_pictures
        encoded: dict[bytes, EncodedPicture] = {}
        for start in range(0, len(digests), size):
            batch = digests[start : start + size]
            encoded |= zip(batch, self._encode_batch([pictures[d] for d in batch]), strict=True)
        return encoded

    @torch.inference_mode()
    def _encode_batch(self, pictures: list[bytes]) -> list[EncodedPicture]:
        began = time.monotonic()
        with self._pass_lock, self._phase("vision"):
            self._pass.stage(pictures)
            self._run(len(pictures))
            prefixes = self._pass.read(len(pictures))
        took_s = time.monotonic() - began
        return [EncodedPicture(prefix, took_s) for prefix in prefixes]
