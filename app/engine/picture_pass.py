"""The pass over new pictures: encodes pixels as keys and values of each prompt's prefix."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from app.checkpoint.picture_size import PICTURE_SIDE
from app.engine.kv_slots import KeyValueShape, PrefixRows
from app.model.loading import Kosmos2Model


class PicturePass:
    """Encodes up to B pictures; inputs and outputs stay in place, so that it can be recorded.

    Args:
        shape: shape of one token's keys and values.
        max_pictures: B.
    """

    def __init__(self, model: Kosmos2Model, shape: KeyValueShape, max_pictures: int) -> None:
        self.max_pictures = max_pictures
        self._model, device = model, model.device
        # Products of batches differ in their last bits, and rounding to one digit would amplify
        # that: a picture would depend a little on those that are encoded with it.
        self._pictures_at_once = 1 if model.is_quantized else max_pictures
        self._token_ids = torch.tensor([model.prefix_token_ids], device=device)  # (1, P)
        self.num_tokens = self._token_ids.shape[1]
        self._positions = torch.arange(self.num_tokens, device=device)[None]  # (1, P)
        pixels = (max_pictures, PICTURE_SIDE, PICTURE_SIDE, 3)
        self._pixels = torch.zeros(pixels, dtype=torch.uint8, device=device)
        prefixes = shape.prefix_size(max_pictures, self.num_tokens)  # (B, N, 2, H, P, D)
        self._prefixes = torch.zeros(prefixes, dtype=model.dtype, device=device)

    def stage(self, pictures: Collection[bytes]) -> None:
        """Upload the pixels of the next pass with one copy."""
        joined = np.frombuffer(bytearray().join(pictures), dtype=np.uint8)
        pixels = torch.from_numpy(joined.reshape(-1, PICTURE_SIDE, PICTURE_SIDE, 3))
        if self._model.device.type == "cuda":
            pixels = pixels.pin_memory()  # otherwise the host would wait for the copy
        self._pixels[: len(pictures)].copy_(pixels, non_blocking=True)

    def __call__(self, num_pictures: int) -> None:
        """Encode the first `num_pictures` staged pictures."""
        for first in range(0, num_pictures, self._pictures_at_once):
            self._encode(slice(first, min(first + self._pictures_at_once, num_pictures)))

    def _encode(self, pictures: slice) -> None:
        model, decoder = self._model, self._model.prefix_decoder
        embedded = model.vision(self._pixels[pictures])  # (B, 64, d)
        token_ids = self._token_ids.expand(len(embedded), -1)  # (B, P)
        embeddings = decoder.embed_tokens(token_ids)  # (B, P, d)
        embeddings[:, model.picture_positions] = embedded.to(embeddings.dtype)
        rows = PrefixRows(self._prefixes[pictures])
        decoder.fill_cache(decoder.add_positions(embeddings, token_ids, self._positions), rows)

    def read(self, num_pictures: int) -> list[Tensor]:
        """Return copies of the last pass's prefixes, (N, 2, H, P, D) each, contiguous."""
        return [prefix.clone() for prefix in self._prefixes[:num_pictures]]
