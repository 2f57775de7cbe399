"""Starts the engine process: sizes it, loads the model, warms it up, then serves.

    python -m app.engine.start RUN_DIRECTORY

Standard input is the process's leash (see `app/child_process.py`).
"""

import hashlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
import zmq
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from app.checkpoint import Checkpoint
from app.child_process import say_ready
from app.engine.kv_slots import KeyValueShape
from app.engine.messages import PICTURE_BYTES, Generate, SamplingParameters
from app.engine.phases import PhaseClock
from app.engine.process import Engine
from app.engine.runner import PhaseTimer, Runner
from app.engine.scheduler import Scheduler, SchedulerLimits
from app.engine.sequence import Sequence
from app.errors import OutOfMemory, StartupError
from app.logs import configure_logs, get_logger
from app.metrics import EngineMetrics
from app.model.checkpoint import Kosmos2Model, load_model, read_config, weights_bytes
from app.run_directory import RunDirectory
from app.settings import Settings
from app.shared_page import EngineFacts
from app.tokenizer import Kosmos2Tokenizer

SMALL_MODEL_BYTES = 2**30
CPU_SLOTS_SMALL, CPU_SLOTS_LARGE = 16, 4
MAX_CUDA_SLOTS = 256
CUDA_SHARE = 0.85  # of free memory, the rest for activations
CPU_WORKING_BYTES = 2**28  # activations and what torch itself takes


@dataclass(frozen=True)
class Size:
    """What the engine will take.

    Attributes:
        weights_bytes: of the model.
        num_slots: sequences at once.
        slot_bytes: of each.
        picture_cache_bytes: at most.
    """

    weights_bytes: int
    num_slots: int
    slot_bytes: int
    picture_cache_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it together."""
        slots = self.num_slots * self.slot_bytes
        return self.weights_bytes + slots + self.picture_cache_bytes + CPU_WORKING_BYTES

    def __str__(self) -> str:
        return (
            f"{self.total_bytes / 1e9:.2f} GB of memory ({self.weights_bytes / 1e9:.2f} weights, "
            f"{self.num_slots} slots of {self.slot_bytes / 1e6:.1f} MB, "
            f"pictures up to {self.picture_cache_bytes / 1e9:.2f})"
        )


def choose_device(settings: Settings) -> tuple[torch.device, torch.dtype]:
    """The device and the dtype that the settings mean on this machine.

    Raises:
        StartupError: CUDA is asked for where there is none.
    """
    has_cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not has_cuda:
        raise StartupError("device cuda: this machine has no CUDA device that torch can use")
    is_cuda = settings.device == "cuda" or (settings.device == "auto" and has_cuda)
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    dtype = names.get(settings.dtype, torch.bfloat16 if is_cuda else torch.float32)
    return torch.device("cuda" if is_cuda else "cpu"), dtype


def plan_size(
    settings: Settings, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> Size:
    """How much the engine will take, the number of slots chosen where it is not set."""
    text = read_config(checkpoint).text_config
    heads = text.attention_heads
    shape = KeyValueShape(text.layers, heads, text.embed_dim // heads)
    slot_bytes = settings.max_sequence_length * shape.bytes_per_token(dtype)
    weights = weights_bytes(checkpoint, dtype)
    if settings.slots is not None:
        num_slots = settings.slots
    elif device.type == "cuda":
        room = int(free_bytes(device) * CUDA_SHARE) - weights - settings.picture_cache_bytes
        num_slots = max(1, min(MAX_CUDA_SLOTS, room // slot_bytes))
    else:
        num_slots = CPU_SLOTS_SMALL if weights < SMALL_MODEL_BYTES else CPU_SLOTS_LARGE
    return Size(weights, num_slots, slot_bytes, settings.picture_cache_bytes)


def choose_threads(size: Size, device: torch.device) -> int:
    """Threads of torch on the CPU.

    The products of a small model are too small to share: threads that wait for each other cost
    more than they bring, on a machine that does other work too several times as much.
    """
    is_small = device.type == "cpu" and size.weights_bytes < SMALL_MODEL_BYTES
    return 1 if is_small else torch.get_num_threads()


def check_size(checkpoint: Checkpoint, size: Size, device: torch.device) -> None:
    """Tell what will be taken.

    Raises:
        OutOfMemory: it is more than is free.
    """
    free = free_bytes(device)
    print(f"{checkpoint.name}: {size}, {free / 1e9:.2f} GB free", file=sys.stderr, flush=True)
    if size.total_bytes > free:
        raise OutOfMemory(
            f"{checkpoint.name} needs {size}, and {free / 1e9:.2f} GB are free; "
            "fewer slots, bfloat16 or a larger machine would do"
        )


def free_bytes(device: torch.device) -> int:
    """Memory that nobody uses."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(int(psutil.virtual_memory().available), _free_bytes_of_container())


