"""Picture prefixes: keys and values of the prompt tokens that depend on a picture alone.

Prefixes are cached for recent pictures. Where decoding does not use all processors, a thread
encodes new pictures in parallel with the passes, one batch at a time, so that running rows do not
slow down. Pictures that arrive meanwhile form the next batch.
"""

import os
import sys
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

# A thread with it gets a third of the time of one without, where both want the same processor.
_NICENESS = 5


@dataclass(frozen=True)
class EncodedPicture:
    """An encoded picture.

    Attributes:
        prefix: keys and values of the prompt's prefix, (N, 2, H, P, D).
        took_s: seconds that its batch took; on CUDA only the upload and the launch, since the
            device computes while the host continues.
    """

    prefix: Tensor
    took_s: float


@dataclass(frozen=True)
class _Batch:
    """Pictures that are encoded together, and the future with the results by digest."""

    digests: Collection[bytes]
    encoded: "futures.Future[Mapping[bytes, EncodedPicture]]"


class Prefixes:
    """Encodes pictures, caches their prefixes and copies them into slots.

    Args:
        picture_pass: holds the inputs and outputs of the pass.
        run: runs that pass over a number of staged pictures.
        cache_bytes: size of the cache of recent prefixes.
        phase: encloses the encoding of pictures, with the name `vision`.
        in_background: whether to encode in a separate thread that uses one processor.

    Attributes:
        num_encoded: pictures encoded so far.
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
        # The main thread encodes too, if a picture was evicted before it was copied into a slot.
        self._pass_lock = Lock()
        self._thread = futures.ThreadPoolExecutor(1, "vision", torch.set_num_threads, (1,))
        self.in_background = in_background
        self.num_encoded = 0
        self._begun: _Batch | None = None
        self._done: _Batch | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being encoded, so that new pictures must wait."""
        return self._begun is not None

    def put_pictures_first(self) -> None:
        """Lower the priority of the calling thread, which runs the passes; call it once.

        Reading, decoding and encoding a new picture then get a processor before rows that decode
        (docs/adr/0021-background-picture-encoding.md). Only on Linux, where threads have priorities
        of their own, and only with a thread for pictures.
        """
        if self.in_background and sys.platform == "linux":
            self._thread.submit(int).result()  # started later, it would have the lower priority
            os.nice(_NICENESS)

    def collect(self) -> None:
        """Make a finished batch available to this step; call it at the beginning of each step."""
        self._done = None  # sequences that did not use their picture have been cancelled
        if self._begun is not None and self._begun.encoded.done():
            self._begun, self._done = None, self._begun

    def wait(self) -> None:
        """Block until the current batch is encoded; for a step that has nothing else to do."""
        if self._begun is not None:
            futures.wait([self._begun.encoded])
            self.collect()

    def begin(self, sequences: Collection[Sequence]) -> None:
        """Begin to encode the pictures of new sequences in the thread; check `is_busy` first."""
        # A batch that this step copies into slots is cached only then.
        done = () if self._done is None else self._done.digests
        new = {d: pixels for d, pixels in self._missing(sequences).items() if d not in done}
        if self.in_background and new:
            self._begun = _Batch(new.keys(), self._thread.submit(self._encode, new))

    def is_ready(self, sequence: Sequence) -> bool:
        """Return whether `copy_into_slots` would not wait for the current batch."""
        return self._begun is None or sequence.request.picture_digest not in self._begun.digests

    def copy_into_slots(self, sequences: Collection[Sequence]) -> None:
        """Copy each sequence's prefix into its slot; encode pictures that are not cached."""
        encoded: dict[bytes, EncodedPicture] = {}
        if self._done is not None:
            encoded |= self._done.encoded.result()
        missing = self._missing(sequences)
        encoded |= self._encode({d: pixels for d, pixels in missing.items() if d not in encoded})
        for sequence in sequences:
            self._copy_into_slot(sequence, encoded.get(sequence.request.picture_digest))
        # Not earlier: caching one prefix may evict another that a sequence of this step needs.
        for digest, picture in encoded.items():
            self.cache.put(digest, picture.prefix)

    def clear(self) -> None:
        """Release the memory of all prefixes that are not in slots."""
        self.cache.clear()
        self._begun = self._done = None

    def _copy_into_slot(self, sequence: Sequence, encoded: EncodedPicture | None) -> None:
        digest = sequence.request.picture_digest
        prefix = self.cache.get(digest) if encoded is None else encoded.prefix
        if prefix is None:
            raise RuntimeError("the picture of a sequence to prefill is not encoded")
        self._slots.write_prefix(sequence.held_slot, prefix)
        sequence.num_cached_tokens = self._pass.num_tokens if encoded is None else 0
        sequence.vision_s = 0.0 if encoded is None else encoded.took_s

    def _missing(self, sequences: Iterable[Sequence]) -> dict[bytes, bytes]:
        """Return the pictures that are not cached, by digest."""
        pictures = {s.request.picture_digest: s.pixels for s in sequences}
        return {digest: p for digest, p in pictures.items() if digest not in self.cache}

    def _encode(self, pictures: Mapping[bytes, bytes]) -> Mapping[bytes, EncodedPicture]:
        """Encode pictures by digest, in batches of the size of a pass."""
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
        self.num_encoded += len(pictures)
        took_s = time.monotonic() - began
        return [EncodedPicture(prefix, took_s) for prefix in prefixes]
