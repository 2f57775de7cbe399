"""How cost grows with larger pictures, longer prompts and more rows at once.

    python -m benchmarks.growth [--quick] [--out FOLDER]

Runs in this process on the embedded checkpoint, without queues and clients.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from statistics import median
from time import perf_counter

from matplotlib.figure import Figure as Plot

from app.checkpoint.files import open_checkpoint
from app.engine.process import build_runner
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.pictures.decode import decode_picture
from app.settings import EMBEDDED_CHECKPOINT, Settings
from benchmarks.case import Case, Result, Row, log_progress, main
from benchmarks.plots import draw_lines, panels
from benchmarks.rows import RunnerClock, noise_pictures
from benchmarks.workloads import photograph

MEGAPIXELS = (0.05, 0.2, 1.0, 4.0, 12.0, 40.0)
MAX_PIXELS = 50_000_000
PROMPT_TOKENS = (5, 20, 75, 150, 300)
ROWS = (1, 2, 4, 8, 16, 32, 64)
PICTURE, PROMPT, ROW = "picture, megapixels", "prompt, tokens after the picture", "rows at once"


def measure(is_quick: bool) -> Result:
    """Measure all three quantities (see the module)."""
    repetitions = 1 if is_quick else 7
    rows = (1, 2) if is_quick else ROWS
    settings = Settings(model=str(EMBEDDED_CHECKPOINT), slots=rows[-1])
    checkpoint = open_checkpoint(settings.model)
    runner = build_runner(settings, checkpoint, lambda _: nullcontext())
    clock = RunnerClock(runner, checkpoint.no_repeat_ngram_size)
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    return Result(
        "How cost grows",
        [
            *_pictures((0.05, 1.0) if is_quick else MEGAPIXELS, repetitions),
            *_prompts(clock, tokenizer, (5, 20) if is_quick else PROMPT_TOKENS, repetitions),
            *_rows(clock, tokenizer, rows, num_new_tokens=4 if is_quick else 32),
        ],
        [],
        [
            f"Medians of {repetitions} repetitions. Pictures: decoding and resizing a JPEG. "
            "Prompts: time to the first token with a cached picture. Rows: one more token for all."
        ],
    )


def _pictures(megapixels: Sequence[float], repetitions: int) -> list[Row]:
    rows = []
    for size in megapixels:
        log_progress(f"growth: a picture of {size} megapixels")
        file = photograph(size)
        decode = partial(decode_picture, file, max_pixels=MAX_PIXELS, jpeg_round_trip=False)
        seconds = _median_time(decode, repetitions)
        rows.append(_row(PICTURE, size, seconds, size / seconds))
    return rows


def _prompts(
    clock: RunnerClock, tokenizer: Kosmos2Tokenizer, lengths: Sequence[int], repetitions: int
) -> list[Row]:
    prefix, (picture,) = list(tokenizer.prefix_ids), noise_pictures(1)
    # A word of one token, from which a prompt of any length can be made.
    word = tokenizer.encode_prompt("red")[-1]
    rows = []
    for length in lengths:
        prompt = prefix + [word] * length
        clock.run([prompt], [picture], 2)  # puts the picture into the cache
        times = [clock.run([prompt], [picture], 2) for _ in range(repetitions)]
        seconds = median(each.first_token for each in times)
        rows.append(_row(PROMPT, length, seconds, length / seconds))
    return rows


def _rows(
    clock: RunnerClock, tokenizer: Kosmos2Tokenizer, numbers: Sequence[int], num_new_tokens: int
) -> list[Row]:
    prompt = tokenizer.encode_prompt("<grounding> An image of")
    rows = []
    for number in numbers:
        log_progress(f"growth: {number} rows")
        pictures = noise_pictures(number)
        seconds = clock.run([prompt] * number, pictures, num_new_tokens).step
        rows.append(_row(ROW, number, seconds, number / seconds))
    return rows


def _row(what: str, size: float, seconds: float, rate: float) -> Row:
    return {"what": what, "size": size, "ms": 1000 * seconds, "size per second": rate}


def _median_time(work: Callable[[], object], repetitions: int) -> float:
    times = []
    for _ in range(repetitions):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return median(times)


def plot(result: Result) -> Plot:
    """Plot a panel for each quantity with logarithmic axes: proportional cost is a diagonal."""
    figure, axes = panels(3)
    for each, what in zip(axes, (PICTURE, PROMPT, ROW), strict=True):
        rows = [row for row in result.rows if row["what"] == what]
        sizes = [float(row["size"] or 0) for row in rows]
        times = {"time": [float(row["ms"] or 0) for row in rows]}
        draw_lines(each, sizes, times, (what, "ms"), is_logarithmic=True)
    return figure


CASE = Case("growth", measure, plot)

if __name__ == "__main__":
    main(CASE)
