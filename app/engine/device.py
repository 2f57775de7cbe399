"""Chooses the device and the dtype, and sets the precision of torch's arithmetic."""

from dataclasses import dataclass
from pathlib import Path

import torch

from app.errors import StartupError
from app.settings import Settings
from app.telemetry.logs import get_logger

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FIRST_WITH_BFLOAT16 = (8, 0)  # compute capability; older cards only emulate it
_DEVICE_FILE = Path("/dev/nvidiactl")
_ADVICE = (
    "Update the NVIDIA driver; or install the torch built for CUDA 12.6, which supports older "
    "drivers and cards (set TORCH_INDEX_URL to PyTorch's index that ends in cu126); "
    "or set KOSMOS2_DEVICE=cpu"
)


@dataclass(frozen=True)
class CudaReport:
    """Result of `probe_cuda`: whether torch can use CUDA on this machine.

    Attributes:
        is_expected: whether this torch is built for CUDA and the system has an NVIDIA device.
        problem: why no kernel runs; `None` if one does.
        capability: compute capability of the device; (0, 0) if no kernel runs.
    """

    is_expected: bool
    problem: str | None
    capability: tuple[int, int] = (0, 0)


def probe_cuda() -> CudaReport:
    """Run one small kernel and report whether CUDA works."""
    # Only a kernel shows whether driver, device and torch are compatible.
    is_expected = torch.version.cuda is not None and _DEVICE_FILE.exists()
    try:
        # Raises with the reason, where `is_available` only returns False.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.ones(1, device="cuda").add(1).item()
    except (AssertionError, RuntimeError) as error:
        return CudaReport(is_expected, str(error).partition("\n")[0])
    return CudaReport(is_expected, None, torch.cuda.get_device_capability())


def choose_device(settings: Settings, cuda: CudaReport) -> tuple[torch.device, torch.dtype]:
    """Return the device and the dtype for the settings on this machine.

    Raises:
        StartupError: CUDA is required and cannot be used, or int8 is set for CUDA.
    """
    if not _requires_cuda(settings, cuda):
        return torch.device("cpu"), DTYPES.get(settings.dtype, torch.float32)
    if cuda.problem is not None:
        raise StartupError(f"device {settings.device}: {cuda.problem}. {_ADVICE}")
    if settings.quantize == "int8":
        raise StartupError("quantize int8 runs on the CPU only; set device cpu, or quantize none")
    has_bfloat16 = cuda.capability >= FIRST_WITH_BFLOAT16
    if settings.dtype == "bfloat16" and not has_bfloat16:
        get_logger().warning(
            "bfloat16 is slow: this device only emulates it; set KOSMOS2_DTYPE=float16"
        )
    default = torch.bfloat16 if has_bfloat16 else torch.float16
    return torch.device("cuda"), DTYPES.get(settings.dtype, default)


def _requires_cuda(settings: Settings, cuda: CudaReport) -> bool:
    if settings.device == "auto":
        # A GPU that cannot be used is an error: the CPU would be far slower without any notice.
        return cuda.problem is None or cuda.is_expected
    return settings.device == "cuda"


def name_dtype(settings: Settings, dtype: torch.dtype) -> str:
    """Return the name of the dtype in answers: `float32`, or `float32 + int8`."""
    name = str(dtype).removeprefix("torch.")
    return name if settings.quantize == "none" else f"{name} + {settings.quantize}"


def use_exact_arithmetic() -> None:
    """Disable TF32, sums of reduced precision and cuDNN's attention."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    matmul = torch.backends.cuda.matmul
    matmul.allow_tf32 = False
    matmul.allow_fp16_reduced_precision_reduction = False
    matmul.allow_bf16_reduced_precision_reduction = False
    # cuDNN spends 25 to 40 ms on a plan for every new shape of attention, and nearly every prompt
    # has a new shape (docs/adr/0024-cuda-arithmetic.md).
    torch.backends.cuda.enable_cudnn_sdp(False)
