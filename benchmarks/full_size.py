"""The published size with random weights on the CPU: this service's engine next to its peers.

    python -m benchmarks.full_size [--quick] [--out FOLDER]

Writes a checkpoint of 6.7 GB to `build/benchmarks`, and up to 12 GB more for peers that convert it,
and removes them again; `--quick` uses a tiny one. Every measurement runs in its own process, and
all variants alternate within each repetition.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import torch
from matplotlib.figure import Figure as Plot

from app.model.linear import can_pack
from app.settings import EMBEDDED_CHECKPOINT
from app.supervisor.engine_keeper import engine_environment
from benchmarks.case import QUICK_RESULTS, Case, Figure, Result, Row, log_progress, main
from benchmarks.full_size_times import BATCHES, CLASSES, FullSizeTimes
from benchmarks.plots import draw_bars, panels
from benchmarks.quantised import share_equal_in_int8
from harness.checkpoints import full_size_config, tiny_config, write_random_checkpoint

MIN_EQUAL = 0.975
"""Share of answers equal to float32's, from which on a peer is one to compare with."""
REPETITIONS = 2
_OURS, _PEER = "benchmarks.full_size_ours", "benchmarks.full_size_peer"

Runs = Mapping[str, Sequence[FullSizeTimes]]
"""All repetitions, by the name of the variant."""


@dataclass(frozen=True)
class Variant:
    """A configuration to measure.

    Attributes:
        argument: the last one of the command line, after the checkpoint.
    """

    name: str
    module: str
    argument: str

    def run(self, checkpoint: Path) -> FullSizeTimes:
        """Run one measurement, of this service with the environment of its engine."""
        environment = engine_environment() if self.module == _OURS else {}
        return FullSizeTimes(
            **_last_line(self.module, str(checkpoint), self.argument, environment=environment)
        )


def _ours(name: str, **settings: Any) -> Variant:
    return Variant(name, _OURS, json.dumps(settings))


OURS_INT8 = _ours("this service, int8", quantize="int8")
OURS_FLOAT32 = _ours("this service, float32", dtype="float32")
OURS_BFLOAT16 = _ours("this service, bfloat16", dtype="bfloat16")
GENERATE_FLOAT32 = Variant("generate, float32", _PEER, "float32")
GENERATE_BFLOAT16 = Variant("generate, bfloat16", _PEER, "bfloat16")
GENERATE_INT8 = Variant("generate, int8 (torch, dynamic)", _PEER, "int8")
OPENVINO = [
    Variant(f"OpenVINO, {bits} bits{but}", _PEER, f"openvino-{vision}-{bits}")
    for vision, bits, but in (
        (32, 32, ""),
        (32, 8, ", vision in 32"),
        (8, 4, ", vision in 8"),
    )
]


def _variants() -> list[Variant]:
    """Return the variants that this processor and this installation can run."""
    found = [OURS_INT8, GENERATE_FLOAT32, OURS_FLOAT32, GENERATE_INT8]
    if find_spec("openvino") and find_spec("nncf"):
        found += OPENVINO
    if can_pack(torch.bfloat16):
        found += [OURS_BFLOAT16, GENERATE_BFLOAT16]
    return found


