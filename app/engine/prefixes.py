"""From pictures to the beginnings of prompts: encoded once, kept for recent pictures."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from app.engine.kv_slots import KVSlots, PictureCache, PrefixRows
from app.engine.messages import PICTURE_SIDE
from app.engine.phases import PhaseTimer
from app.engine.sequence import Sequence
from app.model.checkpoint import Kosmos2Model


class Prefixes:
    """Keys and values of the tokens that depend on a picture alone.

    Args:
        model: loaded.
        slots: where they are wanted.
        cache_bytes: for those of recent pictures.
        phase: called around the encoding of pictures, with `vision`.
    """

    def __init__(
        self, model: Kosmos2Model, slots: KVSlots, cache_bytes: int, phase: PhaseTimer
    ) -> None:
        self.cache = PictureCache(cache_bytes)
        self._model, self._slots, self._phase = model, slots, phase
        self._token_ids = torch.tensor([model.prefix_token_ids], device=model.device)  # (1, P)
        self._positions = torch.arange(self._token_ids.shape[1], device=model.device)[None]

    def place(self, sequences: Collection[Sequence]) -> None:
        """Copy each sequence's picture into its slot; a picture that is not at hand is encoded."""
        encoded = self._encode_new(sequences)
        for sequence in sequences:
            digest = sequence.request.picture_digest
            prefix = encoded.get(digest)
            if prefix is None:
                prefix = self.cache.get(digest)
            if prefix is None:
                raise RuntimeError("a sequence to prefill has no picture")
            self._slots.write_prefix(sequence.held_slot, prefix)
            sequence.num_cached_tokens = 0 if digest in encoded else self._token_ids.shape[1]
        for digest, prefix in encoded.items():
            self.cache.put(digest, prefix)

    def _encode_new(self, sequences: Collection[Sequence]) -> Mapping[bytes, Tensor]:
        """The prefixes that are not at hand, (N, 2, H, P, D) each, by digest."""
        pictures = {s.request.picture_digest: s.pixels for s in sequences}
        new = {digest: pixels for digest, pixels in pictures.items() if digest not in self.cache}
        if not new:
            return {}
        with self._phase("vision"):
            embeddings = self._model.vision(self._to_device(new.values()))  # (B, 64, d)
            return dict(zip(new, self._run(embeddings), strict=True))

    def _to_device(self, pixels: Iterable[bytes]) -> Tensor:
        joined = np.frombuffer(bytearray().join(pixels), dtype=np.uint8)
        pictures = torch.from_numpy(joined.reshape(-1, PICTURE_SIDE, PICTURE_SIDE, 3))
        if self._model.device.type == "cuda":
            pictures = pictures.pin_memory()
        return pictures.to(self._model.device, non_blocking=True)

    def _run(self, pictures: Tensor) -> list[Tensor]:
        """Picture embeddings (B, 64, d) → keys and values of each whole prefix."""
        decoder = self._model.decoder
        token_ids = self._token_ids.expand(len(pictures), -1)  # (B, P)
        embeddings = decoder.embed_tokens(token_ids)  # (B, P, d)
        embeddings[:, self._model.picture_places] = pictures.to(embeddings.dtype)
        rows = PrefixRows()
        decoder(decoder.place(embeddings, token_ids, self._positions), rows, mask=None)
        return rows.prefixes()
