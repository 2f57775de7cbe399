"""The parts of a model in the order of loading, and the stored tensors of each parameter."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from app.checkpoint.files import Checkpoint
from app.errors import CheckpointError
from app.model.config import ModelConfig
from app.model.decoder import TextDecoder
from app.model.vision import VisionEncoder
from app.model.weights import Placement, TensorReader

DECODER = "text_model.model."
_TOWER = "vision_model.model."
_RESAMPLER = "image_to_text_projection."

# The fused projection holds the checkpoint's three projections, stacked along the outputs.
_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj")}


M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class PartSource:
    """The stored weights of a checkpoint, and the form in which they are served.

    Attributes:
        on_progress: called with the number of bytes that were filled since the last call.
    """

    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype
    on_progress: Callable[[int], None]
    reader: TensorReader

    def fill(self, prefix: str, part: nn.Module) -> None:
        """Allocate and read every parameter of a part.

        Raises:
            CheckpointError: a tensor is missing or has a wrong shape.
        """
        _allocate(part, self.device, self.dtype)
        placements = (_placement(self.checkpoint, *named) for named in targets_of(prefix, part))
        self.reader.read(placements, self.on_progress)

    def skip_weight(self, layer: nn.Linear) -> None:
        """Remove the weight of a layer, which is known without reading it; count it as filled."""
        self.on_progress(layer.weight.numel() * self.dtype.itemsize)
        layer.register_parameter("weight", None)


def without_weights(
    checkpoint: Checkpoint, config: ModelConfig, num_positions: int
) -> tuple[TextDecoder, VisionEncoder]:
    """Return the model without memory for its weights, on the `meta` device."""
    with torch.device("meta"):
        return (
            TextDecoder(config.text_config, num_positions),
            VisionEncoder(config, checkpoint.image_mean, checkpoint.image_std),
        )


def with_children(module: M, children: Mapping[str, nn.Module | None]) -> M:
    """Return a copy of a module, with the same parameters, in which some children are replaced."""
    copied = copy.copy(module)
    copied._modules = {**module._modules, **children}
    return copied


def decoder_parts(decoder: TextDecoder) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules to load one after the other, with the prefix of their parameter names.

    Each is packed or quantized while the next is loaded. So at most two modules are in memory in
    their stored form.
    """
    yield from _children_of(DECODER, decoder)


def vision_parts(vision: VisionEncoder) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules to load one after the other, as `decoder_parts` does."""
    yield from _children_of(_TOWER, vision.tower)
    yield _RESAMPLER, vision.image_to_text_projection


def _children_of(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, part in module.named_children():
        yield from _layers_of(f"{prefix}{name}.", part)


def _layers_of(prefix: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a container, or the module itself if it is not a container."""
    containers = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
    if not isinstance(part, containers):
        yield prefix, part
        return
    for name, child in part.named_children():
        yield from _layers_of(f"{prefix}{name}.", child)


def targets_of(prefix: str, part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the checkpoint's name of every tensor of a part, and the memory for it."""
    for name, parameter in part.named_parameters(prefix.removesuffix(".")):
        names = _stored_names(name)
        yield from zip(names, parameter.data.chunk(len(names)), strict=True)


def _placement(checkpoint: Checkpoint, name: str, target: Tensor) -> Placement:
    stored = checkpoint.tensors.get(name)
    if stored is None:
        raise CheckpointError(f"{checkpoint.directory}: tensor {name} is missing")
    if stored.shape != target.shape:
        raise CheckpointError(
            f"{checkpoint.directory}: {name} has the shape {list(stored.shape)}, "
            f"but config.json requires {list(target.shape)}"
        )
    return Placement(stored, target)


def _stored_names(name: str) -> list[str]:
    """Return the checkpoint's names of a parameter; a fused parameter has several."""
    for fused, separate in _FUSED.items():
        if f".{fused}." in name:
            return [name.replace(fused, projection) for projection in separate]
    return [name]


def _allocate(part: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Give every parameter memory on the device, without values."""
    # `Module.to_empty` would import sympy, which takes a tenth of the engine's start.
    for module in part.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, device=device, dtype=dtype)
            setattr(module, name, nn.Parameter(empty, requires_grad=False))
