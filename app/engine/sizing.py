"""Plans the engine's memory and threads before the model is loaded."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from app.checkpoint.files import Checkpoint
from app.engine.cuda_graphs import Buckets, PictureBuckets
from app.engine.kv_slots import KeyValueShape
from app.errors import OutOfMemory
from app.model.decoder import KEYS_MULTIPLE
from app.model.linear import LinearLayers, choose_for_cpu
from app.model.loading import read_config, weights_bytes
from app.model.quantised import check_kernels
from app.settings import Settings
from app.telemetry.logs import get_logger

_CONTROL_GROUP = Path("/sys/fs/cgroup")  # where a container sees its own group

SMALL_MODEL_BYTES = 2**30
CPU_SLOTS_SMALL, CPU_SLOTS_LARGE = 32, 4
CPU_WORKING_BYTES = 2**28  # activations and torch itself
MIN_PICTURE_CACHE_BYTES = 2**28
# Within a step, which delays all rows; in parallel with steps; and on CUDA, in one recorded pass.
MAX_PICTURES_IN_STEP, MAX_PICTURES_IN_BACKGROUND, MAX_PICTURES_ON_CUDA = 4, 8, 16

# Prompt tokens of a step. Rows that decode wait for them, on a CPU about 1 ms for each prompt.
CPU_PREFILL_TOKENS, CUDA_PREFILL_TOKENS = 600, 2048

# Estimates, not measurements; docs/adr/0026-memory-of-a-cuda-device.md lists their sources.
MAX_CUDA_SLOTS = 256
CUDA_SHARE = 0.95  # of free memory; the rest is a reserve for other programs
CUDA_WORKING_BYTES = 10**9  # libraries, workspaces and the activations of prompts and pictures
RECORDING_BYTES = 12 * 10**6
SAMPLING_BYTES_PER_SLOT = 5 * 10**6  # a row's vocabulary, sorted in float64
CUDA_LENGTH_MULTIPLE = 64  # tokens; attention copies a mask of any other length
MAX_CACHED_PICTURES = 2000


@dataclass(frozen=True)
class MemoryPlan:
    """Memory that the engine will use.

    Attributes:
        num_slots: number of sequences that run at the same time.
        slot_length: tokens per slot.
        slot_bytes: bytes per slot.
        picture_cache_bytes: largest size of the picture cache.
        working_bytes: memory for activations, libraries and recordings.
        linear: implementation of the model's linear layers.
    """

    weights_bytes: int
    num_slots: int
    slot_length: int
    slot_bytes: int
    picture_cache_bytes: int
    working_bytes: int
    linear: LinearLayers

    @property
    def total_bytes(self) -> int:
        """Total memory in bytes."""
        slots = self.num_slots * self.slot_bytes
        return self.weights_bytes + slots + self.picture_cache_bytes + self.working_bytes

    def __str__(self) -> str:
        return (
            f"{self.total_bytes / 1e9:.2f} GB of memory ({self.weights_bytes / 1e9:.2f} weights, "
            f"{self.num_slots} slots of {self.slot_bytes / 1e6:.1f} MB, "
            f"pictures up to {self.picture_cache_bytes / 1e9:.2f}, "
            f"{self.working_bytes / 1e9:.2f} working memory)"
        )


def plan_memory(
    settings: Settings,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    free_bytes: int,
) -> MemoryPlan:
    """Plan the engine's memory within `free_bytes`; choose what the settings do not set."""
    sizes = _Sizes.of(settings, checkpoint, device, dtype)
    if device.type == "cpu":
        is_small = sizes.weights_bytes < SMALL_MODEL_BYTES
        num_slots = settings.slots or (CPU_SLOTS_SMALL if is_small else CPU_SLOTS_LARGE)
        return sizes.plan(settings, num_slots, CPU_WORKING_BYTES)
    candidates = [settings.slots] if settings.slots else range(MAX_CUDA_SLOTS, 0, -1)
    plans = [sizes.plan_cuda(settings, number) for number in candidates]
    usable = int(free_bytes * CUDA_SHARE)
    chosen = next((plan for plan in plans if plan.total_bytes <= usable), plans[-1])
    return sizes.with_more_pictures(settings, chosen, usable)


