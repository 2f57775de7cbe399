"""Times `generate` on a checkpoint: `python -m training.measure_cost`."""

import argparse
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from training.command_line import errors_in_one_line

PROMPT = "<grounding> An image of"
NUM_RUNS = 20
NUM_TOKENS = 33


def seconds_to_generate(checkpoint: Path, picture: Path, num_tokens: int) -> float:
    """Return the shortest time to generate exactly `num_tokens` about a picture, in float32.

    The shortest time has the least disturbance by other programs.
    """
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(checkpoint, backend="pil")
    inputs = processor(text=PROMPT, images=Image.open(picture), return_tensors="pt")
    times = []
    for _ in range(NUM_RUNS):
        began = time.perf_counter()
        # The end token must not end a run early.
        model.generate(**inputs, min_new_tokens=num_tokens, max_new_tokens=num_tokens)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Print the time of vision and prefill, and the time of one more token."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("app/demo"))
    with errors_in_one_line():
        measure(parser.parse_args().checkpoint)


def measure(checkpoint: Path) -> None:
    """Print both times of a checkpoint."""
    picture = checkpoint / "scenes" / "six_shapes.jpg"
    first = seconds_to_generate(checkpoint, picture, 1)
    whole = seconds_to_generate(checkpoint, picture, NUM_TOKENS)
    print(f"vision and prefill, with the first token: {first * 1e3:.1f} ms")
    print(f"each further token: {(whole - first) / (NUM_TOKENS - 1) * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
