"""The engine process: plans memory, loads the model, warms up, then serves.

    python -m app.engine.process RUN_DIRECTORY

Standard input is the pipe from the parent: the process ends when it closes.
"""

import os
import sys
import time
from pathlib import Path

import torch
import zmq

from app.checkpoint.files import Checkpoint
from app.checkpoint.kept_weights import KeptWeights, name_kept_weights
from app.engine.alternatives import describe_alternatives
from app.engine.cuda_graphs import CudaRecorder
from app.engine.device import choose_device, name_dtype, probe_cuda, use_exact_arithmetic
from app.engine.grammar import Grammar
from app.engine.loop import Engine
from app.engine.phases import MIN_ALLOWANCE_S, PhaseClock, PhaseTimer
from app.engine.progress import showing_progress
from app.engine.runner import Runner
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sizing import (
    MemoryPlan,
    check_memory,
    choose_max_pictures,
    choose_prefill_tokens,
    choose_threads,
    measure_free_bytes,
    out_of_memory_reported,
    plan_memory,
)
from app.engine.warm_up import CPU_LAYERS, longest_over_warm_up, warm_up
from app.errors import StartupError
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.child_process import report_ready
from app.ipc.run_directory import RunDirectory
from app.ipc.shared_state import EngineFacts
from app.model.first_layers import first_layers
from app.model.linear import LinearLayers
from app.model.loading import Kosmos2Model, load_model, weights_bytes
from app.processors import count_processors
from app.settings import Settings
from app.telemetry.logs import configure_logs, get_logger
from app.telemetry.metrics import EngineMetrics

_MIN_KEPT_BYTES = 2**28  # a smaller model is quantized within a second or two
_STEPS_BETWEEN_STARTS = 3  # on CUDA; with 128 rows they take about as long as starting 16


def load(
    settings: Settings,
    checkpoint: Checkpoint,
    tokenizer: Kosmos2Tokenizer,
    plan: MemoryPlan,
    device: torch.device,
    dtype: torch.dtype,
) -> Kosmos2Model:
    """Load the model and show the progress meanwhile."""
    with showing_progress(weights_bytes(checkpoint, dtype, LinearLayers.PLAIN)) as advance:
        return load_model(
            checkpoint,
            list(tokenizer.prefix_ids),
            tokenizer.location_token_ids,
            plan.slot_length,
            device,
            dtype,
            advance,
            plan.linear,
            _kept_weights(settings, checkpoint, plan, dtype),
        )


def _kept_weights(
    settings: Settings, checkpoint: Checkpoint, plan: MemoryPlan, dtype: torch.dtype
) -> KeptWeights | None:
    """Return the file for 8-bit weights; `None` without them, and for a small model."""
    if plan.linear is not LinearLayers.INT8 or plan.weights_bytes < _MIN_KEPT_BYTES:
        return None
    name = str(dtype).removeprefix("torch.")
    return name_kept_weights(settings.quantized_cache, checkpoint, name)


def build_runner(
    settings: Settings,
    checkpoint: Checkpoint,
    phase: PhaseTimer,
    runner_class: type[Runner] = Runner,
) -> Runner:
    """Plan memory, load, record and warm up; return a runner that is ready to serve.

    Args:
        phase: encloses each phase.
        runner_class: tests pass a class with faults.

    Raises:
        StartupError: the device cannot be used, memory is too small, a pass cannot be recorded, or
            the checkpoint is not supported.
    """
    use_exact_arithmetic()
    device, dtype = choose_device(settings, probe_cuda())
    free_bytes = measure_free_bytes(device)
    plan = plan_memory(settings, checkpoint, device, dtype, free_bytes)
    check_memory(checkpoint, plan, free_bytes)
    if alternatives := describe_alternatives(checkpoint, plan, device, dtype):
        get_logger().info("weights in float32", **alternatives)
    torch.set_num_threads(choose_threads(plan, device, count_processors().usable))
    with out_of_memory_reported(checkpoint, plan):
        tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
        model = load(settings, checkpoint, tokenizer, plan, device, dtype)
        grammar = Grammar.of(tokenizer.tag_ids, tokenizer.location_token_ids)
        runner = _build(settings, plan, model, grammar, phase, runner_class)
        if settings.recordings and device.type == "cuda":
            _record(runner)
        get_logger().info("warming up", slots=runner.slots.num_slots)
        warmed = runner
        if device.type == "cpu":
            few_layers = first_layers(model, CPU_LAYERS)
            warmed = _build(settings, plan, few_layers, grammar, phase, Runner)
        warm_up(warmed, choose_prefill_tokens(settings, device), grammar.end_of_phrase)
    return runner


