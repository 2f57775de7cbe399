"""The training loop: two stages of one schedule, resumable at every saved state."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import Kosmos2ForConditionalGeneration

from training.data import Batch, Pack, TrainingScenes, batches
from training.decoder import answer_states
from training.dense_labels import MIDDLE
from training.gaze import gaze_loss
from training.losses import DenseHeads, dense_loss, language_loss
from training.model import picture_features
from training.pictures import normalise
from training.team import Team

LOGGER = logging.getLogger(__name__)
ALONE = Team()
GAZING_HEADS = (1, 0), (2, 0), (2, 1)
"""Supervised layers and heads; after layer 0, the state of a noun includes its colour."""


@dataclass(frozen=True)
class Schedule:
    """A training run, in steps.

    Attributes:
        vision_steps: stage 1, dense labels only.
        joint_steps: stage 2, dense labels and answers.
        cooldown_steps: the last steps, in which the learning rate falls to zero.
        batch_size: pictures per step.
        learning_rate: the highest value, between warm-up and cool-down.
        warmup_steps: the first steps, in which the learning rate rises.
        softness: of the location targets at the start of stage 2, in cells.
        soft_steps: from the start of stage 2 until the location targets are hard.
        dense_weight: of the dense labels and the attention targets in stage 2.
        save_every: steps between saved states.
    """

    vision_steps: int
    joint_steps: int
    cooldown_steps: int = 1200
    batch_size: int = 16
    learning_rate: float = 1.2e-3
    warmup_steps: int = 200
    softness: float = 0.8
    soft_steps: int = 1200
    dense_weight: float = 0.5
    save_every: int = 250

    @property
    def num_steps(self) -> int:
        """The steps of both stages."""
        return self.vision_steps + self.joint_steps

    def is_joint(self, step: int) -> bool:
        """Return whether stage 2 has begun."""
        return step >= self.vision_steps

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate: a linear rise, a plateau, a linear fall.

        Only the fall depends on the number of steps, so a run can be extended while it trains.
        """
        warmth = (step + 1) / self.warmup_steps
        rest = (self.num_steps - step) / self.cooldown_steps
        return self.learning_rate * min(1.0, warmth, rest)

    def softness_at(self, step: int) -> float:
        """Return the softness, which falls to zero: soft targets would limit perfect scores."""
        return self.softness * max(0.0, 1 - (step - self.vision_steps) / self.soft_steps)


class Lesson(nn.Module):
    """The model with its heads for training, and the loss of a batch."""

    def __init__(
        self,
        model: Kosmos2ForConditionalGeneration,
        prefix: Sequence[int],
        kind_words: Sequence[int],
        first_cell: int,
        schedule: Schedule,
    ) -> None:
        """`kind_words` are the ids of the colours' and the shapes' words."""
        super().__init__()
        self.model = model
        self.heads = DenseHeads(
            model.config.vision_config.hidden_size, model.config.text_config.embed_dim
        )
        self.prefix = prefix
        self.kind_words = list(kind_words)
        self.first_cell = first_cell
        self.schedule = schedule

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return every part of the loss; stage 1 omits the language."""
        features = picture_features(self.model, normalise(batch.pictures))
        latents = self.model.image_to_text_projection(features)[0]
        words = self.model.get_input_embeddings().weight
        of_patches, of_latents = self.heads(features[:, 1:], latents, words[self.kind_words])
        parts = {
            **{f"patch_{k}": v for k, v in dense_loss(of_patches, batch.patch_labels).items()},
            **{f"latent_{k}": v for k, v in dense_loss(of_latents, batch.latent_labels).items()},
        }
        if self.schedule.is_joint(step):
            states, attentions = answer_states(self.model, self.prefix, latents, batch.pack)
            parts |= self._gaze(attentions, batch)
            parts |= language_loss(
                states,
                words,
                batch.pack.labels.flatten(0, 1),
                self.first_cell,
                self.schedule.softness_at(step),
            )
        return parts

    def _gaze(self, attentions: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Supervise one head for mentioned objects, two in the next layer for the answer's."""
        middles = batch.latent_labels[..., MIDDLE].repeat_interleave(batch.pack.ids.shape[1], dim=0)
        mentioned, chosen, compared = (field.flatten(0, 1) for field in batch.pack[4:])
        finding, telling, comparing = (attentions[layer][:, head] for layer, head in GAZING_HEADS)
        return {
            "gaze_mentioned": gaze_loss(finding, mentioned, middles, with_nothing=True),
            "gaze_chosen": gaze_loss(telling, chosen, middles, with_nothing=False),
            "gaze_compared": gaze_loss(comparing, compared, middles, with_nothing=False),
        }

    def total(self, parts: dict[str, Tensor], step: int) -> Tensor:
        """Return the weighted sum of the parts."""
        weights = dict.fromkeys(("patch", "latent", "gaze"), self.schedule.dense_weight)
        # Stage 1 has no other loss that dense labels could outweigh.
        if not self.schedule.is_joint(step):
            weights = {}
        weighted = [weights.get(name.split("_")[0], 1.0) * part for name, part in parts.items()]
        return torch.stack(weighted).sum()