def measure(is_quick: bool) -> Result:
    """Measure all variants (see the module)."""
    config = tiny_config(EMBEDDED_CHECKPOINT) if is_quick else full_size_config()
    runs: dict[str, list[FullSizeTimes]] = defaultdict(list)
    variants = _variants()
    equal = _equal_answers(variants, is_quick)
    QUICK_RESULTS.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=QUICK_RESULTS) as folder:
        log_progress("full size: writing a checkpoint of random weights")
        # A larger gain would, over so many layers, amplify rounding until the signal is lost.
        checkpoint = write_random_checkpoint(
            Path(folder) / "random", config, EMBEDDED_CHECKPOINT, gain=1.0
        )
        for repetition in range(1 if is_quick else REPETITIONS):
            for variant in variants:
                log_progress(f"full size, repetition {repetition + 1}: {variant.name}")
                runs[variant.name].append(variant.run(checkpoint))
        loadings = [_loading(checkpoint) for _ in range(1 if is_quick else 3)]
    # The pair with the median ratio: the disk is shared, and its speed varies between pairs.
    loading = sorted(loadings, key=itemgetter("load_over_read"))[len(loadings) // 2]
    return Result(
        "The published size on the CPU, random weights",
        [_row(name, times, equal[name]) for name, times in runs.items()],
        _figures(runs, equal, loading),
        [
            f"Medians of {len(runs[OURS_INT8.name])} repetitions; 71 tokens of a prompt, and a "
            "new picture for each row. `first` is the time from the pictures to the first tokens "
            "of all rows, `caption` that to their 32nd tokens. A detection by peers grounds all "
            "classes; this service first computes the presence of each, and then the boxes of "
            "three in ten. `equal` is the share of answers on the embedded checkpoint "
            "that equal float32's. `later tasks` is the time to the first token of the 2nd to 7th "
            "task on a picture, relative to the first. Loading the stored float32 from a cold disk "
            f"took {loading['load_s']} s; reading the file once before took {loading['read_s']} s "
            "(the pair with the median ratio)."
        ],
    )


def _last_line(
    module: str, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Run a module; return the JSON in its last line. Libraries may print lines before it."""
    command = [sys.executable, "-m", module, *arguments]
    variables = os.environ | environment
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=variables)
    return json.loads(done.stdout.splitlines()[-1])


def _equal_answers(variants: Sequence[Variant], is_quick: bool) -> dict[str, float | None]:
    """Return each variant's share of answers equal to float32's; `None` where it is not measured.

    In float32, both `generate` and this service have equal answers, as the tests show.
    """
    equal: dict[str, float | None] = dict.fromkeys(variant.name for variant in variants)
    for variant in variants:
        log_progress(f"full size: answers of {variant.name}")
        if variant in (OURS_FLOAT32, GENERATE_FLOAT32):
            equal[variant.name] = 1.0
        elif variant == OURS_INT8:
            equal[variant.name] = share_equal_in_int8(6 if is_quick else 600)
        elif variant.module == _PEER:
            options = ["--quick"] if is_quick else []
            equal[variant.name] = float(
                _last_line("benchmarks.peer_agreement", variant.argument, *options)
            )
    return equal


def _loading(checkpoint: Path) -> dict[str, float]:
    report: dict[str, float] = _last_line("benchmarks.loading", str(checkpoint), "float32")
    return report


def _row(name: str, runs: Sequence[FullSizeTimes], equal: float | None) -> Row:
    first = {f"first at {b}, s": _median_of(runs, "first_token_s", b) for b in BATCHES}
    caption = {f"caption at {b}, s": _median_of(runs, "caption_s", b) for b in BATCHES}
    classes = {
        f"{number} classes, s": _median_of(runs, "detection_s", number) for number in CLASSES
    }
    return {
        "what": name,
        "equal": equal,
        **first,
        **caption,
        "one phrase, s": median(run.phrase_s for run in runs),
        **classes,
        "later tasks": median(run.later_task_share for run in runs),
        "ready s": median(run.load_s for run in runs),
        "peak GB": max(run.peak_bytes for run in runs) / 1e9,
    }


def _median_of(runs: Sequence[FullSizeTimes], name: str, number: int) -> float:
    return median(float(getattr(run, name)[str(number)]) for run in runs)


def _figures(
    runs: Runs, equal: Mapping[str, float | None], loading: Mapping[str, float]
) -> list[Figure]:
    ours, in_float32 = runs[OURS_INT8.name], runs[OURS_FLOAT32.name]
    exact_peers = [
        times
        for name, times in runs.items()
        if not name.startswith("this service") and (equal[name] or 0) >= MIN_EQUAL
    ]
    one, eight = BATCHES
    best_caption = min(_median_of(times, "caption_s", one) for times in exact_peers)
    best_rate = max(
        batch / _median_of(t, "caption_s", batch) for t in exact_peers for batch in BATCHES
    )
    caption = _median_of(ours, "caption_s", one)
    ten = _median_of(ours, "detection_s", CLASSES[0])
    peak = max(run.peak_bytes / run.held_bytes for run in in_float32)
    # The first start writes the 8-bit weights that the later ones read.
    again = median(run.load_s for run in ours[1:] or ours)
    of_exact = f"the best peer with {100 * MIN_EQUAL:g} % equal answers"
    return [
        Figure(f"a caption in int8 over that of {of_exact}", caption / best_caption, at_most=0.8),
        Figure(
            "a caption in float32 over generate's in float32",
            _median_of(in_float32, "caption_s", one)
            / _median_of(runs[GENERATE_FLOAT32.name], "caption_s", one),
            at_most=0.8,
        ),
        Figure(
            f"captions per second at {eight} rows, int8, over {of_exact} at its best batch",
            eight / _median_of(ours, "caption_s", eight) / best_rate,
            at_least=1.2,
        ),
        Figure("10 classes over one phrase, int8", ten / median(run.phrase_s for run in ours)),
        Figure("10 classes over a caption of 32 tokens, int8", ten / caption, at_most=2.5),
        Figure(
            "2nd to 7th task on a picture over the 1st, float32",
            median(run.later_task_share for run in in_float32),
            at_most=0.25,
        ),
        Figure("peak memory, float32, over weights, KV and pictures", peak, at_most=1.15),
        Figure(
            "load over reading the file once, float32, cold", loading["load_over_read"], at_most=1.5
        ),
        Figure(
            "second start in int8, warm-up included, over loading generate's",
            again / median(run.load_s for run in runs[GENERATE_INT8.name]),
            at_most=0.5,
        ),
    ]


def plot(result: Result) -> Plot:
    """Plot the times to the first tokens and of captions, with a group of bars per batch size."""
    figure, axes = panels(2)
    for each, name in zip(axes, ("first", "caption"), strict=True):
        series = {
            str(row["what"]): [float(row[f"{name} at {batch}, s"] or 0) for batch in BATCHES]
            for row in result.rows
        }
        draw_bars(
            each,
            ["1 row" if batch == 1 else f"{batch} rows" for batch in BATCHES],
            series,
            f"{name}, s",
        )
    return figure


CASE = Case("full_size", measure, plot)

if __name__ == "__main__":
    main(CASE)
