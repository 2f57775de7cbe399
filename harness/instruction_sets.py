"""Environment variables that make a processor use other instruction sets.

Each set selects other kernels of torch (ATen), oneDNN and MKL, which add numbers in another order.
A variable that requests more than the processor supports has no effect.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType

import torch

INSTRUCTION_SETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "native": {},
        "no vectors": {"ATEN_CPU_CAPABILITY": "default"},
        "compatible": {
            "ATEN_CPU_CAPABILITY": "default",
            "MKL_CBWR": "COMPATIBLE",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
        },
        "AVX2": {
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
        },
    }
)
"""The variables of each; on a processor without AVX-512, "AVX2" is the same as "native"."""


def is_native() -> bool:
    """Return whether this process may use all instructions of its processor."""
    names = {name for variables in INSTRUCTION_SETS.values() for name in variables}
    return names.isdisjoint(os.environ)


def other_instruction_sets() -> tuple[str, str]:
    """Return two sets that differ from each other and from the processor's default."""
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return "no vectors", "AVX2" if has_avx512 else "compatible"
