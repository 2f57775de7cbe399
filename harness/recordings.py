"""A CUDA graph on the CPU: a list of operators that run again on the same memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

Call = tuple[Any, tuple[Any, ...], dict[str, Any], Any]


class OperatorRecording(TorchDispatchMode):
    """Records every operator with its arguments. Values that Python computes between are fixed."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Call] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # This operator only reads the device of a tensor.
        if func is not torch.ops.prim.device.default:
            self._calls.append((func, args, kwargs or {}, result))
        return result

    @torch.inference_mode()
    def replay(self) -> None:
        """Run the operators again, on the same memory or on new results of earlier operators."""
        current: dict[int, Tensor] = {}

        def now(tensor: Tensor) -> Tensor:
            return current.get(id(tensor), tensor)

        for func, args, kwargs, recorded in self._calls:
            args, kwargs = tree_map_only(Tensor, now, (args, kwargs))
            returned = func(*args, **kwargs)
            pairs = zip(tree_leaves(recorded), tree_leaves(returned), strict=True)
            current.update({id(old): new for old, new in pairs if isinstance(old, Tensor)})


def record_operators(run: Callable[[], None]) -> OperatorRecording:
    """Record the operators of a function; replaces `CudaRecorder` in tests."""
    with OperatorRecording() as recording:
        run()
    return recording


class MetaOnly(TorchDispatchMode):
    """Fails for tensors on another device than `meta`; reads by the host fail by themselves."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        self.check(func, [leaf for leaf in leaves if isinstance(leaf, Tensor)])
        return result

    def check(self, func: Any, tensors: list[Tensor]) -> None:
        """Check the tensors of one operator, including its results."""
        for tensor in tensors:
            if tensor.device.type != "meta":
                raise AssertionError(f"{func} has a tensor on {tensor.device}")
