"""Implementations of linear layers: PyTorch's own, three for the CPU, and 8-bit weights."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

_OUTPUTS_AT_ONCE = 256
_ROWS_AT_ONCE = 512

MakeLinear = Callable[[Tensor, Tensor | None], nn.Module]


class LinearLayers(Enum):
    """Implementation of a model's linear layers."""

    PLAIN = "plain"
    PREFETCHED = "prefetched"
    SPLIT = "split"
    PACKED = "packed"
    INT8 = "int8"


class RowMajorLinear(nn.Module, ABC):
    """y = x·Wᵀ + b, with W as it is stored, so that another module can share it.

    Args:
        weight: (O, I), is not copied.
        bias: (O,).
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O)."""


class PrefetchedLinear(RowMajorLinear):
    """y = x·Wᵀ + b, with W read into the cache before the product: for small models on the CPU.

    Between two steps the other layers, and other programs on the same processor, evict the weights
    of a layer from the caches. The product reads weights in an order that is slow for memory. A sum
    reads them sequentially, several times as fast, and fills the cache of the core with them.
    The weight must be small enough for the cache of a core.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O)."""
        self.weight.sum()  # fills the cache; the result is not needed
        return functional.linear(inputs, self.weight, self.bias)


class SplitLinear(RowMajorLinear):
    """y = x·Wᵀ + b, as a batch of products, one for each block of outputs: for large models.

    Decoding is bound by reading W. In one product of few rows, the library's threads read it more
    slowly than memory allows. In a batch each thread computes products of its own, and reads W in
    order (docs/adr/0046-products-by-blocks-of-outputs.md).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._num_split = len(weight) // _OUTPUTS_AT_ONCE * _OUTPUTS_AT_ONCE

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, I) → (…, O)."""
        rows = inputs.reshape(-1, inputs.shape[-1])  # (R, I)
        if len(rows) <= _ROWS_AT_ONCE:  # one part, which needs no copy
            outputs = self._product(rows)
        else:
            parts = rows.chunk(-(-len(rows) // _ROWS_AT_ONCE))
            outputs = torch.cat([self._product(part) for part in parts])
        return outputs.view(*inputs.shape[:-1], len(self.weight))

    def _product(self, rows: Tensor) -> Tensor:
        """(R, I) → (R, O)."""
        split, rest = self.weight[: self._num_split], self.weight[self._num_split :]
        blocks = split.view(-1, _OUTPUTS_AT_ONCE, rows.shape[1]).transpose(1, 2)  # (N, I, 256)
        products = torch.bmm(rows.expand(len(blocks), -1, -1), blocks)  # (N, R, 256)
        outputs = products.transpose(0, 1).reshape(len(rows), self._num_split)
        if len(rest):
            outputs = torch.cat([outputs, functional.linear(rows, rest)], dim=1)
        return outputs if self.bias is None else outputs.add_(self.bias)


class PackedLinear(nn.Module):
    """y = x·Wᵀ + b, with W in the memory layout of oneDNN's kernels: for large models in 16 bits.

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


def choose_for_cpu(dtype: torch.dtype, *, is_small: bool = False) -> LinearLayers:
    """Return the implementation for the layers of a model on the CPU.

    oneDNN uses AVX-512 on processors of every make, MKL in float32 on those of one make only
    (docs/adr/0048-packed-layers-with-avx-512.md).

    Args:
        is_small: whether each layer fits into the cache of a core.
    """
    if torch.backends.cpu.get_cpu_capability() == "AVX512" and can_pack(dtype):
        return LinearLayers.PACKED
    if is_small:
        return LinearLayers.PREFETCHED
    if dtype is torch.float32 and torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return LinearLayers.SPLIT
    return LinearLayers.PACKED if can_pack(dtype) else LinearLayers.PLAIN


def replace_linear_layers(module: nn.Module, make: MakeLinear) -> None:
    """Replace every linear layer within a module by `make(weight, bias)`."""
    # All old weights are released together, so that a later part of the same size fits into their
    # memory.
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
