"""Scenes as tensors: pictures, dense labels, and question-answer pairs packed after a picture.

Every scene depends only on the seed and its number, so a run can stop and resume anywhere.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerFast

from training.degradations import degraded
from training.dense_labels import dense_labels
from training.examples import examples_of
from training.gaze import NOWHERE, Answer, Gazes
from training.model import LATENT_SIDE
from training.scenes import draw_scene, squash
from training.tokenizer import encode, encode_answer
from training.world import Scene, plan_scene

IGNORED = -100
PADDING = -1
"""The segment of unused positions."""
# `examples_of` never ends, but a scene of one object has few different questions.
MAX_EXAMPLES = 60


class Pack(NamedTuple):
    """Pairs of prompt and answer, several in each row; every field is (rows, tokens).

    Attributes:
        ids: the pairs in sequence, without the picture's prefix.
        positions: as if each pair directly followed the prefix.
        segments: the number of a token's pair in its row: 0, 1, …
        labels: the next token if it belongs to an answer, otherwise `IGNORED`.
        mentioned: the objects that a token mentions, as bits (see `training/gaze.py`).
        chosen: the objects of the next tokens of an answer, as bits.
        compared: the object that an answer compares them with, as a bit.
    """

    ids: Tensor
    positions: Tensor
    segments: Tensor
    labels: Tensor
    mentioned: Tensor
    chosen: Tensor
    compared: Tensor


class Batch(NamedTuple):
    """Pictures (B, 224, 224, 3) as bytes, dense labels of patches and latents, and packs."""

    pictures: Tensor
    patch_labels: Tensor
    latent_labels: Tensor
    pack: Pack


@dataclass(frozen=True)
class Packer:
    """Fills `num_rows` rows of `num_tokens` with pairs about one scene."""

    tokenizer: PreTrainedTokenizerFast
    num_prefix_tokens: int
    num_rows: int
    num_tokens: int

    @cached_property
    def gazes(self) -> Gazes:
        """Finds the objects that tokens refer to."""
        return Gazes(self.tokenizer)

    def pack(self, scene: Scene, rng: random.Random) -> Pack:
        """Pack different questions, each in the first row with room, until one does not fit."""
        pack = np.full((7, self.num_rows, self.num_tokens), PADDING, dtype=np.int64)
        pack[0], pack[1], pack[3], pack[4:] = self.tokenizer.pad_token_id, 0, IGNORED, NOWHERE
        ends, asked = [0] * self.num_rows, set[str]()
        for example in islice(examples_of(scene.objects, rng), MAX_EXAMPLES):
            if example.prompt in asked:
                continue
            asked.add(example.prompt)
            prompt = encode(self.tokenizer, example.prompt)
            answer = encode_answer(self.tokenizer, example.answer)
            length = len(prompt) + len(answer)
            row = next((r for r, end in enumerate(ends) if end + length <= self.num_tokens), None)
            if row is None:
                break
            start, ends[row] = ends[row], ends[row] + length
            ids = [*prompt, *answer]
            pack[0, row, start : ends[row]] = ids
            pack[1, row, start : ends[row]] = self.num_prefix_tokens + np.arange(length)
            pack[2, row, start : ends[row]] = len(asked)
            # Shifted by one: each token predicts the next, the last of the prompt the first of the
            # answer.
            pack[3, row, start + len(prompt) - 1 : ends[row] - 1] = answer
            pack[4, row, start : ends[row]] = self.gazes.mentioned(ids, scene.objects)
            about = Answer(len(prompt), example.targets, example.landmark)
            pack[5, row, start : ends[row]] = self.gazes.chosen(ids, scene.objects, about)
            pack[6, row, start : ends[row]] = self.gazes.compared(ids, scene.objects, about)
        return Pack(*torch.from_numpy(pack))


@dataclass(frozen=True)
class TrainingScenes(Dataset[Batch]):
    """Scene number `index` of a seed, drawn, labelled and with questions."""

    seed: int
    patches_per_side: int
    packer: Packer

    def __getitem__(self, index: int) -> Batch:
        rng = random.Random(f"scene {self.seed} {index}")
        scene = plan_scene(rng)
        picture = degraded(draw_scene(scene, rng), rng)
        return Batch(
            picture_bytes(squash(picture)),
            torch.from_numpy(dense_labels(scene.objects, self.patches_per_side)),
            torch.from_numpy(dense_labels(scene.objects, LATENT_SIDE)),
            self.packer.pack(scene, rng),
        )


def picture_bytes(picture: Image.Image) -> Tensor:
    """Return the bytes of a squashed picture, (224, 224, 3)."""
    return torch.from_numpy(np.array(picture))


def batches(
    scenes: TrainingScenes, numbers: Sequence[int], batch_size: int, num_workers: int
) -> DataLoader[Batch]:
    """Return batches of the scenes with these numbers, drawn in background processes."""
    return DataLoader(
        scenes,
        batch_size=batch_size,
        sampler=numbers,
        num_workers=num_workers,
        # PyTorch rejects a factor without workers.
        prefetch_factor=4 if num_workers else None,
    )
