"""Answers prompts with `transformers` alone: greedy, float32, in batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText

from app.checkpoint.calibration import UNCALIBRATED, Calibration
from app.checkpoint.files import read_calibration
from app.engine.cells import NUM_BEST
from app.grounding.boxes import CellPair, sort_corners
from app.grounding.localization import CellDistribution, Localization, localize
from app.grounding.markup import ParsedMarkup, parse
from app.grounding.tokenizer import Kosmos2Tokenizer
from training.data import picture_bytes
from training.gaze import FIRST_IMAGE_TOKEN, NUM_IMAGE_TOKENS
from training.model import picture_features
from training.pictures import normalise
from training.scenes import squash

MAX_NEW_TOKENS = 192
BATCH_SIZE = 64

Result = TypeVar("Result")


@dataclass(frozen=True)
class GeneratedBox:
    """The two location tokens of a box.

    Attributes:
        pair: their cells, in the order of the corners.
        score: the geometric mean of their probabilities.
    """

    pair: CellPair
    score: float
    upper_left: CellDistribution
    lower_right: CellDistribution

    def localize(self, calibration: Calibration) -> Localization:
        """Return the refined box and its confidence, as the service computes them."""
        return localize(self.pair, self.upper_left, self.lower_right, calibration)


@dataclass(frozen=True)
class Answer:
    """The model's output for a prompt.

    Attributes:
        parsed: prompt and answer, as the service parses them.
        text: the answer alone, without tags.
        boxes: those of the answer, in order.
        calibration: for their refined boxes.
    """

    parsed: ParsedMarkup
    text: str
    boxes: tuple[GeneratedBox, ...]
    calibration: Calibration = UNCALIBRATED

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores of the answer's boxes."""
        return tuple(box.score for box in self.boxes)

    @cached_property
    def refined(self) -> tuple[Localization, ...]:
        """The refined boxes of the answer, with their confidence."""
        return tuple(box.localize(self.calibration) for box in self.boxes)


class Answerer:
    """Answers prompts with a loaded checkpoint.

    Args:
        checkpoint: a directory; its calibration applies if it has one.
    """

    def __init__(self, checkpoint: Path, device: str = "cpu") -> None:
        self.tokenizer = Kosmos2Tokenizer.load(checkpoint)
        self.calibration = read_calibration(checkpoint)
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

        def answer_batch(embeds: Tensor, ids: Tensor) -> list[Answer]:
            new, logits = self._generate(embeds, ids, MAX_NEW_TOKENS, no_repeat_ngram_size)
            return self._read_batch(ids, new, logits)

        return self._in_batches(image_embeds, prompts, answer_batch)

    def first_token_log_probabilities(
        self, image_embeds: Tensor, prompts: Sequence[tuple[int, str]], token_ids: Sequence[int]
    ) -> list[list[float]]:
        """Return, per prompt, the log probability of each token as the first one of the answer."""

        def probe_batch(embeds: Tensor, ids: Tensor) -> list[list[float]]:
            _, logits = self._generate(embeds, ids, max_new_tokens=1)
            rows: list[list[float]] = logits[:, 0].log_softmax(-1)[:, list(token_ids)].tolist()
            return rows

        return self._in_batches(image_embeds, prompts, probe_batch)

    def _in_batches(
        self,
        image_embeds: Tensor,
        prompts: Sequence[tuple[int, str]],
        run_batch: Callable[[Tensor, Tensor], list[Result]],
    ) -> list[Result]:
        """Return the result of each prompt, in their order; prompts of equal length run together.

        Args:
            run_batch: returns the results of B prompts from their pictures' embeddings and ids.
        """
        encoded = [(picture, self.tokenizer.encode_prompt(text)) for picture, text in prompts]
        results: dict[int, Result] = {}
        for members in _of_equal_length([ids for _, ids in encoded]):
            pictures = torch.tensor([encoded[m][0] for m in members], device=self.device)
            ids = torch.tensor([encoded[m][1] for m in members], device=self.device)
            results |= dict(zip(members, run_batch(image_embeds[pictures], ids), strict=True))
        return [results[number] for number in range(len(prompts))]

    @torch.no_grad()
    def _generate(
        self, image_embeds: Tensor, ids: Tensor, max_new_tokens: int, ngram_size: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Return the new tokens, (B, T), and their logits, (B, T, vocabulary)."""
        is_picture = torch.zeros_like(ids)
        is_picture[:, FIRST_IMAGE_TOKEN : FIRST_IMAGE_TOKEN + NUM_IMAGE_TOKENS] = 1
        output = self.model.generate(
            image_embeds=image_embeds,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            image_embeds_position_mask=is_picture,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            no_repeat_ngram_size=ngram_size,
            return_dict_in_generate=True,
            output_logits=True,
        )
        logits = torch.stack(output.logits, dim=1).float()  # (B, T, vocabulary)
        return output.sequences[:, ids.shape[1] :], logits

    def _read_batch(self, ids: Tensor, new: Tensor, logits: Tensor) -> list[Answer]:
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
        boxes = []
        # An answer that was cut off may end with a single corner.
        for first, second in zip(corners[::2], corners[1::2], strict=False):
            pair = sort_corners((first[0], second[0]))
            score = math.exp((first[1] + second[1]) / 2)
            boxes.append(GeneratedBox(pair, score, first[2], second[2]))
        return Answer(
            parse(self.tokenizer.decode(prompt + new)).cleaned(),
            parse(self.tokenizer.decode(new)).text,
            tuple(boxes),
            self.calibration,
        )


def _of_equal_length(encoded: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the indices of sequences of equal length, at most `BATCH_SIZE` together."""
    by_length: dict[int, list[int]] = {}
    for number, ids in enumerate(encoded):
        by_length.setdefault(len(ids), []).append(number)
    for numbers in by_length.values():
        for start in range(0, len(numbers), BATCH_SIZE):
            yield numbers[start : start + BATCH_SIZE]
