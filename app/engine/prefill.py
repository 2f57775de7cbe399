"""The prefill pass: reads prompts after their picture prefixes, and chooses their next tokens."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass

import torch
from torch import Tensor

from app.engine.cells import CellLogits
from app.engine.decode import PassShape, causal_mask, round_up_keys
from app.engine.drafts import choose_verified, count_drafts, store_tokens
from app.engine.kv_slots import KVSlots, PromptRows
from app.engine.sampling import NO_TOKEN, RowOptions, log_probabilities
from app.engine.sequence import Sequence
from app.ipc.engine_messages import MAX_NAMED_TOKENS
from app.model.loading import Kosmos2Model

# Columns of a staged row of integers: slot, index of the last token, options, token ids, named ids.
_OPTIONS = slice(2, 2 + len(RowOptions()))
_TOKENS = _OPTIONS.stop


@dataclass(frozen=True)
class PromptBatch:
    """Prompts that have been uploaded.

    Attributes:
        inputs: slot, index of the last token, options (the bits of float64), token ids and named
            token ids of each row, (R, 2 + 10 + L + N).
        slots: the adjacent slots of the prompts.
        shape: shape for the choice of tokens; its length covers the longest prompt and its draft.
        num_named: N, the largest number of tokens that a row names.
    """

    inputs: Tensor
    slots: slice
    shape: PassShape
    num_named: int

    @property
    def token_ids(self) -> Tensor:
        """Tokens of each prompt and its draft, (R, L); 0 beyond them."""
        return self.inputs[:, _TOKENS : self.inputs.shape[1] - self.num_named]

    @property
    def named_ids(self) -> Tensor:
        """Named tokens of each prompt, (R, N); 0 beyond their number."""
        return self.inputs[:, self.inputs.shape[1] - self.num_named :]


class PromptPass:
    """Prefills the slots of several prompts and chooses one or two new tokens of each.

    Args:
        slots: slots that hold the picture prefixes of their prompts already.
        cells: receives the logits of the cells of each prompt.
        length_multiple: prompts are padded to a multiple of this number of tokens. With 16,
            attention on CUDA uses the mask as it is; otherwise it copies the mask in every layer.
    """

    def __init__(
        self, model: Kosmos2Model, slots: KVSlots, cells: CellLogits, length_multiple: int
    ) -> None:
        self._model, self._decoder = model, model.decoder
        self._slots, self._cells = slots, cells
        device, self._multiple = model.device, length_multiple
        self._begin = len(model.prefix_token_ids)
        self._indices = torch.arange(slots.max_length, device=device)
        num_columns = _TOKENS + slots.max_length + MAX_NAMED_TOKENS
        staged = torch.zeros(slots.num_slots * num_columns, dtype=torch.long)
        self._staged = staged.pin_memory() if device.type == "cuda" else staged
        self._inputs = staged if device.type == "cpu" else staged.to(device)

    def stage(self, sequences: Rows[Sequence], options: Rows[RowOptions]) -> PromptBatch:
        """Upload prompts with one copy, for which the host does not wait.

        Call it before the step launches other work, so that the copy does not delay the pass.

        Args:
            sequences: sequences in ascending order of their slots, which must be adjacent.
            options: of each sequence.

        Raises:
            RuntimeError: the slots are not adjacent.
        """
        # A draft is one token more of one prompt, and a pass over prompts reads many anyway.
        shape = PassShape.of(0, options, has_drafts=count_drafts(options) > 0)
        num_named = max(len(sequence.named_token_ids) for sequence in sequences)
        length = self._padded(shape.length)
        size = (len(sequences), _TOKENS + length + num_named)
        staged, inputs = (t[: size[0] * size[1]].view(size) for t in (self._staged, self._inputs))
        slots = slice(sequences[0].held_slot, sequences[-1].held_slot + 1)
        if slots.stop - slots.start != len(sequences):
            raise RuntimeError("the prompts of a pass hold slots that are not adjacent")
        _fill(staged, sequences, options, self._begin, length)
        if inputs.device.type != "cpu":
            inputs.copy_(staged, non_blocking=True)
        return PromptBatch(inputs, slots, shape, num_named)

    def __call__(self, batch: PromptBatch) -> Tensor:
        """Return the tokens of each prompt, their log-probabilities and those of named tokens.

        Returns:
            (T + T + N, R) float64; T is 2 with drafts, otherwise 1.
        """
        slots, shape = batch.inputs[:, 0], batch.shape  # (R,)
        token_ids = batch.token_ids
        options = batch.inputs[:, _OPTIONS].view(torch.float64)  # (R, 10)
        hidden = self._run(batch, token_ids)  # (R, T, d)
        logits = self._decoder.logits(hidden.flatten(0, 1)).view(*hidden.shape[:2], -1)
        self._cells.store(slots, logits)
        held = token_ids[:, : shape.length]
        tokens, logarithms = choose_verified(
            logits, held, options, shape.max_ngram_size, shape.is_sampled
        )
        store_tokens(self._slots, slots, options[:, 0].long(), tokens)
        named = log_probabilities(logits[:, 0], batch.named_ids)  # (R, N)
        return torch.cat([tokens.double(), logarithms.double(), named.double()], dim=1).t()

    def _run(self, batch: PromptBatch, token_ids: Tensor) -> Tensor:
        """Return the hidden states of each prompt's last token and its draft, (R, T, d)."""
        # Shorter rows are padded on the right. Keys and values of the padding lie beyond the row's
        # length, where the mask hides them until later tokens overwrite them.
        length, begin = token_ids.shape[1], self._begin
        last = batch.inputs[:, 1]
        self._slots.token_ids[batch.slots, :length] = token_ids
        positions = self._indices[None, begin:length]
        num_keys = round_up_keys(length, self._model)
        rows = PromptRows(self._slots, batch.slots, begin, num_keys)
        embedded = self._decoder.embed(token_ids[:, begin:], positions)
        mask = causal_mask(self._indices[:num_keys], positions, embedded.dtype)
        hidden = self._decoder(embedded, rows, mask)
        numbers = self._indices[: len(last), None]  # (R, 1)
        columns = last[:, None] + self._indices[: 1 + batch.shape.has_drafts]  # (R, T)
        last_hidden: Tensor = hidden[numbers, columns]
        return last_hidden

    def _padded(self, length: int) -> int:
        return min(-(-length // self._multiple) * self._multiple, self._slots.max_length)


def _fill(
    staged: Tensor,
    sequences: Rows[Sequence],
    options: Rows[RowOptions],
    begin: int,
    length: int,
) -> None:
    """Write the columns of `PromptBatch.inputs`; tokens beyond a prompt's length are 0."""
    staged[:, 0] = torch.tensor([s.held_slot for s in sequences])
    staged[:, 1] = torch.tensor([s.num_tokens - 1 - begin for s in sequences])
    staged[:, _OPTIONS] = torch.tensor(options, dtype=torch.float64).view(torch.long)
    num_named = staged.shape[1] - _TOKENS - length
    filled = [
        [*_padded(_with_draft(s, row), length), *_padded(s.named_token_ids, num_named)]
        for s, row in zip(sequences, options, strict=True)
    ]
    staged[:, _TOKENS:] = torch.tensor(filled)


def _with_draft(sequence: Sequence, options: RowOptions) -> list[int]:
    draft = [] if options.draft == NO_TOKEN else [options.draft]
    return sequence.token_ids + draft


def _padded(token_ids: list[int], length: int) -> list[int]:
    return token_ids + [0] * (length - len(token_ids))
