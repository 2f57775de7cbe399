"""Runs the model for the scheduler: pictures, prompts, one more token of every running row.

Nothing here knows of queues or clients. Each method takes sequences that hold a slot and gives the
next token of each with its log-probability.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.engine.kv_slots import KeyValueShape, KVSlots, PictureCache, PrefixRows, SlotRows
from app.engine.messages import PICTURE_SIDE
from app.engine.sampling import (
    SamplingRows,
    ban_repeated_ngrams,
    choose_tokens,
    log_probabilities,
)
from app.engine.sequence import Sequence
from app.model.checkpoint import Kosmos2Model

PhaseTimer = Callable[[str], AbstractContextManager[None]]


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
    """

    def __init__(
        self, model: Kosmos2Model, num_slots: int, picture_cache_bytes: int, phase: PhaseTimer
    ) -> None:
        config = model.decoder.config
        heads, width = config.attention_heads, config.embed_dim
        shape = KeyValueShape(config.layers, heads, width // heads)
        self.model = model
        self.device, self.dtype = model.device, model.dtype
        self.slots = KVSlots(shape, num_slots, model.decoder.num_positions, self.dtype, self.device)
        self.pictures = PictureCache(picture_cache_bytes)
        self._phase = phase
        self._prefix_ids = torch.tensor([model.prefix_token_ids], device=self.device)  # (1, P)

    @property
    def prefix_length(self) -> int:
        """Tokens at the beginning of every prompt that depend on the picture alone."""
        return self._prefix_ids.shape[1]

    @torch.inference_mode()
    def prefill(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Fill the slots of sequences that begin or go on, and choose the next token of each."""
        if not sequences:
            return []
        self._place_prefixes(sequences)
        with self._phase("prefill"):
            hidden = self._run_rests(sequences)  # (R, d)
            return self._choose(sequences, [s.slot or 0 for s in sequences], hidden)

    @torch.inference_mode()
    def decode(self, sequences: list[Sequence]) -> list[ChosenToken]:
        """Choose one more token for each of the running sequences.

        The pass covers all slots up to the highest in use, which lie side by side: it reads them in
        place. Free slots among them are computed too, and what comes out is thrown away.
        """
        if not sequences:
            return []
        with self._phase("decode"):
            by_slot = {s.slot: s for s in sequences if s.slot is not None}
            num_rows = max(by_slot) + 1
            lengths = [by_slot[r].num_tokens if r in by_slot else 1 for r in range(num_rows)]
            hidden = self._run_last_tokens(lengths)  # (num_rows, d)
            rows = sorted(by_slot)
            if len(rows) < num_rows:
                hidden = hidden[torch.tensor(rows, device=self.device)]
            return self._choose([by_slot[row] for row in rows], rows, hidden)

    def recover(self) -> bool:
        """After a pass that failed: give back what memory can be spared; false: all is lost.

        After a fault in a kernel, nothing more can be computed by this process.
        """
        self.pictures.clear()
        try:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return bool(torch.ones(1, device=self.device).item() == 1)
        except RuntimeError:
            return False

    def _place_prefixes(self, sequences: list[Sequence]) -> None:
        """Copy each sequence's picture into its slot; a picture that is not at hand is encoded."""
        new = {
            s.request.picture_digest: s.pixels
            for s in sequences
            if s.request.picture_digest not in self.pictures
        }
        encoded = self._encode_pictures(new)
        for sequence in sequences:
            digest = sequence.request.picture_digest
            prefix = encoded.get(digest)
            if prefix is None:
                prefix = self.pictures.get(digest)
            sequence.num_cached_tokens = 0 if digest in encoded else self.prefix_length
            if prefix is None or sequence.slot is None:
                raise RuntimeError("a sequence to prefill has neither picture nor slot")
            self.slots.write_prefix(sequence.slot, prefix)
        for digest, prefix in encoded.items():
            self.pictures.put(digest, prefix)

    def _encode_pictures(self, pixels: dict[bytes, bytes]) -> dict[bytes, Tensor]:
        """The prefix of each picture, (2, N, H, P, D), by digest."""
        if not pixels:
            return {}
        with self._phase("vision"):
            shape = (len(pixels), PICTURE_SIDE, PICTURE_SIDE, 3)
            joined = np.frombuffer(b"".join(pixels.values()), dtype=np.uint8).reshape(shape)
            embeddings = self.model.vision(torch.tensor(joined, device=self.device))  # (B, 64, d)
            return dict(zip(pixels, self._run_prefixes(embeddings), strict=True))

    def _run_prefixes(self, pictures: Tensor) -> list[Tensor]:
        """Picture embeddings (B, 64, d) → keys and values of each whole prefix."""
        decoder = self.model.decoder
        token_ids = self._prefix_ids.expand(len(pictures), -1)  # (B, P)
        embeddings = decoder.embed_tokens(token_ids)  # (B, P, d)
        embeddings[:, self.model.picture_places] = pictures.to(embeddings.dtype)
        positions = torch.arange(self.prefix_length, device=self.device).expand_as(token_ids)
        rows = PrefixRows()
        decoder(decoder.place(embeddings, token_ids, positions), rows, mask=None)
        return rows.prefixes()

    def _run_rests(self, sequences: list[Sequence]) -> Tensor:
        """All tokens after the prefixes, side by side: the last hidden state of each, (R, d).

        Shorter rows are filled up on the right. What the filling leaves in a slot lies beyond the
        row's length: it is masked here, and overwritten by the tokens that come.
        """
        rests = [s.token_ids[self.prefix_length :] for s in sequences]
        longest = max(len(rest) for rest in rests)
        filled = [rest + [0] * (longest - len(rest)) for rest in rests]
        token_ids = torch.tensor(filled, device=self.device)  # (R, T)
        slots = torch.tensor([s.slot for s in sequences], device=self.device)  # (R,)
        positions = self.prefix_length + torch.arange(longest, device=self.device)  # (T,)
        positions = positions.expand_as(token_ids)  # (R, T)
        self.slots.token_ids[slots, : self.prefix_length] = self._prefix_ids
        self.slots.token_ids[slots[:, None], positions] = token_ids
        length = self.prefix_length + longest
        rows = SlotRows(self.slots, slots, slots, positions, length)
        embedded = self.model.decoder.embed(token_ids, positions)
        hidden = self.model.decoder(embedded, rows, self._causal_mask(positions, length))
        last = torch.tensor([len(rest) - 1 for rest in rests], device=self.device)
        of_last: Tensor = hidden[torch.arange(len(rests), device=self.device), last]
        return of_last

    def _run_last_tokens(self, lengths: list[int]) -> Tensor:
        """The last token of the first slots, whose lengths are given: hidden states (R, d)."""
        num_rows, length = len(lengths), max(lengths)
        positions = torch.tensor(lengths, device=self.device)[:, None] - 1  # (R, 1)
        token_ids = self.slots.token_ids[:num_rows].gather(1, positions)  # (R, 1)
        numbers = torch.arange(num_rows, device=self.device)
        rows = SlotRows(self.slots, slice(num_rows), numbers, positions, length)
        embedded = self.model.decoder.embed(token_ids, positions)
        hidden: Tensor = self.model.decoder(embedded, rows, self._causal_mask(positions, length))
        return hidden[:, 0]

    def _causal_mask(self, positions: Tensor, length: int) -> Tensor:
        """Queries at `positions` (R, T) see places up to their own: (R, 1, T, L)."""
        places = torch.arange(length, device=self.device)
        return places <= positions[:, None, :, None]

    def _choose(
        self, sequences: list[Sequence], rows: list[int], hidden: Tensor
    ) -> list[ChosenToken]:
        """Choose the next token of each sequence and put it into its slot."""
        logits = self.model.decoder.logits(hidden)  # (R, V)
        row_numbers = torch.tensor(rows, device=self.device)
        lengths = torch.tensor([s.num_tokens for s in sequences], device=self.device)
        allowed = self._banned(sequences, logits, row_numbers, lengths)
        if all(s.request.sampling.temperature == 0 for s in sequences):
            tokens = allowed.argmax(dim=-1)
        else:
            tokens = choose_tokens(allowed, self._sampling_rows(sequences))
        # A row may end at the very last place of its slot; then nobody reads this token again.
        places = lengths.clamp(max=self.slots.max_length - 1)
        self.slots.token_ids[row_numbers, places] = tokens
        chosen = torch.stack([tokens.double(), log_probabilities(logits, tokens).double()])
        token_ids, logarithms = chosen.tolist()  # the one copy to the host
        return [
            ChosenToken(sequence, int(token_id), logarithm)
            for sequence, token_id, logarithm in zip(sequences, token_ids, logarithms, strict=True)
        ]

    def _banned(
        self, sequences: list[Sequence], logits: Tensor, rows: Tensor, lengths: Tensor
    ) -> Tensor:
        sizes = [s.request.sampling.no_repeat_ngram_size for s in sequences]
        if not any(sizes):
            return logits
        longest = max(s.num_tokens for s in sequences)
        held = self.slots.token_ids[rows, :longest]  # (R, L)
        sizes_tensor = torch.tensor(sizes, device=self.device)
        return ban_repeated_ngrams(logits, held, lengths, sizes_tensor, max(sizes))

    def _sampling_rows(self, sequences: list[Sequence]) -> SamplingRows:
        def column(values: Iterator[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(list(values), dtype=dtype, device=self.device)

        sampling = [s.request.sampling for s in sequences]
        return SamplingRows(
            temperature=column((s.temperature for s in sampling), torch.float32),
            top_k=column((s.top_k for s in sampling), torch.long),
            top_p=column((s.top_p for s in sampling), torch.float32),
            uniform=column((s.next_uniform for s in sequences), torch.float64),
        )
