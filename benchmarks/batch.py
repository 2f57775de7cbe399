"""What `batch` costs: through the service, with an engine of its own, and on Ray.

    python -m benchmarks.batch [--quick] [--out FOLDER]

Each way runs a folder of pictures. Its rate is that of the last three quarters, so that starts do
not count. Every picture is new, and the task is a brief caption. As many pictures are sent at once
as the service lets batch requests run together: three quarters of its slots.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from matplotlib.figure import Figure as Plot

from app.bench.loops import Bounds
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.case import Case, Figure, Result, log_progress, main
from benchmarks.contestants import running, service
from benchmarks.loads import put_closed_load
from benchmarks.plots import draw_bars, panels
from benchmarks.workloads import captions, scenes

CLIENTS = 24
POLL_S = 0.05
CLOSED_LOOP, CLIENT = "closed loop over HTTP", "kosmos2-client batch"
OWN_ENGINE, ONE_ACTOR, TWO_ACTORS = "kosmos2 batch", "Ray, one actor", "Ray, two actors"
OURS = service(picture_cache_bytes=0)


def measure(is_quick: bool) -> Result:
    """Measure each way in turn, so that a machine that slows down affects all."""
    pictures = scenes(16 if is_quick else 900)
    rates: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        _write(Path(folder), pictures)
        for repetition in range(1 if is_quick else 5):
            for name, rate in _ways(pictures, Path(folder)).items():
                log_progress(f"batch, repetition {repetition + 1}: {name}")
                rates.setdefault(name, []).append(rate())
    medians = {name: median(measured) for name, measured in rates.items()}
    return Result(
        "Batches of captions: through the service, in one process, on Ray",
        [
            {
                "way": name,
                "pictures/s": medians[name],
                "range": f"{min(measured):.3g}…{max(measured):.3g}",
            }
            for name, measured in rates.items()
        ],
        list(_figures(medians)),
        [f"{len(pictures)} pictures, at most {CLIENTS} at once; no pictures are cached."],
    )


def _figures(rates: Mapping[str, float]) -> Sequence[Figure]:
    over_loop = rates[CLIENT] / rates[CLOSED_LOOP]
    figures = [
        Figure("x, kosmos2-client batch over the closed loop", over_loop, at_least=0.95),
        Figure("x, kosmos2 batch over the service", rates[OWN_ENGINE] / rates[CLIENT]),
    ]
    if TWO_ACTORS in rates:
        figures.append(Figure("x, two Ray actors over one", rates[TWO_ACTORS] / rates[ONE_ACTOR]))
    return figures


def _write(folder: Path, pictures: Sequence[bytes]) -> None:
    for number, picture in enumerate(pictures):
        (folder / f"{number}.jpg").write_bytes(picture)


def _ways(pictures: Sequence[bytes], folder: Path) -> dict[str, Callable[[], float]]:
    own = [sys.executable, "-m", "app.commands.cli", "batch"]
    ways: dict[str, Callable[[], float]] = {
        CLOSED_LOOP: partial(_rate_of_loop, pictures),
        CLIENT: partial(_rate_through_service, folder),
        OWN_ENGINE: partial(_rate, own, folder),
    }
    if find_spec("ray") is not None:
        for name, actors in ((ONE_ACTOR, 1), (TWO_ACTORS, 2)):
            on_ray = ["--ray", "local", "--ray-cores", "1", "--ray-engines", str(actors)]
            ways[name] = partial(_rate, [*own, *on_ray], folder)
    return ways


def _rate_of_loop(pictures: Sequence[bytes]) -> float:
    with running(OURS, EMBEDDED_CHECKPOINT) as url:
        bounds = Bounds(num_requests=len(pictures))
        samples = put_closed_load(url, captions(pictures), CLIENTS, bounds)
    ended = sorted(sample.intended_s + sample.latency_s for sample in samples if sample.is_good)
    return _steady_rate(ended)


def _rate_through_service(folder: Path) -> float:
    with running(OURS, EMBEDDED_CHECKPOINT) as url:
        command = [sys.executable, "-m", "kosmos2_client.cli", "batch", "--url", url]
        return _rate(command, folder)


def _rate(command: Sequence[str], folder: Path) -> float:
    """Return pictures per second of a command that writes a run file."""
    options = ["--task", "brief_caption", "--concurrency", str(CLIENTS)]
    with TemporaryDirectory() as output:
        file = Path(output, "run.jsonl")
        arguments = [*command, str(folder), *options, "--out", str(file)]
        with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
            return _steady_rate(_times_of_lines(file, process))


def _times_of_lines(file: Path, process: "subprocess.Popen[bytes]") -> list[float]:
    """Return when each line of a growing file was seen, until the process ends.

    Raises:
        CalledProcessError: the process failed.
    """
    times: list[float] = []
    read = 0
    has_ended = False
    while not has_ended:
        has_ended = process.poll() is not None
        time.sleep(POLL_S)
        with file.open("rb") if file.exists() else BytesIO() as stream:
            stream.seek(read)
            new = stream.read()
        read += len(new)
        times += [time.perf_counter()] * new.count(b"\n")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return times


def _steady_rate(times: Sequence[float]) -> float:
    """Return the rate after the first quarter; `times` are those at which pictures ended."""
    steady = times[len(times) // 4 :]
    # The lines of a quick run can appear between two looks.
    return (len(steady) - 1) / max(steady[-1] - steady[0], POLL_S)


def plot(result: Result) -> Plot:
    """Plot one bar for each way."""
    figure, (axes,) = panels(1)
    series = {str(row["way"]): [float(row["pictures/s"] or 0)] for row in result.rows}
    draw_bars(axes, [f"{CLIENTS} at once"], series, "pictures/s")
    return figure


CASE = Case("batch", measure, plot)

if __name__ == "__main__":
    main(CASE)
