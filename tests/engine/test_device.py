"""The device and the dtype that an engine chooses, and the precision of its arithmetic."""

import pytest
import torch

from app.engine.device import CudaReport, choose_device, probe_cuda, use_exact_arithmetic
from app.errors import StartupError
from app.settings import Settings

NO_CARD = CudaReport(is_expected=False, problem="Found no NVIDIA driver on your system")
OLD_DRIVER = CudaReport(is_expected=True, problem="The NVIDIA driver on your system is too old")
T4 = CudaReport(is_expected=True, problem=None, capability=(7, 5))
H100 = CudaReport(is_expected=True, problem=None, capability=(9, 0))


@pytest.mark.parametrize(
    ("settings", "cuda", "device", "dtype"),
    [
        ({"device": "auto"}, NO_CARD, "cpu", torch.float32),
        ({"device": "cpu"}, OLD_DRIVER, "cpu", torch.float32),
        ({"device": "cpu"}, H100, "cpu", torch.float32),
        ({"device": "cpu", "dtype": "float16"}, H100, "cpu", torch.float16),
        ({"device": "auto"}, H100, "cuda", torch.bfloat16),
        ({"device": "auto"}, T4, "cuda", torch.float16),
        ({"device": "cuda", "dtype": "float16"}, H100, "cuda", torch.float16),
        ({"device": "cuda", "dtype": "bfloat16"}, T4, "cuda", torch.bfloat16),
        ({"device": "cuda", "dtype": "float32"}, T4, "cuda", torch.float32),
    ],
)
def test_settings_and_card_determine_device_and_dtype(
    settings: dict[str, str], cuda: CudaReport, device: str, dtype: torch.dtype
) -> None:
    """Cards before compute capability 8.0 only emulate bfloat16, so they get float16."""
    assert choose_device(Settings(**settings), cuda) == (torch.device(device), dtype)


@pytest.mark.parametrize(
    ("device", "cuda"), [("auto", OLD_DRIVER), ("cuda", OLD_DRIVER), ("cuda", NO_CARD)]
)
def test_an_unusable_card_stops_the_start_with_advice(device: str, cuda: CudaReport) -> None:
    """A service that silently used the CPU would be a hundred times slower and look healthy."""
    with pytest.raises(StartupError) as raised:
        choose_device(Settings(device=device), cuda)
    for word in (str(cuda.problem), "TORCH_INDEX_URL", "cu126", "KOSMOS2_DEVICE=cpu"):
        assert word in str(raised.value)


def test_int8_on_cuda_is_rejected() -> None:
    with pytest.raises(StartupError, match="CPU only"):
        choose_device(Settings(device="auto", quantize="int8"), H100)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device can be used here")
def test_the_probe_reports_why_cuda_cannot_be_used() -> None:
    report = probe_cuda()
    assert report.problem
    assert report.capability == (0, 0)


def test_arithmetic_is_exact_and_cudnn_attention_is_off() -> None:
    """On Hopper torch prefers cuDNN, which builds a new plan for every shape of a prompt."""
    use_exact_arithmetic()
    matmul = torch.backends.cuda.matmul
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert not matmul.allow_tf32
    assert not matmul.allow_fp16_reduced_precision_reduction
    assert not matmul.allow_bf16_reduced_precision_reduction
    assert not torch.backends.cudnn.allow_tf32


def test_tests_run_on_the_cpu_on_every_machine() -> None:
    """`make test` compares answers in float32; `auto` would select bfloat16 on a GPU."""
    assert Settings().device == "cpu"
