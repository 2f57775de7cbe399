"""The published size with random weights on one CUDA device: correctness, roofline, throughput.

    python -m benchmarks.gpu [--quick] [--out FOLDER]

Takes less than ten minutes. Without CUDA it exits at once, unless `--quick` is given, which runs a
tiny checkpoint on the CPU.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from matplotlib.figure import Figure as Plot
from torch.profiler import ProfilerActivity, profile

from app.checkpoint.files import Checkpoint, read_checkpoint
from app.engine.cuda_graphs import CudaRecorder
from app.engine.process import build_runner
from app.engine.runner import Runner
from app.engine.sizing import measure_free_bytes
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.settings import EMBEDDED_CHECKPOINT, Settings
from benchmarks.case import QUICK_RESULTS, Case, Figure, Result, Row, log_progress, main
from benchmarks.device_memory import and_free
from benchmarks.gpu_agreement import device_name, measure_agreement
from benchmarks.gpu_captions import captions_per_second
from benchmarks.plots import draw_lines, panels
from benchmarks.rows import RunnerClock, noise_pictures
from harness.checkpoints import full_size_config, tiny_config, write_random_checkpoint

ROWS = (1, 8, 32, 64, 128, 256)
PROMPT = "<grounding> An image of"
# Far larger than the caches of a device, so that the copy measures its memory.
COPIED_BYTES = 2**32
DECODE = "decode, rows"


def measure(is_quick: bool) -> Result:
    """Run all measurements (see the module)."""
    if not (is_quick or torch.cuda.is_available()):
        sys.exit("benchmarks.gpu: torch finds no CUDA device; try --quick, which runs on the CPU")
    config = tiny_config(EMBEDDED_CHECKPOINT) if is_quick else full_size_config()
    QUICK_RESULTS.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=QUICK_RESULTS) as folder:
        log_progress("gpu: writing a checkpoint of random weights")
        directory = Path(folder) / "random"
        write_random_checkpoint(directory, config, EMBEDDED_CHECKPOINT, gain=1.0)
        checkpoint = read_checkpoint(directory, "random", None)
        agreement = measure_agreement(checkpoint, num_requests=3 if is_quick else 24)
        rows, figures = and_free(
            lambda: _measure_engine(
                checkpoint, (1, 2) if is_quick else ROWS, 4 if is_quick else 64, agreement.token_s
            )
        )
        captions = captions_per_second(directory, seconds=1.0 if is_quick else 20.0)
    for half, compared in agreement.halves.items():
        rows += [
            _row(f"{half} answers equal to float32's", 1, compared.share_equal, "share"),
            _row(f"{half} equal to float32 for", 1, compared.mean_prefix, "tokens of 32"),
            _row(f"{half} logits not finite", 1, compared.num_invalid, "tokens"),
        ]
    figures += [
        Figure("float32 answers equal to generate's", agreement.share_equal, at_least=0.99),
        Figure("captions of 32 tokens/s over HTTP, one megapixel", captions.rate, at_least=300),
    ]
    rows += [
        _row("captions over HTTP", captions.clients, captions.rate, "requests/s"),
        _row("pictures of one megapixel decoded", captions.cores, captions.decoded, "pictures/s"),
    ]
    return Result("The published size on a CUDA device, random weights", rows, figures, _notes())


def _measure_engine(
    checkpoint: Checkpoint, numbers: Sequence[int], num_new_tokens: int, generate_token_s: float
) -> tuple[list[Row], list[Figure]]:
    """Decode at each number of rows that fits the device's slots, in its default dtype."""
    runner = build(checkpoint)
    numbers = [number for number in numbers if number <= runner.slots.num_slots]
    prompt = Kosmos2Tokenizer.load(checkpoint.directory).encode_prompt(PROMPT)
    clock = RunnerClock(runner, checkpoint.no_repeat_ngram_size)
    operators = attention_operators(lambda: clock.run([prompt], noise_pictures(1), 2))
    log_progress(f"gpu: {runner.dtype}, {runner.slots.num_slots} slots, attention by {operators}")
    rows = [_row(f"calls of {name}", 1, number, "calls") for name, number in operators.items()]
    if runner.device.type == "cuda":
        rows += _record(runner)
    bandwidth = _bandwidth(runner.device)
    rows.append(_row("bandwidth of a copy", 1, bandwidth / 1e9, "GB/s"))
    step_s = {}
    for number in numbers:
        log_progress(f"gpu: {number} rows")
        times = clock.run([prompt] * number, noise_pictures(number), num_new_tokens)
        step_s[number] = times.step
        rows.append(_row("vision and prefill, rows", number, number / times.first_token, "rows/s"))
        rows.append(_row(DECODE, number, number / times.step, "tokens/s"))
        rows.append(_row("host's time to launch a step", number, median(times.launches), "s"))
    # The mean length of the row over all steps.
    length = len(prompt) + num_new_tokens // 2
    share = _step_bytes(runner, length) / step_s[1] / bandwidth
    many = 64 if 64 in step_s else numbers[-1]
    over_generate = many / step_s[many] * generate_token_s
    rows.append(_row("generate, rows", 1, 1 / generate_token_s, "tokens/s"))
    return rows, [
        Figure("share of the memory roofline, one row", share, at_least=0.6),
        Figure(f"tokens/s at {many} rows over generate's at one", over_generate, at_least=300),
    ]


