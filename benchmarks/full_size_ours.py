"""Runs one full-size measurement of this service's engine, in its own process.

    python -m benchmarks.full_size_ours CHECKPOINT STEPS SETTINGS

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
from benchmarks.full_size_times import BATCHES, TASKS, FullSizeTimes
from benchmarks.memory import peak_resident_bytes
from benchmarks.rows import RunnerClock, noise_pictures
from training.world import COLOURS

NUM_CLASSES, NUM_PRESENT = 10, 3
TOKENS_OF_A_BOX = 5
"""`<object>`, two cells, `</object>` and the end; random weights would write others, for longer."""


def measure(checkpoint: Checkpoint, num_steps: int, chosen: dict[str, Any]) -> FullSizeTimes:
    """Load the model, then time each batch size, then seven tasks about one picture."""
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
    step_s, first_token_s = {}, {}
    for batch in BATCHES:
        # A new picture for each row, because a cached one would skip the vision tower.
        shown = [pictures.pop() for _ in range(batch)]
        times = clock.run([tasks[0]] * batch, shown, num_steps)
        step_s[str(batch)], first_token_s[str(batch)] = times.step, times.first_token
    phrase_s, ten_classes_s = _detection_times(clock, tokenizer)
    return FullSizeTimes(
        load_s=load_s,
        step_s=step_s,
        first_token_s=first_token_s,
        later_task_share=_later_task_share(clock, tasks),
        held_bytes=_held_bytes(runner),
        peak_bytes=peak_resident_bytes() - before,
        phrase_s=phrase_s,
        ten_classes_s=ten_classes_s,
    )


def _detection_times(clock: RunnerClock, tokenizer: Kosmos2Tokenizer) -> tuple[float, float]:
    """Return the times of one phrase, and of ten classes of which three are in the picture."""
    one, many = noise_pictures(2, seed=2)
    names = [f"{colour} circle" for colour in list(COLOURS)[:NUM_CLASSES]]
    questions, phrases = (
        [tokenizer.encode_prompt(write(UNCALIBRATED, name)) for name in names]
        for write in (presence_prompt, phrase_prompt)
    )
    rows = max(BATCHES)
    parts = [questions[:rows], questions[rows:]]
    asked = sum(clock.run(part, [many] * len(part), 1).seconds for part in parts)
    boxes = clock.run(phrases[:NUM_PRESENT], [many] * NUM_PRESENT, TOKENS_OF_A_BOX)
    return clock.run(phrases[:1], [one], TOKENS_OF_A_BOX).seconds, asked + boxes.seconds


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
    times = measure(checkpoint, int(sys.argv[2]), json.loads(sys.argv[3]))
    print(json.dumps(asdict(times)))


if __name__ == "__main__":
    main()
