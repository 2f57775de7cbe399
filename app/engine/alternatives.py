"""Describes other forms of a large model's weights that this processor could serve."""

import torch

from app.checkpoint.files import Checkpoint
from app.engine.sizing import SMALL_MODEL_BYTES, MemoryPlan
from app.model.linear import LinearLayers, choose_for_cpu
from app.model.loading import weights_bytes
from app.model.quantised import has_kernels

# Measured at the published size, on processors with and without AVX-512 (docs/performance.md).
_INT8 = "a token in less than half of the time; about 2 of 100 answers differ from float32's"
_FAST_BFLOAT16 = (
    "pictures, prompts and tokens in about half the time; answers differ by the rounding of 16 bits"
)
_SLOW_BFLOAT16 = (
    "pictures and prompts several times as slow, because this processor has no AVX-512; answers "
    "differ by the rounding of 16 bits"
)


def describe_alternatives(
    checkpoint: Checkpoint, plan: MemoryPlan, device: torch.device, dtype: torch.dtype
) -> dict[str, str]:
    """Return what each other form would change in memory, speed and answers, by its setting.

    Only float32 on the CPU has alternatives, and only for a model that takes seconds per answer.
    """
    is_large = plan.weights_bytes >= SMALL_MODEL_BYTES
    if device.type != "cpu" or dtype is not torch.float32 or not is_large:
        return {}
    if plan.linear is LinearLayers.INT8:
        return {}
    found = {}
    if has_kernels():
        int8 = weights_bytes(checkpoint, dtype, LinearLayers.INT8)
        found["KOSMOS2_QUANTIZE=int8"] = f"{_saving(plan, int8)}; {_INT8}"
    linear = choose_for_cpu(torch.bfloat16)
    bfloat16 = weights_bytes(checkpoint, torch.bfloat16, linear)
    speed = _FAST_BFLOAT16 if linear is LinearLayers.PACKED else _SLOW_BFLOAT16
    found["KOSMOS2_DTYPE=bfloat16"] = f"{_saving(plan, bfloat16)}; {speed}"
    return found


def _saving(plan: MemoryPlan, num_bytes: int) -> str:
    return f"{(plan.weights_bytes - num_bytes) / 1e9:.1f} GB less memory"