def build(checkpoint: Checkpoint) -> Runner:
    """Return a runner on the device with as many slots as fit; no pass is recorded yet."""
    settings = Settings(model=str(checkpoint.directory), device=device_name(), recordings=False)
    return build_runner(settings, checkpoint, lambda _: nullcontext())


def _record(runner: Runner) -> list[Row]:
    """Record the passes; return their number, the time and the memory."""
    and_free(lambda: None)  # otherwise recordings release what earlier passes cached
    began, free_bytes = time.perf_counter(), measure_free_bytes(runner.device)
    runner.record_passes(CudaRecorder())
    took_bytes = free_bytes - measure_free_bytes(runner.device)
    return [
        _row("passes recorded", runner.num_recordable, runner.num_recorded, "passes"),
        _row("recording them", runner.num_recorded, time.perf_counter() - began, "s"),
        _row("recording them", runner.num_recorded, took_bytes / 1e9, "GB"),
    ]


def attention_operators(run: Callable[[], object]) -> dict[str, int]:
    """Count the calls of each attention kernel, by the operators that torch chose on the host."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    return {
        event.key.removeprefix("aten::"): event.count
        for event in profiler.key_averages()
        if event.key.startswith("aten::_scaled_dot_product_")
    }


def _bandwidth(device: torch.device) -> float:
    """Return the bytes read and written per second by a copy on the device, the best of ten."""
    source = torch.empty(COPIED_BYTES if device.type == "cuda" else 2**24, dtype=torch.uint8)
    source = source.to(device)
    target = torch.empty_like(source)
    best = min(_seconds(lambda: target.copy_(source)) for _ in range(10))
    # A copy reads and writes each byte.
    return 2 * source.nbytes / best


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        # The host returns before the device has finished.
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _step_bytes(runner: Runner, length: int) -> int:
    """Return the bytes that one step of one row reads: decoder weights, and its keys and values."""
    slots = runner.slots
    per_token = slots.num_bytes // (slots.num_slots * slots.max_length)
    weights = sum(parameter.nbytes for parameter in runner.model.decoder.parameters())
    return weights + length * per_token


def _row(what: str, number: int, value: float, unit: str) -> Row:
    return {"what": what, "number": number, "value": value, "unit": unit}


def _notes() -> list[str]:
    return [
        "The device's default dtype, prompts of 71 tokens, rows about different pictures. The "
        "roofline counts the decoder's weights with the output head, and keys and values, relative "
        f"to the bandwidth of a copy. HTTP: {os.cpu_count()} cores for decoding and all other work."
    ]


def plot(result: Result) -> Plot:
    """Plot tokens per second over the number of rows."""
    figure, (axes,) = panels(1)
    rows = [row for row in result.rows if row["what"] == DECODE]
    numbers = [float(row["number"] or 0) for row in rows]
    series = {"this service": [float(row["value"] or 0) for row in rows]}
    draw_lines(axes, numbers, series, ("rows", "tokens/s"), is_logarithmic=True)
    return figure


CASE = Case("gpu", measure, plot)

if __name__ == "__main__":
    main(CASE)
