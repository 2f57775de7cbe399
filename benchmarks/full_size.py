"""The published size with random weights on the CPU: this service's engine next to `generate`.

    python -m benchmarks.full_size [--quick] [--out FOLDER]

Writes a checkpoint of 6.7 GB to `build/benchmarks` and removes it again; `--quick` uses a tiny one.
Every measurement runs in its own process, and all variants alternate within each repetition.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.figure import Figure as Plot

from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import QUICK_RESULTS, Case, Figure, Result, Row, log_progress, main
from benchmarks.full_size_times import BATCHES, FullSizeTimes
from benchmarks.plots import draw_bars, panels
from harness.checkpoints import full_size_config, tiny_config, write_random_checkpoint

Runs = Mapping[str, Sequence[FullSizeTimes]]
"""All repetitions, by the name of the variant."""


@dataclass(frozen=True)
class Variant:
    """A configuration to measure.

    Attributes:
        argument: the last one of the command line, after checkpoint and steps.
    """

    name: str
    module: str
    argument: str

    def run(self, checkpoint: Path, num_steps: int) -> FullSizeTimes:
        """Run one measurement."""
        command = [sys.executable, "-m", self.module, str(checkpoint), str(num_steps)]
        done = subprocess.run(
            [*command, self.argument], stdout=subprocess.PIPE, text=True, check=True
        )
        # Libraries may print lines before the report.
        return FullSizeTimes(**json.loads(done.stdout.splitlines()[-1]))


def _ours(name: str, **settings: Any) -> Variant:
    return Variant(name, "benchmarks.full_size_ours", json.dumps(settings))


OURS_FLOAT32 = _ours("this service, float32", dtype="float32")
OURS_BFLOAT16 = _ours("this service, bfloat16", dtype="bfloat16")
OURS_INT8 = _ours("this service, int8", quantize="int8")
OURS_BOTH = _ours("this service, int8 and bfloat16", quantize="int8", dtype="bfloat16")
GENERATE_BFLOAT16 = Variant("generate, bfloat16", "benchmarks.full_size_peer", "bfloat16")
GENERATE_INT8 = Variant("generate, int8 (torch, dynamic)", "benchmarks.full_size_peer", "int8")
VARIANTS = (
    OURS_INT8,
    OURS_BFLOAT16,
    GENERATE_BFLOAT16,
    OURS_BOTH,
    GENERATE_INT8,
    OURS_FLOAT32,
)


def measure(is_quick: bool) -> Result:
    """Measure all variants (see the module)."""
    config = tiny_config(EMBEDDED_CHECKPOINT) if is_quick else full_size_config()
    runs: dict[str, list[FullSizeTimes]] = defaultdict(list)
    QUICK_RESULTS.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=QUICK_RESULTS) as folder:
        log_progress("full size: writing a checkpoint of random weights")
        # A larger gain would, over so many layers, amplify rounding until the signal is lost.
        checkpoint = write_random_checkpoint(
            Path(folder) / "random", config, EMBEDDED_CHECKPOINT, gain=1.0
        )
        for repetition in range(1 if is_quick else 3):
            for variant in VARIANTS:
                log_progress(f"full size, repetition {repetition + 1}: {variant.name}")
                runs[variant.name].append(variant.run(checkpoint, 4 if is_quick else 24))
        loadings = [_loading(checkpoint) for _ in range(1 if is_quick else 3)]
    # The pair with the median ratio: the disk is shared, and its speed varies between pairs.
    loading = sorted(loadings, key=itemgetter("load_over_read"))[len(loadings) // 2]
    return Result(
        "The published size on the CPU, random weights",
        [_row(name, times) for name, times in runs.items()],
        _figures(runs, loading),
        [
            f"Medians of {len(runs[OURS_BFLOAT16.name])} repetitions. A prompt of 71 tokens, rows "
            "about different pictures. `token` is the time of one more token for every row; "
            "`first` the time from the pictures to the first tokens of all rows; `later tasks` the "
            "time to the first token of the 2nd to 7th task on a picture, relative to the first; "
            "`10 classes` the presence of ten classes and the boxes of three, without HTTP. "
            f"Loading the stored float32 from a cold disk took {loading['load_s']} s; reading the "
            f"file once before took {loading['read_s']} s (the pair with the median ratio)."
        ],
    )


def _loading(checkpoint: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.loading", str(checkpoint), "float32"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    report: dict[str, float] = json.loads(done.stdout)
    return report


def _row(name: str, runs: Sequence[FullSizeTimes]) -> Row:
    tokens = {f"token at {b}, s": _median_of(runs, "step_s", b) for b in BATCHES}
    first = {f"first at {b}, s": _median_of(runs, "first_token_s", b) for b in BATCHES}
    return {
        "what": name,
        **tokens,
        **first,
        "caption of 32 tokens, s": _caption_of(runs),
        "10 classes, s": median(run.ten_classes_s for run in runs) or None,
        "later tasks": median(run.later_task_share for run in runs),
        "ready s": median(run.load_s for run in runs),
        "peak GB": max(run.peak_bytes for run in runs) / 1e9,
    }


def _caption_of(runs: Sequence[FullSizeTimes]) -> float:
    return _median_of(runs, "first_token_s", 1) + 31 * _median_of(runs, "step_s", 1)


def _median_of(runs: Sequence[FullSizeTimes], name: str, batch: int) -> float:
    return median(float(getattr(run, name)[str(batch)]) for run in runs)


def _figures(runs: Runs, loading: Mapping[str, float]) -> list[Figure]:
    ours, theirs = runs[OURS_BFLOAT16.name], runs[GENERATE_BFLOAT16.name]
    token_ratio = _median_of(ours, "step_s", 1) / _median_of(theirs, "step_s", 1)
    int8_ratio = _median_of(runs[OURS_INT8.name], "step_s", 1) / _median_of(theirs, "step_s", 1)
    both_ratio = _median_of(runs[OURS_BOTH.name], "step_s", 1) / _median_of(theirs, "step_s", 1)
    first_ratio = _median_of(ours, "first_token_s", 1) / _median_of(theirs, "first_token_s", 1)
    later = median(run.later_task_share for run in ours)
    peak = max(run.peak_bytes / run.held_bytes for run in ours)
    int8 = runs[OURS_INT8.name]
    classes = median(run.ten_classes_s for run in int8)
    classes_ratio = classes / median(run.phrase_s for run in int8)
    classes_share = classes / _caption_of(int8)
    load_ratio = loading["load_over_read"]
    # The first start of each variant writes the 8-bit weights that the later ones read.
    again = median(run.load_s for run in int8[1:] or int8)
    start_ratio = again / median(run.load_s for run in runs[GENERATE_INT8.name])
    return [
        Figure("time per token, int8, over generate's in bfloat16", int8_ratio, at_most=0.3),
        Figure("the same, the rest of it in bfloat16 too", both_ratio, at_most=0.3),
        Figure("time per token, bfloat16, over generate's", token_ratio, at_most=0.85),
        Figure("vision and prefill, bfloat16, over generate's", first_ratio, at_most=0.8),
        Figure("10 classes, of which 3 are present, over one phrase, int8", classes_ratio),
        Figure("10 classes over a caption of 32 tokens, int8", classes_share, at_most=2.5),
        Figure("2nd to 7th task on a picture over the 1st", later, at_most=0.25),
        Figure("peak memory, bfloat16, over weights, KV and pictures", peak, at_most=1.15),
        Figure("load over reading the file once, float32, cold", load_ratio, at_most=1.5),
        Figure(
            "second start in int8, warm-up included, over loading generate's",
            start_ratio,
            at_most=0.5,
        ),
    ]


def plot(result: Result) -> Plot:
    """Plot the times per token and to the first tokens, with a group of bars per batch size."""
    figure, axes = panels(2)
    for each, name in zip(axes, ("token", "first"), strict=True):
        series = {
            str(row["what"]): [float(row[f"{name} at {batch}, s"] or 0) for batch in BATCHES]
            for row in result.rows
        }
        draw_bars(each, [f"{batch} rows" for batch in BATCHES], series, f"{name}, s")
    return figure


CASE = Case("full_size", measure, plot)

if __name__ == "__main__":
    main(CASE)
