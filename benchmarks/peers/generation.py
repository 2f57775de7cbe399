"""Kosmos-2 with `transformers` alone, including batches; all peers serve it.

Padded batches are wrong in `transformers` 5: from the second new token on, it counts positions from
the cache's length, which includes padding. This module passes the positions of the attention mask
instead, so that prompts of different lengths share a batch and each answer is that of the prompt
alone.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import Kosmos2ForConditionalGeneration, Kosmos2Processor

from app.ipc.sampling_limits import DEFAULT_MAX_NEW_TOKENS

PROMPTS = {
    "brief_caption": "<grounding> An image of",
    "detailed_caption": "<grounding> Describe this image in detail:",
    "phrase_grounding": "<grounding><phrase> {text}</phrase>",
    "referring_expression_comprehension": "<grounding><phrase> {text}</phrase>",
    "referring_expression_generation": "<grounding><phrase> It</phrase> is",
    "grounded_vqa": "<grounding> Question: {text} Answer:",
}

Inputs = dict[str, Tensor]
"""The processor's output for one request: `pixel_values`, `input_ids` and two masks, (1, …)."""


class Generation:
    """The published model class and processor with one checkpoint.

    Attributes:
        end_id: id of the token that ends an answer.
    """

    def __init__(
        self,
        directory: Path,
        threads: int,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        torch.set_num_threads(threads)
        self.processor = Kosmos2Processor.from_pretrained(directory)
        loaded = Kosmos2ForConditionalGeneration.from_pretrained(directory, dtype=dtype)
        self.model = loaded.eval().to(device)
        self._padding_id = int(self.model.config.text_config.pad_token_id)
        self.end_id = int(self.model.config.text_config.eos_token_id)
        self._ngram_size = _stored_ngram_size(directory)
        self.model.text_model.register_forward_pre_hook(self._give_positions, with_kwargs=True)

    def encode(self, picture: bytes, fields: Mapping[str, str]) -> Inputs:
        """Return the model's inputs for one request; boxes are relative to width and height."""
        with Image.open(io.BytesIO(picture)) as image:
            rgb = image.convert("RGB")
        boxes = None
        if "regions" in fields:
            boxes = [tuple(box) for box in json.loads(fields["regions"])[0]["boxes"]]
        prompt = PROMPTS[fields["task"]].format(text=fields.get("text"))
        encoded = self.processor(text=prompt, images=rgb, bboxes=boxes, return_tensors="pt")
        return dict(encoded)

    def generate(
        self, batch: Sequence[Inputs], max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    ) -> list[list[int]]:
        """Return all tokens of each request, decoded greedily: the prompt and the answer."""
        longest = max(inputs["input_ids"].shape[1] for inputs in batch)
        padding = {
            "input_ids": self._padding_id,
            "attention_mask": 0,
            "image_embeds_position_mask": 0,
        }
        padded = {name: _pad(batch, name, longest, value) for name, value in padding.items()}
        padded["pixel_values"] = torch.cat([inputs["pixel_values"] for inputs in batch])
        output = self.model.generate(
            **{name: tensor.to(self.model.device) for name, tensor in padded.items()},
            max_new_tokens=max_new_tokens,
            do_sample=False,
            **({"no_repeat_ngram_size": self._ngram_size} if self._ngram_size else {}),
        )
        rows = zip(batch, output[:, longest:].tolist(), strict=True)
        return [inputs["input_ids"][0].tolist() + self._until_end(new) for inputs, new in rows]

    def answer(self, inputs: Inputs, token_ids: list[int]) -> dict[str, Any]:
        """Return the JSON answer to one request."""
        decoded = self.processor.batch_decode([token_ids], skip_special_tokens=True)[0]
        text, entities = self.processor.post_process_generation(decoded)
        num_prompt_tokens = inputs["input_ids"].shape[1]
        return {
            "text": text,
            "entities": entities,
            "markup": decoded.split("</image>")[-1].strip(),
            "usage": {
                "prompt_tokens": num_prompt_tokens,
                "completion_tokens": len(token_ids) - num_prompt_tokens,
            },
        }

    def answer_all(self, batch: Sequence[Inputs]) -> list[dict[str, Any]]:
        """Generate tokens for a batch and return the JSON answers."""
        return [self.answer(*pair) for pair in zip(batch, self.generate(batch), strict=True)]

    def _give_positions(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        mask = kwargs.get("attention_mask")
        if mask is None:  # without padding, the default positions are correct
            return None
        # As `transformers` counts without padding: from the id of the padding plus one.
        positions = mask.cumsum(-1) * mask + self._padding_id  # (R, L)
        num_new = kwargs["input_ids"].shape[1]
        return args, kwargs | {"position_ids": positions[:, -num_new:]}

    def _until_end(self, token_ids: list[int]) -> list[int]:
        """Return a row without the padding that follows its end token."""
        if self.end_id in token_ids:
            return token_ids[: token_ids.index(self.end_id) + 1]
        return token_ids


def _pad(batch: Sequence[Inputs], name: str, length: int, value: int) -> Tensor:
    """Return rows padded on the left to one length: (R, L)."""
    rows = [inputs[name] for inputs in batch]
    # On the left, so that the last position of every row predicts its next token.
    return torch.cat([functional.pad(row, (length - row.shape[1], 0), value=value) for row in rows])


def _stored_ngram_size(directory: Path) -> int:
    """Return the stored setting, which `transformers` ignores unless it is passed to each call."""
    stored = json.loads((directory / "generation_config.json").read_bytes())
    return int(stored.get("no_repeat_ngram_size", 3))