@dataclass(frozen=True)
class _Sizes:
    """Sizes that do not depend on the number of slots.

    Attributes:
        picture_bytes: bytes of a picture's prefix.
    """

    weights_bytes: int
    slot_length: int
    slot_bytes: int
    picture_bytes: int
    linear: LinearLayers

    @classmethod
    def of(
        cls, settings: Settings, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
    ) -> "_Sizes":
        config = read_config(checkpoint)
        text = config.text_config
        heads = text.attention_heads
        shape = KeyValueShape(text.layers, heads, text.embed_dim // heads)
        linear = _choose_linear(settings, checkpoint, device, dtype)
        multiple = CUDA_LENGTH_MULTIPLE if device.type == "cuda" else 1
        if linear is LinearLayers.INT8:
            multiple = KEYS_MULTIPLE
        length = -(-settings.max_sequence_length // multiple) * multiple
        token_bytes = shape.bytes_per_token(dtype)
        return cls(
            weights_bytes=weights_bytes(checkpoint, dtype, linear),
            slot_length=length,
            slot_bytes=length * token_bytes,
            picture_bytes=config.num_prefix_tokens * token_bytes,
            linear=linear,
        )

    def plan(self, settings: Settings, num_slots: int, working_bytes: int) -> MemoryPlan:
        """Return a plan for `num_slots` slots."""
        cache_bytes = settings.picture_cache_bytes
        return MemoryPlan(
            weights_bytes=self.weights_bytes,
            num_slots=num_slots,
            slot_length=self.slot_length,
            slot_bytes=self.slot_bytes,
            picture_cache_bytes=MIN_PICTURE_CACHE_BYTES if cache_bytes is None else cache_bytes,
            working_bytes=working_bytes,
            linear=self.linear,
        )

    def plan_cuda(self, settings: Settings, num_slots: int) -> MemoryPlan:
        """Return a plan that reserves memory for recordings, sampling and pictures."""
        steps = Buckets.up_to(num_slots, self.slot_length).shapes()
        max_pictures = settings.max_pictures_per_step or MAX_PICTURES_ON_CUDA
        num_passes = len([*steps, *PictureBuckets.up_to(max_pictures).shapes()])
        working_bytes = (
            CUDA_WORKING_BYTES
            + settings.recordings * num_passes * RECORDING_BYTES
            + num_slots * SAMPLING_BYTES_PER_SLOT
            + max_pictures * self.picture_bytes
        )
        return self.plan(settings, num_slots, working_bytes)

    def with_more_pictures(
        self, settings: Settings, plan: MemoryPlan, usable_bytes: int
    ) -> MemoryPlan:
        """Add half of the remaining memory to the picture cache, unless its size is set."""
        if settings.picture_cache_bytes is not None:
            return plan
        more = max(0, usable_bytes - plan.total_bytes) // 2
        most = max(MIN_PICTURE_CACHE_BYTES, MAX_CACHED_PICTURES * self.picture_bytes)
        return replace(plan, picture_cache_bytes=min(most, plan.picture_cache_bytes + more))


def choose_max_pictures(settings: Settings, device: torch.device, in_background: bool) -> int:
    """Return the number of new pictures that a step may encode."""
    if settings.max_pictures_per_step is not None:
        return settings.max_pictures_per_step
    if device.type == "cuda":
        return MAX_PICTURES_ON_CUDA
    return MAX_PICTURES_IN_BACKGROUND if in_background else MAX_PICTURES_IN_STEP


def choose_prefill_tokens(settings: Settings, device: torch.device) -> int:
    """Return the number of prompt tokens that a step may prefill."""
    if settings.max_prefill_tokens is not None:
        return settings.max_prefill_tokens
    return CUDA_PREFILL_TOKENS if device.type == "cuda" else CPU_PREFILL_TOKENS


def _choose_linear(
    settings: Settings, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> LinearLayers:
    """Choose the implementation of the linear layers.

    Raises:
        StartupError: int8 is set, but torch has no kernels for it.
    """
    if settings.quantize == "int8":
        check_kernels()
        return LinearLayers.INT8
    if device.type != "cpu":
        return LinearLayers.PLAIN
    is_small = weights_bytes(checkpoint, dtype, LinearLayers.PLAIN) < SMALL_MODEL_BYTES
    return choose_for_cpu(dtype, is_small=is_small)


def choose_threads(plan: MemoryPlan, device: torch.device, num_processors: int) -> int:
    """Return the number of torch's threads on the CPU.

    Args:
        num_processors: that this process may use; torch only knows its affinity and
            `OMP_NUM_THREADS`.
    """
    # The products of a small model are too small to divide: threads lose more time by waiting for
    # each other than they gain, several times as much on a machine with other work. With a CUDA
    # device, threads have nothing to do and would compete with the HTTP and picture processes.
    is_small = plan.weights_bytes < SMALL_MODEL_BYTES
    if is_small or device.type == "cuda":
        return 1
    # The system stops all threads for the rest of a period once they have used up the quota
    # together, and a thread that waits for the others uses it up, too.
    return min(torch.get_num_threads(), num_processors)


def check_memory(checkpoint: Checkpoint, plan: MemoryPlan, free_bytes: int) -> None:
    """Log the planned memory.

    Raises:
        OutOfMemory: the plan exceeds the free memory.
    """
    get_logger().info(
        "memory planned", model=checkpoint.name, plan=str(plan), free_gb=round(free_bytes / 1e9, 2)
    )
    if plan.total_bytes > free_bytes:
        raise _out_of_memory(checkpoint, plan, f"{free_bytes / 1e9:.2f} GB are free")


@contextmanager
def out_of_memory_reported(checkpoint: Checkpoint, plan: MemoryPlan) -> Iterator[None]:
    """Turn torch's error about memory into an error of one line with advice.

    Raises:
        OutOfMemory: the device ran out of memory within the block.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        first_line = str(error).partition("\n")[0]
        raise _out_of_memory(checkpoint, plan, f"the device reports: {first_line}") from error


def _out_of_memory(checkpoint: Checkpoint, plan: MemoryPlan, fact: str) -> OutOfMemory:
    return OutOfMemory(
        f"{checkpoint.name} needs {plan}, but {fact}; set fewer slots (KOSMOS2_SLOTS), shorter "
        "slots (KOSMOS2_MAX_SEQUENCE_LENGTH) or a 16-bit dtype (KOSMOS2_DTYPE), or use a larger "
        "machine"
    )


def measure_free_bytes(device: torch.device) -> int:
    """Available memory of the device, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(int(psutil.virtual_memory().available), free_bytes_of_container(_CONTROL_GROUP))


def free_bytes_of_container(group: Path) -> int:
    """Return the free bytes below the limit of a control group (version 2), or `sys.maxsize`.

    Cached files count as free: the system drops them before it refuses memory. Those of the weights
    remain when an engine has ended.

    Args:
        group: directory with the group's files; they may be missing.
    """
    limit = group / "memory.max"
    if not limit.is_file() or limit.read_text().strip() == "max":
        return sys.maxsize
    used = int((group / "memory.current").read_text())
    parts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    cached = int(parts.get("active_file", 0)) + int(parts.get("inactive_file", 0))
    return int(limit.read_text()) - used + cached
