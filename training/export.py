"""Writes a trained model as a checkpoint for `transformers`: half precision, with processor."""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import Kosmos2ForConditionalGeneration, PreTrainedTokenizerFast

from app.checkpoint.picture_size import PICTURE_SIDE
from training.pictures import MEAN, STD

IMAGE_SETTINGS = {
    "crop_size": {"height": PICTURE_SIDE, "width": PICTURE_SIDE},
    # The whole picture is squashed, because boxes refer to all of it.
    "do_center_crop": False,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": list(MEAN),
    "image_processor_type": "CLIPImageProcessor",
    "image_std": list(STD),
    "resample": 3,  # bicubic
    "rescale_factor": 1 / 255,
    "size": {"height": PICTURE_SIDE, "width": PICTURE_SIDE},
}


def export(
    model: Kosmos2ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, directory: Path
) -> None:
    """Replace the checkpoint's files in `directory`; other files stay."""
    with tempfile.TemporaryDirectory() as temporary:
        staging = Path(temporary)
        model.to(torch.float16).save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        _write_json(staging / "processor_config.json", _processor_settings())
        _write_json(staging / "generation_config.json", _generation_settings(tokenizer))
        directory.mkdir(parents=True, exist_ok=True)
        for file in sorted(staging.iterdir()):
            shutil.copyfile(file, directory / file.name)  # temporary files have private modes


def _processor_settings() -> dict[str, object]:
    return {
        "image_processor": IMAGE_SETTINGS,
        "num_patch_index_tokens": 1024,
        "processor_class": "Kosmos2Processor",
    }


def _generation_settings(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    """Return greedy settings that allow repeated n-grams, such as `circle</phrase><object>`."""
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "do_sample": False,
        "eos_token_id": tokenizer.eos_token_id,
        "max_new_tokens": 128,
        "no_repeat_ngram_size": 0,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