def _build(
    settings: Settings,
    plan: MemoryPlan,
    model: Kosmos2Model,
    grammar: Grammar,
    phase: PhaseTimer,
    runner_class: type[Runner],
) -> Runner:
    is_cuda = model.device.type == "cuda"
    # With more threads, decoding uses all processors, and a thread for pictures would slow it down.
    in_background = not is_cuda and torch.get_num_threads() == 1
    return runner_class(
        model,
        plan.num_slots,
        plan.picture_cache_bytes,
        phase,
        is_rounded=is_cuda,
        in_background=in_background,
        max_pictures=choose_max_pictures(settings, model.device, in_background),
        draft_next=grammar.draft_next,
    )


def _record(runner: Runner) -> None:
    """Record the passes; log the time and the memory, which the plan only estimates."""
    began, free_bytes = time.monotonic(), measure_free_bytes(runner.device)
    runner.record_passes(CudaRecorder())
    get_logger().info(
        "passes recorded",
        recorded=runner.num_recorded,
        recordable=runner.num_recordable,
        took_s=round(time.monotonic() - began, 3),
        used_bytes=free_bytes - measure_free_bytes(runner.device),
    )


def serve(run_directory: RunDirectory, runner_class: type[Runner], min_allowance_s: float) -> None:
    """Build the engine, report that it is ready, and step until the parent's pipe closes."""
    settings, state = run_directory.read_settings(), run_directory.open_state()
    metrics = EngineMetrics()
    phases = PhaseClock(state, metrics, time.monotonic, min_allowance_s)
    runner = build_runner(settings, run_directory.read_checkpoint(), phases, runner_class)
    max_prefill_tokens = choose_prefill_tokens(settings, runner.device)
    phases.end_warm_up(**longest_over_warm_up(runner, max_prefill_tokens))
    limits = SchedulerLimits(
        max_waiting=_max_waiting(settings, runner),
        max_prefill_tokens=max_prefill_tokens,
        max_pictures=runner.max_pictures,
        steps_between_starts=_STEPS_BETWEEN_STARTS if runner.device.type == "cuda" else 0,
    )
    scheduler = Scheduler(runner.slots, limits, runner.pictures.__contains__)
    metrics.kv_slots_total.set(runner.slots.num_slots)
    metrics.recorded_passes.set(runner.num_recorded)
    metrics.recordable_passes.set(runner.num_recordable)
    metrics.device_memory_bytes.labels("weights").set(runner.model.num_bytes)
    metrics.device_memory_bytes.labels("kv_slots").set(runner.slots.num_bytes)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        # A message to an HTTP process that has ended raises an error instead of disappearing.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # No limits: at a limit ZeroMQ would drop messages or block.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(run_directory.engine_endpoint)
        parent_pipe = sys.stdin.fileno()
        engine = Engine(
            runner, scheduler, socket, parent_pipe, state, phases, metrics, time.monotonic
        )
        phases.rest()
        runner.prefixes.put_pictures_first()
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


def _max_waiting(settings: Settings, runner: Runner) -> int:
    return 4 * runner.slots.num_slots if settings.max_waiting is None else settings.max_waiting


def main(runner_class: type[Runner] = Runner, min_allowance_s: float = MIN_ALLOWANCE_S) -> None:
    """Serve; print a start-up error as one line and exit with its code.

    Args:
        runner_class: tests pass a class with faults.
        min_allowance_s: shortest time after which the supervisor kills an engine that does not
            respond; tests pass a short one.
    """
    run_directory = RunDirectory(Path(sys.argv[1]))
    settings = run_directory.read_settings()
    configure_logs(settings.log_level, "engine", settings.log_format)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        serve(run_directory, runner_class, min_allowance_s)
    except StartupError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
