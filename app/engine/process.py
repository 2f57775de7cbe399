"""Starts the engine process: sizes it, loads the model, warms it up, then serves.

    python -m app.engine.process RUN_DIRECTORY

Standard input is the pipe from the parent: when it closes, the process ends.
"""

import hashlib
import os
import sys
import time
from pathlib import Path

import torch
import zmq
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from app.checkpoint import Checkpoint
from app.engine.loop import Engine
from app.engine.phases import MIN_ALLOWANCE_S, PhaseClock, PhaseTimer
from app.engine.runner import Runner
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.engine.sizing import (
    MemoryPlan,
    check_memory,
    choose_device,
    choose_threads,
    name_dtype,
    plan_memory,
)
from app.errors import StartupError
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.child_process import report_ready
from app.ipc.engine_messages import PICTURE_BYTES, Generate, SamplingParameters
from app.ipc.run_directory import RunDirectory
from app.ipc.shared_state import EngineFacts
from app.model.linear import LinearLayers
from app.model.loading import Kosmos2Model, load_model, weights_bytes
from app.settings import Settings
from app.telemetry.logs import configure_logs, get_logger
from app.telemetry.metrics import EngineMetrics

MAX_PICTURES_IN_STEP, MAX_PICTURES_IN_BACKGROUND = (
    4,
    8,
)  # of a step, for which all rows wait, or beside it


def load(
    settings: Settings,
    checkpoint: Checkpoint,
    plan: MemoryPlan,
    device: torch.device,
    dtype: torch.dtype,
) -> Kosmos2Model:
    """Load the model behind a progress bar."""
    columns = (TextColumn("loading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(
            "weights", total=weights_bytes(checkpoint, dtype, LinearLayers.PLAIN)
        )
        return load_model(
            checkpoint,
            list(Kosmos2Tokenizer.load(checkpoint.directory).prefix_ids),
            settings.max_sequence_length,
            device,
            dtype,
            lambda num_bytes: progress.advance(task, num_bytes),
            plan.linear,
        )


def use_exact_arithmetic() -> None:
    """Keep float32 float32: no TF32 in products or convolutions."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def warm_up(runner: Runner) -> None:
    """Run each phase twice on an empty picture, as long and as wide as it gets."""
    length = runner.slots.max_length
    for _ in range(2):
        sequences = [_blank(runner, key, length) for key in range(runner.slots.num_slots)]
        for sequence in sequences:
            sequence.slot = runner.slots.allocate()
        for chosen in (runner.prefill(sequences[:1]), runner.prefill(sequences[1:])):
            for choice in chosen:
                choice.sequence.append(choice.token_id, lambda _: False)
        runner.decode(sequences)
        for sequence in sequences:
            runner.slots.free(sequence.slot or 0)
            sequence.slot = None
    runner.pictures.clear()


def _blank(runner: Runner, key: int, length: int) -> Sequence:
    prefix = runner.model.prefix_token_ids
    sampling = SamplingParameters(max_new_tokens=2, no_repeat_ngram_size=3)
    longest = [*prefix, *[prefix[0]] * (length - len(prefix) - 2)]
    prompt = longest if key == 0 else longest[: len(prefix) + 4]
    pixels = bytes(PICTURE_BYTES)
    digest = hashlib.sha256(pixels).digest()
    request = Generate(0, key, prompt, digest, sampling, deadline=float("inf"))
    return Sequence(b"warm-up", request, pixels, arrived_at=0.0)


def build_runner(
    settings: Settings,
    checkpoint: Checkpoint,
    phase: PhaseTimer,
    runner_class: type[Runner] = Runner,
) -> Runner:
    """Size, load and warm up: a runner that is ready to serve.

    Args:
        settings: of the service.
        checkpoint: to load.
        phase: times each phase.
        runner_class: tests pass one with faults.
    """
    use_exact_arithmetic()
    device, dtype = choose_device(settings)
    plan = plan_memory(settings, checkpoint, device, dtype)
    check_memory(checkpoint, plan, device)
    num_threads = choose_threads(plan, device)
    torch.set_num_threads(num_threads)
    model = load(settings, checkpoint, plan, device, dtype)
    is_cuda = device.type == "cuda"
    runner = runner_class(
        model,
        plan.num_slots,
        settings.picture_cache_bytes,
        phase,
        is_rounded=is_cuda,
        in_background=not is_cuda and num_threads == 1,
    )
    if is_cuda and not runner.record_passes():
        get_logger().warning("passes cannot be recorded on this device: decoding is slower")
    warm_up(runner)
    return runner


def serve(run_directory: RunDirectory, runner_class: type[Runner], min_allowance_s: float) -> None:
    """Build everything, say that it is ready, and step until the parent's pipe closes."""
    settings, state = run_directory.read_settings(), run_directory.open_state()
    metrics = EngineMetrics()
    phases = PhaseClock(state, metrics, time.monotonic, min_allowance_s)
    runner = build_runner(settings, run_directory.read_checkpoint(), phases, runner_class)
    phases.is_warming_up = False
    limits = SchedulerLimits(
        max_waiting=_max_waiting(settings, runner),
        max_prefill_tokens=settings.max_prefill_tokens,
        max_pictures=settings.max_pictures_per_step or _max_pictures(runner),
    )
    scheduler = Scheduler(runner.slots, limits, runner.pictures.__contains__)
    metrics.kv_slots_total.set(runner.slots.num_slots)
    metrics.device_memory_bytes.labels("weights").set(runner.model.num_bytes)
    metrics.device_memory_bytes.labels("kv_slots").set(runner.slots.num_bytes)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(run_directory.engine_endpoint)
        parent_pipe = sys.stdin.fileno()
        engine = Engine(
            runner, scheduler, socket, parent_pipe, state, phases, metrics, time.monotonic
        )
        phases.rest()
        state.mark_engine_ready(_facts(settings, runner, limits))
        report_ready()
        get_logger().info("engine ready", epoch=state.epoch, num_slots=runner.slots.num_slots)
        engine.serve()


def _facts(settings: Settings, runner: Runner, limits: SchedulerLimits) -> EngineFacts:
    return EngineFacts(
        num_slots=runner.slots.num_slots,
        max_waiting=limits.max_waiting,
        device=runner.device.type,
        dtype=name_dtype(settings, runner.dtype),
    )


def _max_pictures(runner: Runner) -> int:
    return MAX_PICTURES_IN_BACKGROUND if runner.prefixes.in_background else MAX_PICTURES_IN_STEP


def _max_waiting(settings: Settings, runner: Runner) -> int:
    return 4 * runner.slots.num_slots if settings.max_waiting is None else settings.max_waiting


def main(runner_class: type[Runner] = Runner, min_allowance_s: float = MIN_ALLOWANCE_S) -> None:
    """Serve; a start-up error becomes one line and its exit code.

    Args:
        runner_class: tests pass one with faults.
        min_allowance_s: before the supervisor kills a silent engine; tests pass a short one.
    """
    run_directory = RunDirectory(Path(sys.argv[1]))
    configure_logs(run_directory.read_settings().log_level, "engine")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        serve(run_directory, runner_class, min_allowance_s)
    except StartupError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
