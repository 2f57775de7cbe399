"""Runs one full-size measurement of this service's engine, in its own process.

    python -m benchmarks.full_size_ours CHECKPOINT SETTINGS

`SETTINGS` is JSON, as in `app.settings.Settings`. Prints one line of JSON (see `FullSizeTimes`).
"""

import json
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil

from app.checkpoint.calibration import UNCALIBRATED
from app.checkpoint.files import Checkpoint, read_checkpoint
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.grounding.class_prompts import phrase_prompt, presence_prompt
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.settings import Settings
from benchmarks.full_size_times import (
    BATCHES,
    CAPTION_TOKENS,
    CLASSES,
    TASKS,
    TOKENS_OF_A_BOX,
    FullSizeTimes,
)
from benchmarks.memory import peak_resident_bytes
from benchmarks.rows import RunnerClock, noise_pictures
from training.world import COLOURS, SHAPES

PRESENT_SHARE = 0.3
"""Share of the classes whose boxes are computed; random weights would find all or none."""


def measure(checkpoint: Checkpoint, chosen: dict[str, Any]) -> FullSizeTimes:
    """Load the model, then time captions, detections, and seven tasks about one picture."""
    kept = checkpoint.directory.parent / "quantized"  # deleted with the checkpoint
    settings = Settings(
        model=str(checkpoint.directory), slots=max(BATCHES), quantized_cache=kept, **chosen
    )
    # What the imports occupy does not belong to the model.
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    runner = build_runner(settings, checkpoint, lambda _: nullcontext())
    load_s = time.perf_counter() - began
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    tasks = [tokenizer.encode_prompt(task.prompt) for task in TASKS]
    clock = RunnerClock(runner, checkpoint.no_repeat_ngram_size)
    pictures = noise_pictures(sum(BATCHES))
    first_token_s, caption_s = {}, {}
    for batch in BATCHES:
        # A new picture for each row, because a cached one would skip the vision tower.
        shown = [pictures.pop() for _ in range(batch)]
        times = clock.run([tasks[0]] * batch, shown, CAPTION_TOKENS)
        first_token_s[str(batch)], caption_s[str(batch)] = times.first_token, times.seconds
    return FullSizeTimes(
        load_s=load_s,
        first_token_s=first_token_s,
        caption_s=caption_s,
        phrase_s=_phrase_s(clock, tokenizer),
        detection_s={str(number): _detection_s(clock, tokenizer, number) for number in CLASSES},
        later_task_share=_later_task_share(clock, tasks),
        held_bytes=_held_bytes(runner),
        peak_bytes=peak_resident_bytes() - before,
    )


def _phrase_s(clock: RunnerClock, tokenizer: Kosmos2Tokenizer) -> float:
    (picture,) = noise_pictures(1, seed=2)
    prompt = tokenizer.encode_prompt(phrase_prompt(UNCALIBRATED, _class_names(1)[0]))
    return clock.run([prompt], [picture], TOKENS_OF_A_BOX).seconds


def _detection_s(clock: RunnerClock, tokenizer: Kosmos2Tokenizer, num_classes: int) -> float:
    """Return the time of the presence of all classes and the boxes of some, in a new picture."""
    (picture,) = noise_pictures(1, seed=2 + num_classes)
    questions, phrases = (
        [tokenizer.encode_prompt(write(UNCALIBRATED, name)) for name in _class_names(num_classes)]
        for write in (presence_prompt, phrase_prompt)
    )
    num_present = round(PRESENT_SHARE * num_classes)
    passes = [(questions, 1), (phrases[:num_present], TOKENS_OF_A_BOX)]
    return sum(
        clock.run(part, [picture] * len(part), num_tokens).seconds
        for prompts, num_tokens in passes
        for part in _parts(prompts, max(BATCHES))
    )


def _parts(prompts: list[list[int]], size: int) -> list[list[list[int]]]:
    return [prompts[first : first + size] for first in range(0, len(prompts), size)]


def _class_names(number: int) -> list[str]:
    return [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS][:number]


def _later_task_share(clock: RunnerClock, tasks: list[list[int]]) -> float:
    """Return the mean time to the first token of later tasks, relative to the first task."""
    (picture,) = noise_pictures(1, seed=1)
    first, *later = [clock.run([task], [picture], 2).first_token for task in tasks]
    return fmean(later) / first


def _held_bytes(runner: Runner) -> int:
    """Return the size of weights, slots and cached pictures, which must be in memory."""
    return runner.model.num_bytes + runner.slots.num_bytes + runner.pictures.num_bytes


def main() -> None:
    """Measure as the command line requests."""
    directory = Path(sys.argv[1])
    checkpoint = read_checkpoint(directory, directory.name, None)
    times = measure(checkpoint, json.loads(sys.argv[2]))
    print(json.dumps(asdict(times)))


if __name__ == "__main__":
    main()
