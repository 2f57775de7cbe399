"""What the engine takes: device, dtype, memory and threads, chosen before anything is loaded."""

import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from app.checkpoint import Checkpoint
from app.engine.kv_slots import KeyValueShape
from app.errors import OutOfMemory, StartupError
from app.model.linear import LinearLayers, can_pack
from app.model.loading import read_config, weights_bytes
from app.model.quantised import check_kernels
from app.settings import Settings

SMALL_MODEL_BYTES = 2**30
CPU_SLOTS_SMALL, CPU_SLOTS_LARGE = 32, 4
MAX_CUDA_SLOTS = 256
CUDA_SHARE = 0.85  # of free memory, the rest for activations
CPU_WORKING_BYTES = 2**28  # activations and what torch itself takes


@dataclass(frozen=True)
class MemoryPlan:
    """What the engine will take.

    Attributes:
        weights_bytes: of the model.
        num_slots: sequences at once.
        slot_bytes: of each.
        picture_cache_bytes: at most.
        linear: what the model's linear layers become.
    """

    weights_bytes: int
    num_slots: int
    slot_bytes: int
    picture_cache_bytes: int
    linear: LinearLayers

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
        StartupError: CUDA is asked for where there is none, or for weights in 8 bits.
    """
    has_cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not has_cuda:
        raise StartupError("device cuda: this machine has no CUDA device that torch can use")
    is_cuda = settings.device == "cuda" or (settings.device == "auto" and has_cuda)
    if is_cuda and settings.quantize == "int8":
        raise StartupError("quantize int8 is for the CPU; set device cpu, or leave it out")
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    dtype = names.get(settings.dtype, torch.bfloat16 if is_cuda else torch.float32)
    return torch.device("cuda" if is_cuda else "cpu"), dtype


def name_dtype(settings: Settings, dtype: torch.dtype) -> str:
    """What the weights are told to be: `float32`, or `float32 + int8`."""
    name = str(dtype).removeprefix("torch.")
    return name if settings.quantize == "none" else f"{name} + {settings.quantize}"


def plan_memory(
    settings: Settings, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> MemoryPlan:
    """How much the engine will take, the number of slots chosen where it is not set."""
    text = read_config(checkpoint).text_config
    heads = text.attention_heads
    shape = KeyValueShape(text.layers, heads, text.embed_dim // heads)
    slot_bytes = settings.max_sequence_length * shape.bytes_per_token(dtype)
    linear = _choose_linear(settings, checkpoint, device, dtype)
    weights = weights_bytes(checkpoint, dtype, linear)
    if settings.slots is not None:
        num_slots = settings.slots
    elif device.type == "cuda":
        room = int(free_bytes(device) * CUDA_SHARE) - weights - settings.picture_cache_bytes
        num_slots = max(1, min(MAX_CUDA_SLOTS, room // slot_bytes))
    else:
        num_slots = CPU_SLOTS_SMALL if weights < SMALL_MODEL_BYTES else CPU_SLOTS_LARGE
    return MemoryPlan(weights, num_slots, slot_bytes, settings.picture_cache_bytes, linear)


def _choose_linear(
    settings: Settings, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> LinearLayers:
    """On the CPU: a layer of a small model fits into a core's cache, a large one's is packed.

    Raises:
        StartupError: 8 bits are asked for where torch has no kernels for them.
    """
    if settings.quantize == "int8":
        check_kernels()
        return LinearLayers.INT8
    if device.type != "cpu":
        return LinearLayers.PLAIN
    if weights_bytes(checkpoint, dtype, LinearLayers.PLAIN) < SMALL_MODEL_BYTES:
        return LinearLayers.TOUCHED
    return LinearLayers.PACKED if can_pack() else LinearLayers.PLAIN


def choose_threads(plan: MemoryPlan, device: torch.device) -> int:
    """Threads of torch on the CPU.

    The products of a small model are too small to share: threads that wait for each other cost
    more than they bring, on a machine that does other work too several times as much.
    """
    is_small = device.type == "cpu" and plan.weights_bytes < SMALL_MODEL_BYTES
    return 1 if is_small else torch.get_num_threads()


def check_memory(checkpoint: Checkpoint, plan: MemoryPlan, device: torch.device) -> None:
    """Tell what will be taken.

    Raises:
        OutOfMemory: it is more than is free.
    """
    free = free_bytes(device)
    print(f"{checkpoint.name}: {plan}, {free / 1e9:.2f} GB free", file=sys.stderr, flush=True)
    if plan.total_bytes > free:
        raise OutOfMemory(
            f"{checkpoint.name} needs {plan}, and {free / 1e9:.2f} GB are free; "
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
