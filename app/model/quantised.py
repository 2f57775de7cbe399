"""Linear layers with 8-bit weights for the CPU: one scale per output, and one per input row.

FBGEMM's kernel uses one scale for all rows of its input. This module therefore scales each row by
its own largest value first, and appends a row of bounds. The kernel then always finds the same
range and uses the scale 1, so that a row never changes the result of another row.

Each input row becomes two rows, of a higher and a lower digit of 7 bits. Decoding is bound by
reading weights, so the second row costs little, and inputs of 14 bits lose almost no precision.
Digits have 7 bits because kernels without VNNI add pairs of products in 16 bits.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.errors import StartupError

ENGINE = "fbgemm"
_WEIGHT_LEVELS = 127
_LOWEST, _HIGHEST = -64.0, 63.0  # range of a digit, 7 bits wide, so that the kernel's scale is 1
_DIGIT_BASE = (
    126  # the remainder after the higher digit is at most 1/2, and the largest digit is 63
)
_SMALLEST = torch.finfo(torch.float32).tiny
_ROWS_AT_ONCE = 256  # so that temporary values stay in the cache


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight in 8 bits, one scale per output.

    Attributes:
        levels: (O, I), int8.
        scales: (O,), float32, above 0; a weight is its level times the scale of its row.
    """

    levels: Tensor
    scales: Tensor


class Int8Linear(nn.Module):
    """y = x·Wᵀ + b, with W in 8 bits.

    Args:
        weight: (O, I); the layer keeps a copy in the layout of the kernel.
        bias: (O,), any float dtype.
    """

    bias: Tensor
    bounds: Tensor

    def __init__(self, weight: QuantizedWeight, bias: Tensor | None) -> None:
        super().__init__()
        self.num_outputs, num_inputs = weight.levels.shape
        self._packed = _pack(weight)
        bounds = torch.zeros(1, num_inputs)
        bounds[0, :2] = torch.tensor([_LOWEST, _HIGHEST])
        self.register_buffer("bounds", bounds)
        self.register_buffer(
            "bias", torch.zeros(self.num_outputs) if bias is None else bias.float()
        )

    @property
    def num_weight_bytes(self) -> int:
        """Memory of the weights in bytes, without scales and bias."""
        return self.num_outputs * self.bounds.shape[1]

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O), in the dtype of the inputs."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()  # (R, I)
        scales = rows.abs().amax(dim=1, keepdim=True).mul_(1 / _HIGHEST).clamp_(min=_SMALLEST)
        scaled = rows / scales  # −63…63
        higher = scaled.round()
        lower = torch.sub(scaled, higher).mul_(_DIGIT_BASE)  # the kernel rounds it
        digits = torch.cat([higher, lower, self.bounds])  # (2R + 1, I)
        sums = torch.ops.quantized.linear_dynamic(digits, self._packed, reduce_range=True)
        num_rows = len(rows)  # the last row of `sums` belongs to the bounds
        of_scaled = torch.add(sums[:num_rows], sums[num_rows:-1], alpha=1 / _DIGIT_BASE)
        outputs = torch.addcmul(self.bias, of_scaled, scales)  # (R, O)
        return outputs.to(inputs.dtype).view(*inputs.shape[:-1], self.num_outputs)


def quantize(weight: Tensor) -> QuantizedWeight:
    """Quantize a weight, (O, I), of any float dtype."""
    levels = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight))
    for first in range(0, len(weight), _ROWS_AT_ONCE):
        rows = weight[first : first + _ROWS_AT_ONCE].float()  # (R, I)
        largest = torch.maximum(rows.amax(dim=1), -rows.amin(dim=1))
        of_rows = (largest / _WEIGHT_LEVELS).clamp(min=_SMALLEST)
        scales[first : first + _ROWS_AT_ONCE] = of_rows
        # Multiplied by the reciprocal, as `torch.quantize_per_channel` computes it.
        scaled = torch.mul(rows, of_rows.reciprocal()[:, None])
        levels[first : first + _ROWS_AT_ONCE] = scaled.round_().clamp_(-128, _WEIGHT_LEVELS)
    return QuantizedWeight(levels, scales)


def _pack(weight: QuantizedWeight) -> object:
    """Return the weight in the layout of the kernel."""
    zeros = torch.zeros(len(weight.scales), dtype=torch.long)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        levels = torch._make_per_channel_quantized_tensor(
            weight.levels, weight.scales.double(), zeros, 0
        )
    torch.backends.quantized.engine = ENGINE
    packed: object = torch.ops.quantized.linear_prepack(levels, None)
    return packed


def has_kernels() -> bool:
    """Return whether this torch has the kernels for 8-bit weights."""
    return ENGINE in torch.backends.quantized.supported_engines


def check_kernels() -> None:
    """Check that this torch has the kernels for 8-bit weights.

    Raises:
        StartupError: the kernels are missing.
    """
    if not has_kernels():
        raise StartupError("quantize int8 needs an x86 processor; set KOSMOS2_QUANTIZE=none")
