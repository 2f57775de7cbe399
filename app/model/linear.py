"""Implementations of linear layers: PyTorch's own, two for the CPU, and 8-bit weights."""

from collections.abc import Callable
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

MakeLinear = Callable[[Tensor, Tensor | None], nn.Module]


class LinearLayers(Enum):
    """Implementation of a model's linear layers."""

    PLAIN = "plain"
    PREFETCHED = "prefetched"
    PACKED = "packed"
    INT8 = "int8"


class PrefetchedLinear(nn.Module):
    """y = x·Wᵀ + b, with W read into the cache before the product: for small models on the CPU.

    Between two steps the other layers, and other programs on the same processor, evict the weights
    of a layer from the caches. The product reads weights in an order that is slow for memory. A sum
    reads them sequentially, several times as fast, and fills the cache of the core with them.

    Args:
        weight: (O, I), small enough for the cache of a core.
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
        self.weight.sum()  # fills the cache; the result is not needed
        return functional.linear(inputs, self.weight, self.bias)


class PackedLinear(nn.Module):
    """y = x·Wᵀ + b, with W in the memory layout of oneDNN's kernels.

    The weights keep their dtype and their values. With row-major weights, every call would convert
    the layout again, or would use kernels without this processor's widest registers.

    Args:
        weight: (O, I), on the CPU; the layer keeps a converted copy only.
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
    """Return whether oneDNN can pack weights of a dtype on this processor; 16 bits need AVX-512."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


def replace_linear_layers(module: nn.Module, make: MakeLinear) -> None:
    """Replace every linear layer within a module by `make(weight, bias)`."""
    # All old weights are released together, so that the next layer of the same size, which is
    # loaded afterwards, fits into their memory.
    made = {
        name: make(layer.weight.data, bias_of(layer))
        for name, layer in linear_layers(module).items()
    }
    for name, layer in made.items():
        module.set_submodule(name, layer)


def linear_layers(module: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers within a module, by their names in it."""
    named = module.named_modules()
    return {name: layer for name, layer in named if isinstance(layer, nn.Linear)}


def bias_of(layer: nn.Linear) -> Tensor | None:
    """Return the bias, (O,), or `None`."""
    return None if layer.bias is None else layer.bias.data
