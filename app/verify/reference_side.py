"""The child process that answers prompts with `generate` of `transformers`, in float32.

python -m app.verify.reference_side < JOB
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Kosmos2ForConditionalGeneration

from app.checkpoint.files import Checkpoint, read_checkpoint
from app.checkpoint.picture_size import PICTURE_SIDE
from app.engine.device import use_exact_arithmetic
from app.ipc.sampling_limits import DEFAULT_MAX_NEW_TOKENS
from app.verify.jobs import Job, Output, answer_jobs, read_job

_PLACEHOLDERS = slice(2, 66)
"""Positions of the picture's tokens in every prompt."""


def pixel_values(checkpoint: Checkpoint, picture: bytes) -> Tensor:
    """Return a picture as the published processor normalises it, (1, 3, 224, 224) float32."""
    pixels = np.frombuffer(picture, np.uint8).reshape(PICTURE_SIDE, PICTURE_SIDE, 3)
    rescaled = (pixels.astype(np.float64) * (1 / 255)).astype(np.float32)
    mean = np.asarray(checkpoint.image_mean, np.float32)
    std = np.asarray(checkpoint.image_std, np.float32)
    return torch.from_numpy(((rescaled - mean) / std).transpose(2, 0, 1).copy())[None]


@torch.inference_mode()
def generate(model: Kosmos2ForConditionalGeneration, job: Job, key: int, picture: Tensor) -> Output:
    """Answer one prompt alone."""
    prompt = job.prompts[key]
    token_ids = torch.tensor([prompt.token_ids], device=job.device)  # (1, T)
    mask = torch.zeros_like(token_ids)
    mask[:, _PLACEHOLDERS] = 1
    # The ban in a stored configuration is ignored, so each option is passed as an argument.
    ban = {"no_repeat_ngram_size": prompt.ngram_size} if prompt.ngram_size else {}
    result = model.generate(
        pixel_values=picture.to(job.device),
        input_ids=token_ids,
        attention_mask=torch.ones_like(token_ids),
        image_embeds_position_mask=mask,
        max_new_tokens=DEFAULT_MAX_NEW_TOKENS,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
        **ban,
    )
    new = result.sequences[0, token_ids.shape[1] :].tolist()
    logits = tuple(
        float(result.logits[step][0, token_id]) if step < len(new) else float("nan")
        for step, token_id in prompt.logits
    )
    return Output(tuple(new), logits)


def answer(content: dict[str, Any]) -> dict[str, Any]:
    """Return the answers of a job, each computed alone."""
    job = read_job(content)
    use_exact_arithmetic()
    checkpoint = read_checkpoint(job.directory, job.directory.name, None)
    pictures = [pixel_values(checkpoint, picture) for picture in job.pictures]
    model = Kosmos2ForConditionalGeneration.from_pretrained(job.directory, dtype=torch.float32)
    model = model.to(job.device).eval()
    keys = range(len(job.prompts))
    outputs = [generate(model, job, key, pictures[job.prompts[key].picture]) for key in keys]
    return {"alone": [asdict(output) for output in outputs]}


if __name__ == "__main__":
    answer_jobs(answer)
