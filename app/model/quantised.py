"""Linear layers with 8-bit weights for the CPU: a scale for each output, and one for each row.

Weights and inputs are integers, so products are summed exactly and a row cannot disturb another.
An input is written with two digits of 7 bits, which go through the kernel as two rows: it costs no
more memory to be read, loses next to nothing against float inputs, and 7 bits keep kernels without
VNNI, which add pairs of products in 16 bits, from overflowing.
"""

import torch
from torch import Tensor, nn

from app.errors import StartupError

_WEIGHT_LEVELS = 127
_DIGIT_BASE = 128
_DIGIT_ZERO = 64  # digits are −64…64, the kernel takes unsigned bytes
_INPUT_LEVELS = 63 * _DIGIT_BASE + 63  # the largest number whose higher digit is under 64


class Int8Linear(nn.Module):
    """y = x·W + b with W in 8 bits.

    Args:
        weight: (O, I), any float dtype; not kept.
        bias: (O,).
    """

    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        largest = weight.abs().amax(dim=1, keepdim=True).float()  # (O, 1)
        scales = largest.clamp(min=torch.finfo(torch.float32).tiny) / _WEIGHT_LEVELS
        levels = (weight.float() / scales).round().to(torch.int8)
        self.num_outputs = len(weight)
        self.register_buffer("levels", torch.ops.onednn.qlinear_prepack(levels, None))
        self.register_buffer("scales", scales[:, 0] / _INPUT_LEVELS)
        self.register_buffer("zeros", torch.zeros(len(weight), dtype=torch.int32))
        self.register_buffer("bias", torch.zeros(len(weight)) if bias is None else bias.float())

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O), of the inputs' dtype."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()  # (R, I)
        largest = rows.abs().amax(dim=1, keepdim=True)  # (R, 1)
        higher, lower = self._sums(_digits(rows, largest)).chunk(2)
        sums = torch.add(lower, higher, alpha=_DIGIT_BASE)  # (R, O)
        outputs = torch.addcmul(self.bias, sums, largest)
        return outputs.to(inputs.dtype).view(*inputs.shape[:-1], self.num_outputs)

    def _sums(self, digits: Tensor) -> Tensor:
        """(D, I) bytes → (D, O) float32."""
        sums: Tensor = torch.ops.onednn.qlinear_pointwise(
            digits,
            1.0,
            _DIGIT_ZERO,
            self.levels,
            self.scales,
            self.zeros,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return sums


def _digits(rows: Tensor, largest: Tensor) -> Tensor:
    """Rows (R, I) as integers of two digits each, relative to the largest: (2R, I) bytes."""
    levels = (rows * (_INPUT_LEVELS / largest.clamp(min=torch.finfo(torch.float32).tiny))).round_()
    higher = (levels * (1 / _DIGIT_BASE)).round_()
    lower = torch.sub(levels, higher, alpha=_DIGIT_BASE)
    return torch.cat([higher, lower]).add_(_DIGIT_ZERO).to(torch.uint8)


def quantise_linear_layers(module: nn.Module) -> None:
    """Replace every linear layer within a module; the float weights are let go.

    Raises:
        StartupError: this build of torch has no kernels for it.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        raise StartupError("quantize int8: this build of torch has no oneDNN, which it needs")
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, Int8Linear(child.weight.data, child.bias.data))
