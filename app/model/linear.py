"""How linear layers are computed: as PyTorch has them, in ways made for the CPU, or in 8 bits."""

from collections.abc import Callable
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

MakeLinear = Callable[[Tensor, Tensor | None], nn.Module]


class LinearLayers(Enum):
    """What a model's linear layers become once loaded."""

    PLAIN = "plain"
    TOUCHED = "touched"
    PACKED = "packed"
    INT8 = "int8"


class PrefetchedLinear(nn.Module):
    """y = x·Wᵀ + b with W read once, in order, before the product: for small models on the CPU.

    Between two steps all other layers, and other programs on the same processor, push a layer out
    of its caches. The product takes its weights in an order in which they come slowly from memory;
    a sum takes them in the order in which they lie, several times as fast, and leaves them in the
    cache of the core. What it adds up to is of no use.

    Args:
        weight: (O, I), small enough for that cache.
        bias: (O,).
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O)."""
        self.weight.sum()
        return functional.linear(inputs, self.weight, self.bias)


class PackedLinear(nn.Module):
    """y = x·Wᵀ + b with W laid out as oneDNN's kernels read it.

    The arithmetic is that of the dtype, nothing is rounded. Left in rows, weights would be laid out
    anew in every call, or go through kernels that do not know this processor's widest registers.

    Args:
        weight: (O, I), on the CPU; not kept.
        bias: (O,).
    """

    packed: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("packed", torch.ops.mkldnn._reorder_linear_weight(weight, None))
        self.register_buffer("bias", bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O)."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self.packed, self.bias, "none", [], ""
        )
        return outputs


def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN can lay out weights of a dtype on this processor; 16 bits need AVX-512."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


def replace_linear_layers(module: nn.Module, make: MakeLinear) -> None:
    """Make every linear layer within a module another one; then the old weights are let go.

    All at once: a layer alike that is loaded next then fits into the memory they leave.
    """
    replaced = []
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                bias = None if child.bias is None else child.bias.data
                replaced.append((parent, name, make(child.weight.data, bias)))
    for parent, name, made in replaced:
        setattr(parent, name, made)