class Trainer:
    """Runs a schedule and saves its state every few hundred steps."""

    def __init__(
        self,
        lesson: Lesson,
        scenes: dict[bool, TrainingScenes],
        state: Path,
        team: Team = ALONE,
    ) -> None:
        """Continue from `state` if the file exists. The keys of `scenes` are `is_joint`."""
        self.lesson = lesson
        self.schedule = lesson.schedule
        self.scenes = scenes
        self.state = state
        self.team = team
        self.step = 0
        self.device = next(lesson.parameters()).device
        # A processor without instructions for it is ten times slower than in float32.
        self.in_bfloat16 = self.device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        self.optimizer = AdamW(
            lesson.parameters(),
            lr=self.schedule.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=0.02,
        )
        if state.exists():
            self._load()

    def run(self, until: int | None = None, num_workers: int = 1) -> None:
        """Train up to step `until`, or to the end of the schedule."""
        end = self.schedule.num_steps if until is None else until
        for first, last in self._stretches(end):
            scenes = self.scenes[self.schedule.is_joint(first)]
            size = self.schedule.batch_size
            share = self.team.share(size)
            numbers = [step * size + index for step in range(first, last) for index in share]
            for batch in batches(scenes, numbers, len(share), num_workers):
                self._learn(batch)
                if self.step % self.schedule.save_every == 0 or self.step == end:
                    self.save()

    def _stretches(self, end: int) -> list[tuple[int, int]]:
        """Return the remaining steps of each stage, as start and end."""
        # Each stage reads its own scenes, so no batch may span both.
        middle = max(self.step, min(self.schedule.vision_steps, end))
        return [(a, b) for a, b in ((self.step, middle), (middle, end)) if a < b]

    def _learn(self, batch: Batch) -> None:
        began = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate_at(self.step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            parts = self.lesson(to_device(batch, self.device), self.step)
        self.optimizer.zero_grad()
        torch.autograd.backward(self.lesson.total(parts, self.step))
        self.team.average_gradients(self.lesson.parameters())
        nn.utils.clip_grad_norm_(self.lesson.parameters(), 1.0)
        self.optimizer.step()
        if self.step % 50 == 0 and self.team.is_leader:
            losses = " ".join(f"{name} {part.item():.3f}" for name, part in parts.items())
            LOGGER.info("step %d %.2f s %s", self.step, time.perf_counter() - began, losses)
        self.step += 1

    def save(self) -> None:
        """Write the whole state; a crash while writing keeps the old one."""
        if not self.team.is_leader:
            return
        self.state.parent.mkdir(parents=True, exist_ok=True)
        partial = self.state.with_suffix(".partial")
        torch.save(
            {
                "step": self.step,
                "lesson": self.lesson.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
            partial,
        )
        partial.replace(self.state)

    def _load(self) -> None:
        # Only tensors and numbers are stored, so no other pickled object needs to be trusted.
        stored = torch.load(self.state, map_location=self.device, weights_only=True)
        self.step = stored["step"]
        self.lesson.load_state_dict(stored["lesson"])
        self.optimizer.load_state_dict(stored["optimizer"])


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on another device."""
    pictures, patch_labels, latent_labels, pack = batch
    return Batch(
        pictures.to(device),
        patch_labels.to(device),
        latent_labels.to(device),
        Pack(*(field.to(device) for field in pack)),
    )
