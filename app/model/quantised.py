"""Linear layers with 8-bit weights for the CPU: a scale for each output, and one for each row.

The kernel is FBGEMM's, which takes one scale for all rows of its input. It is given rows that have
been scaled already, each by its own largest value, and beside them a row of bounds, so that it
always finds the same range and its scale is 1: what stands in one row cannot change another.

A row is written with two digits of 7 bits, as two rows. Decoding waits for weights, so a second row
costs little, and inputs of 14 bits lose next to nothing. 7 bits, because kernels without VNNI add
pairs of products in 16 bits.
"""

import warnings

import torch
from torch import Tensor, nn

from app.errors import StartupError

ENGINE = "fbgemm"
_WEIGHT_LEVELS = 127
_LOWEST, _HIGHEST = -64.0, 63.0  # of a digit; as wide as 7 bits, so that the kernel's scale is 1
_DIGIT_BASE = 126  # what is left after the higher digit is at most a half, and 63 the largest digit
_SMALLEST = torch.finfo(torch.float32).tiny


class Int8Linear(nn.Module):
    """y = x·Wᵀ + b with W in 8 bits.

    Args:
        weight: (O, I), any float dtype; not kept.
        bias: (O,).
    """

    bias: Tensor
    bounds: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.num_outputs, num_inputs = weight.shape
        self._packed = _pack(weight.float())
        bounds = torch.zeros(1, num_inputs)
        bounds[0, :2] = torch.tensor([_LOWEST, _HIGHEST])
        self.register_buffer("bounds", bounds)
        self.register_buffer("bias", torch.zeros(len(weight)) if bias is None else bias.float())

    @property
    def num_weight_bytes(self) -> int:
        """Memory of the weights alone."""
        return self.num_outputs * self.bounds.shape[1]

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O), of the inputs' dtype."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()  # (R, I)
        scales = rows.abs().amax(dim=1, keepdim=True).mul_(1 / _HIGHEST).clamp_(min=_SMALLEST)
        scaled = rows / scales  # −63…63
        higher = scaled.round()
        lower = torch.sub(scaled, higher).mul_(_DIGIT_BASE)  # rounded by the kernel
        digits = torch.cat([higher, lower, self.bounds])  # (2R + 1, I)
        sums = torch.ops.quantized.linear_dynamic(digits, self._packed, reduce_range=True)
        num_rows = len(rows)
        of_scaled = torch.add(sums[:num_rows], sums[num_rows:-1], alpha=1 / _DIGIT_BASE)
        outputs = torch.addcmul(self.bias, of_scaled, scales)  # (R, O)
        return outputs.to(inputs.dtype).view(*inputs.shape[:-1], self.num_outputs)


def _pack(weight: Tensor) -> object:
    """The weights, (O, I), as the kernel wants them."""
    scales = (weight.abs().amax(dim=1) / _WEIGHT_LEVELS).clamp(min=_SMALLEST)
    zeros = torch.zeros(len(weight), dtype=torch.long)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        levels = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
    torch.backends.quantized.engine = ENGINE
    packed: object = torch.ops.quantized.linear_prepack(levels, None)
    return packed


def check_kernels() -> None:
    """See that torch has what 8 bits need.

    Raises:
        StartupError: it has not.
    """
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise StartupError("quantize int8 needs a processor of the x86 family")
