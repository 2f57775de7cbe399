"""Answers prompts with `transformers` alone: greedy, float32, in batches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText

from app.engine.cells import NUM_BEST
from app.grounding.boxes import sort_corners
from app.grounding.localization import CellDistribution, Localization, localize
from app.grounding.markup import ParsedMarkup, parse
from app.grounding.tokenizer import Kosmos2Tokenizer
from training.data import picture_bytes
from training.gaze import FIRST_PLACE, NUM_IMAGE_TOKENS
from training.model import picture_features
from training.pictures import normalise
from training.scenes import squash

MAX_NEW_TOKENS = 192
BATCH_SIZE = 64


@dataclass(frozen=True)
class Answer:
    """The model's output for a prompt.

    Attributes:
        parsed: prompt and answer, as the service parses them.
        text: the answer alone, without tags.
        scores: of the answer's boxes, in order: geometric means of two probabilities.
        refined: of the same boxes, as the service computes them.
    """

    parsed: ParsedMarkup
    text: str
    scores: tuple[float, ...]
    refined: tuple[Localization, ...] = ()


class Answerer:
    """Answers prompts with a loaded checkpoint."""

    def __init__(self, checkpoint: Path, device: str = "cpu") -> None:
        self.tokenizer = Kosmos2Tokenizer.load(checkpoint)
        model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32)
        self.model = model.to(device).eval()
        self.device = device

    @torch.no_grad()
    def see(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Return the embeddings of pictures of any size: (N, 64, width)."""
        embeddings = []
        for start in range(0, len(pictures), BATCH_SIZE):
            some = [picture_bytes(squash(p)) for p in pictures[start : start + BATCH_SIZE]]
            pixels = normalise(torch.stack(some).to(self.device))
            features = picture_features(self.model, pixels)
            embeddings.append(self.model.image_to_text_projection(features)[0])
        return torch.cat(embeddings)

    def answer(
        self,
        image_embeds: Tensor,
        prompts: Sequence[tuple[int, str]],
        no_repeat_ngram_size: int = 0,
    ) -> list[Answer]:
        """Answer prompts, each about the picture with its number.

        Only prompts of equal length share a batch, because `transformers` gives padded rows wrong
        positions.
        """
        encoded = [(picture, self.tokenizer.encode_prompt(text)) for picture, text in prompts]
        answers: dict[int, Answer] = {}
        for members in _of_equal_length([ids for _, ids in encoded]):
            pictures = torch.tensor([encoded[m][0] for m in members], device=self.device)
            ids = torch.tensor([encoded[m][1] for m in members], device=self.device)
            written = self._generate(image_embeds[pictures], ids, no_repeat_ngram_size)
            answers |= dict(zip(members, written, strict=True))
        return [answers[number] for number in range(len(prompts))]

    @torch.no_grad()
    def _generate(self, image_embeds: Tensor, ids: Tensor, ngram_size: int) -> list[Answer]:
        places = torch.zeros_like(ids)
        places[:, FIRST_PLACE : FIRST_PLACE + NUM_IMAGE_TOKENS] = 1
        output = self.model.generate(
            image_embeds=image_embeds,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            image_embeds_position_mask=places,
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            no_repeat_ngram_size=ngram_size,
            return_dict_in_generate=True,
            output_logits=True,
        )
        new = output.sequences[:, ids.shape[1] :]  # (B, new tokens)
        logits = torch.stack(output.logits, dim=1).float()  # (B, new tokens, vocabulary)
        chosen = logits.log_softmax(-1).gather(2, new[..., None]).squeeze(2)
        cells = self.tokenizer.location_token_ids
        best = logits[..., cells.start : cells.stop].softmax(-1).topk(NUM_BEST)
        distributions = [
            list(map(CellDistribution, *row))
            for row in zip(best.indices.cpu().numpy(), best.values.cpu().numpy(), strict=True)
        ]
        rows = zip(ids.tolist(), new.tolist(), chosen.tolist(), distributions, strict=True)
        return [self._read(*row) for row in rows]

    def _read(
        self,
        prompt: list[int],
        new: list[int],
        log_probabilities: list[float],
        distributions: list[CellDistribution],
    ) -> Answer:
        """Return the answer of one row; the last two lists have one entry per new token."""
        corners = [
            (self.tokenizer.patch_ids[token], log_probability, distribution)
            for token, log_probability, distribution in zip(
                new, log_probabilities, distributions, strict=True
            )
            if token in self.tokenizer.patch_ids
        ]
        # An answer that was cut off may end with a single corner.
        pairs = list(zip(corners[::2], corners[1::2], strict=False))
        return Answer(
            parse(self.tokenizer.decode(prompt + new)).cleaned(),
            parse(self.tokenizer.decode(new)).text,
            tuple(math.exp((first[1] + second[1]) / 2) for first, second in pairs),
            tuple(
                localize(sort_corners((first[0], second[0])), first[2], second[2])
                for first, second in pairs
            ),
        )


def _of_equal_length(encoded: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the indices of sequences of equal length, at most `BATCH_SIZE` together."""
    by_length: dict[int, list[int]] = {}
    for number, ids in enumerate(encoded):
        by_length.setdefault(len(ids), []).append(number)
    for numbers in by_length.values():
        for start in range(0, len(numbers), BATCH_SIZE):
            yield numbers[start : start + BATCH_SIZE]
