"""The answer of `transformers` to a single request, which this service must equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import Kosmos2ForConditionalGeneration
from transformers.generation.logits_process import NoRepeatNGramLogitsProcessor

from app.checkpoint.files import read_checkpoint
from app.checkpoint.picture_size import PICTURE_SIDE
from app.engine.sampling import SamplingRows, noise_keys, race
from app.ipc.engine_messages import SamplingParameters
from app.ipc.pending_request import Prompt

MAX_EXCUSED_GAP = 1e-3
"""Two tokens whose logits differ by less than this are tied in float32."""


@dataclass(frozen=True)
class Verdict:
    """The comparison of an answer with the reference.

    Attributes:
        is_equal: token for token.
        is_excused: the answers differ first at a step where the reference's two best tokens tie.
        gap: the logit difference of those two tokens.
    """

    is_equal: bool
    is_excused: bool = False
    gap: float = 0.0


def channel_values(mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Return the reference processor's value of each byte in each channel: (3, 256) float32.

    Operations, their order and their precision equal those of the processor: rescaling in double
    precision, rounded to single; then mean and deviation in single precision.
    """
    rescaled = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)  # (256,)
    means = np.asarray(mean, dtype=np.float32)[:, None]
    values: np.ndarray = (rescaled[None] - means) / np.asarray(std, dtype=np.float32)[:, None]
    return values


class Reference:
    """The published implementation with one checkpoint, in float32."""

    def __init__(self, directory: Path) -> None:
        self.model = Kosmos2ForConditionalGeneration.from_pretrained(
            directory, dtype=torch.float32
        ).eval()
        checkpoint = read_checkpoint(directory, "", None)
        self._values = torch.from_numpy(channel_values(checkpoint.image_mean, checkpoint.image_std))

    def generate(
        self, token_ids: Sequence[int], pixels: bytes, max_new_tokens: int, ngram_size: int
    ) -> list[int]:
        """Return the new tokens of a greedy answer."""
        prompt = torch.tensor([token_ids])
        options = {"no_repeat_ngram_size": ngram_size} if ngram_size else {}
        output = self.model.generate(
            pixel_values=self._pixel_values(pixels),
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            image_embeds_position_mask=_picture_mask(prompt),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            **options,
        )
        new: list[int] = output[0, len(token_ids) :].tolist()
        return new

    def judge(
        self,
        answer: Sequence[int],
        expected: Sequence[int],
        token_ids: Sequence[int],
        pixels: bytes,
        ngram_size: int,
    ) -> Verdict:
        """Compare an answer with that of `generate`; a difference at a tie of logits is excused."""
        if list(answer) == list(expected):
            return Verdict(is_equal=True)
        pairs = zip(answer, expected, strict=False)
        step = next((i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
        if step is None:  # one answer is longer
            return Verdict(is_equal=False)
        history = [*token_ids, *expected[:step]]
        best, second = self.logits(history, pixels, ngram_size).topk(2).values.tolist()
        gap = best - second
        return Verdict(is_equal=False, is_excused=gap < MAX_EXCUSED_GAP, gap=gap)

    def margin(
        self, prompt: Prompt, sampling: SamplingParameters, new_token_ids: Sequence[int]
    ) -> float:
        """Return the gap between the two best tokens, in the race if sampled, or in the logits."""
        history = [*prompt.token_ids, *new_token_ids]
        logits = self.logits(history, prompt.pixels, sampling.no_repeat_ngram_size)[None]
        if sampling.temperature > 0:
            keys = noise_keys(sampling.seed, len(new_token_ids) + 1)[-1:]
            rows = SamplingRows(
                torch.tensor([sampling.temperature]),
                torch.tensor([sampling.top_k]),
                torch.tensor([sampling.top_p], dtype=torch.float64),
                torch.from_numpy(keys.astype(np.int64)),
            )
            logits = race(logits, rows)
        best, second = logits[0].topk(2).values.tolist()
        return float(best - second)

    @torch.inference_mode()
    def logits(self, token_ids: Sequence[int], pixels: bytes, ngram_size: int) -> torch.Tensor:
        """Return the logits of the next token, (V,) float32, −∞ for banned ones."""
        prompt = torch.tensor([token_ids])
        logits = self.model(
            pixel_values=self._pixel_values(pixels),
            input_ids=prompt,
            image_embeds_position_mask=_picture_mask(prompt),
            use_cache=False,
            logits_to_keep=1,
        ).logits[:, -1]
        if ngram_size:
            logits = NoRepeatNGramLogitsProcessor(ngram_size)(prompt, logits)
        of_last: torch.Tensor = logits[0]
        return of_last

    def _pixel_values(self, pixels: bytes) -> torch.Tensor:
        picture = np.frombuffer(pixels, dtype=np.uint8).reshape(PICTURE_SIDE, PICTURE_SIDE, 3)
        indices = torch.from_numpy(picture.astype(np.int64))
        channels = [values[indices[..., c]] for c, values in enumerate(self._values)]
        return torch.stack(channels)[None]


def _picture_mask(prompt: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros_like(prompt)
    # The picture's tokens are at positions 2 to 65 of every prompt.
    mask[:, 2:66] = 1
    return mask
