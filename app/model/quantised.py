"""Linear layers with 8-bit weights for the CPU: one scale per output, and one per input row.

A sum of 8-bit products is an integer. So a row's result depends neither on other rows nor on their
number, if each row has a scale of its own. FBGEMM's kernel has one scale for all rows; these layers
scale the rows themselves, and use the kernel with the scale 1.

`TwoDigitLinear` represents each input by two digits of 7 bits, a higher and a lower one, which lose
almost no precision. Decoding is bound by reading weights, so the second digit costs little there.
`OneDigitLinear` takes half of the time where many rows share the weights: in the prefix of a
picture. The kind of work decides, never the number of rows.
"""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from app.errors import StartupError

ENGINE = "fbgemm"
_WEIGHT_LEVELS = 127
_SMALLEST = torch.finfo(torch.float32).tiny
_SMALLEST_RANGE = 2.0**-20  # of a digit, relative to the values of its row
_ROWS_AT_ONCE = 256  # so that temporary values stay in the cache


@dataclass(frozen=True)
class Digits:
    """A range of integers that the kernel multiplies without overflow.

    Attributes:
        num_bits: 7 or 8; the range has all integers of so many bits.
    """

    num_bits: int

    @property
    def lowest(self) -> int:
        """The lowest digit."""
        return -(1 << self.num_bits - 1)

    @property
    def highest(self) -> int:
        """The highest digit."""
        return (1 << self.num_bits - 1) - 1


SEVEN_BITS, EIGHT_BITS = Digits(7), Digits(8)
# The remainder after the higher digit is at most 1/2, and the lower digit at most 63.
_DIGIT_BASE = 2 * SEVEN_BITS.highest


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight in 8 bits, one scale per output.

    Attributes:
        levels: (O, I), int8.
        scales: (O,), float32, above 0; a weight is its level times the scale of its row.
    """

    levels: Tensor
    scales: Tensor


class PackedWeight:
    """A quantized weight in the layout of the kernel, which several layers can share.

    Args:
        weight: is copied.

    Attributes:
        sums: (O,), sum of the weights of each output.
    """

    def __init__(self, weight: QuantizedWeight) -> None:
        self.num_outputs, self.num_inputs = weight.levels.shape
        self._packed = _pack(weight)
        # A product with ones takes a fortieth of the time of a sum over rows of bytes.
        (self.sums,) = self.multiply(torch.ones(1, self.num_inputs), SEVEN_BITS)

    @property
    def num_bytes(self) -> int:
        """Memory of the weights in bytes, without scales and sums."""
        return self.num_outputs * self.num_inputs

    def multiply(self, rows: Tensor, digits: Digits) -> Tensor:
        """Multiply with the weights: (R, I) → (R, O) float32.

        Args:
            rows: values within the range of `digits`, which the kernel rounds.
        """
        sums: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows, 1.0, -digits.lowest, self._packed
        )
        return sums


class Int8Linear(nn.Module, ABC):
    """y = x·Wᵀ + b, with W in 8 bits.

    Args:
        bias: (O,), any float dtype.
    """

    bias: Tensor

    def __init__(self, weight: PackedWeight, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer(
            "bias", torch.zeros(weight.num_outputs) if bias is None else bias.float()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O), in the dtype of the inputs."""
        rows = inputs.reshape(-1, self.weight.num_inputs).float()  # (R, I)
        outputs = self._product(rows)
        return outputs.to(inputs.dtype).view(*inputs.shape[:-1], self.weight.num_outputs)

    @abstractmethod
    def _product(self, rows: Tensor) -> Tensor:
        """(R, I) → (R, O), float32."""


class TwoDigitLinear(Int8Linear):
    """A layer whose inputs have two digits of 7 bits."""

    def _product(self, rows: Tensor) -> Tensor:
        largest = rows.abs().amax(dim=1, keepdim=True)  # (R, 1)
        scales = largest.mul_(1 / SEVEN_BITS.highest).clamp_(min=_SMALLEST)
        scaled = rows * scales.reciprocal()  # −63…63
        higher = scaled.round()
        lower = scaled.sub_(higher).mul_(_DIGIT_BASE)
        sums = self.weight.multiply(torch.cat([higher, lower]), SEVEN_BITS)  # (2R, O)
        of_higher, of_lower = sums.chunk(2)
        of_scaled = torch.add(of_higher, of_lower, alpha=1 / _DIGIT_BASE)
        return torch.addcmul(self.bias, of_scaled, scales)


class OneDigitLinear(Int8Linear):
    """A layer whose inputs have one digit, of 8 bits if the kernel can multiply it, otherwise 7.

    The digits of a row cover its range from the lowest to the highest value.
    """

    def _product(self, rows: Tensor) -> Tensor:
        digits = widest_digits()
        lowest, highest = rows.aminmax(dim=1, keepdim=True)  # (R, 1)
        scales = (highest - lowest).div_(digits.highest - digits.lowest)
        # A range that is tiny, compared with the values, would be lost in rounding.
        smallest = torch.maximum(highest, -lowest).mul_(_SMALLEST_RANGE).clamp_(min=_SMALLEST)
        scales = torch.maximum(scales, smallest)
        factors = scales.reciprocal()
        sums = self.weight.multiply(
            torch.addcmul(digits.lowest - lowest * factors, rows, factors), digits
        )
        offsets = lowest - digits.lowest * scales  # the value of the digit 0
        return torch.addcmul(self.bias, sums, scales).addcmul_(offsets, self.weight.sums)


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


@lru_cache
def widest_digits() -> Digits:
    """Return the widest digits whose extreme values this processor multiplies without overflow.

    Processors without VNNI add pairs of products in 16 bits, and limit the sum of two products of 8
    bits to what fits.
    """
    highest = torch.full((16, 64), _WEIGHT_LEVELS, dtype=torch.int8)
    weight = PackedWeight(QuantizedWeight(highest, torch.ones(16)))
    for digit in (EIGHT_BITS.lowest, EIGHT_BITS.highest):
        product = weight.multiply(torch.full((3, 64), float(digit)), EIGHT_BITS)
        if not bool((product == 64 * _WEIGHT_LEVELS * digit).all()):
            return SEVEN_BITS
    return EIGHT_BITS


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