def _free_bytes_of_container() -> int:
    """What a container's limit leaves (cgroup version 2); without one, more than there can be."""
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if not limit.is_file() or limit.read_text().strip() == "max":
        return sys.maxsize
    return int(limit.read_text()) - int(used.read_text())


def load(
    settings: Settings,
    checkpoint: Checkpoint,
    size: Size,
    device: torch.device,
    dtype: torch.dtype,
) -> Kosmos2Model:
    """Load the model behind a progress bar."""
    columns = (TextColumn("loading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("weights", total=size.weights_bytes)
        return load_model(
            checkpoint,
            list(Kosmos2Tokenizer.load(checkpoint.directory).prefix_ids),
            settings.max_sequence_length,
            device,
            dtype,
            lambda num_bytes: progress.advance(task, num_bytes),
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


def build_runner(settings: Settings, checkpoint: Checkpoint, phase: PhaseTimer) -> Runner:
    """Size, load and warm up: a runner that is ready to serve."""
    use_exact_arithmetic()
    device, dtype = choose_device(settings)
    size = plan_size(settings, checkpoint, device, dtype)
    check_size(checkpoint, size, device)
    torch.set_num_threads(choose_threads(size, device))
    model = load(settings, checkpoint, size, device, dtype)
    runner = Runner(model, size.num_slots, settings.picture_cache_bytes, phase)
    warm_up(runner)
    return runner


def serve(run_directory: RunDirectory) -> None:
    """Build everything, say that it is ready, and step until the leash goes."""
    settings, page = run_directory.read_settings(), run_directory.open_page()
    metrics = EngineMetrics()
    phases = PhaseClock(page, metrics, time.monotonic)
    runner = build_runner(settings, run_directory.read_checkpoint(), phases)
    phases.is_warming_up = False
    limits = SchedulerLimits(
        max_waiting=_max_waiting(settings, runner),
        max_prefill_tokens=settings.max_prefill_tokens,
        max_pictures=settings.max_pictures_per_step,
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
        leash = sys.stdin.fileno()
        engine = Engine(runner, scheduler, socket, leash, page, phases, metrics, time.monotonic)
        phases.rest()
        page.engine_ready(_facts(runner, limits))
        say_ready()
        get_logger().info("engine ready", epoch=page.epoch, num_slots=runner.slots.num_slots)
        engine.serve()


def _facts(runner: Runner, limits: SchedulerLimits) -> EngineFacts:
    return EngineFacts(
        num_slots=runner.slots.num_slots,
        max_waiting=limits.max_waiting,
        device=runner.device.type,
        dtype=str(runner.dtype).removeprefix("torch."),
    )


def _max_waiting(settings: Settings, runner: Runner) -> int:
    return 4 * runner.slots.num_slots if settings.max_waiting is None else settings.max_waiting


def main() -> None:
    """Serve; a start-up error becomes one line and its exit code."""
    run_directory = RunDirectory(Path(sys.argv[1]))
    configure_logs(run_directory.read_settings().log_level, "engine")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        serve(run_directory)
    except StartupError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
