"""Loads a checkpoint's weights into the dtype and onto the device that serve them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from app.checkpoint.files import Checkpoint, StoredTensor
from app.errors import CheckpointError
from app.model.config import ModelConfig
from app.model.decoder import TextDecoder
from app.model.linear import (
    LinearLayers,
    PackedLinear,
    PrefetchedLinear,
    can_pack,
    replace_linear_layers,
)
from app.model.quantised import Int8Linear
from app.model.vision import VisionEncoder
from app.model.vision_tower import ACTIVATION
from app.model.weights import Placement, read_tensors

_DECODER = "text_model.model."
_TOWER = "vision_model.model."
_RESAMPLER = "image_to_text_projection."

_MAKE = {
    LinearLayers.PREFETCHED: PrefetchedLinear,
    LinearLayers.PACKED: PackedLinear,
    LinearLayers.INT8: Int8Linear,
}

# The fused projection holds the checkpoint's three projections, stacked along the outputs.
_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj")}


@dataclass(frozen=True)
class Kosmos2Model:
    """A loaded model.

    Attributes:
        vision: the vision tower with the resampler.
        prefix_token_ids: ids of the tokens that every prompt begins with.
        location_token_ids: ids of the location tokens, in the order of their cells.
        picture_positions: positions of the prefix that hold the picture's embeddings.
        end_token_id: id of the token that ends an answer.
        dtype: dtype of the weights.
    """

    decoder: TextDecoder
    vision: VisionEncoder
    prefix_token_ids: list[int]
    location_token_ids: range
    picture_positions: slice
    end_token_id: int
    device: torch.device
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Memory of the weights in bytes."""
        modules = {*self.decoder.modules(), *self.vision.modules()}
        if isinstance(self.decoder.head, PrefetchedLinear):
            modules.remove(self.decoder.head)  # it shares its weights with the embedding
        tensors = (t for m in modules for t in chain(m.parameters(False), m.buffers(False)))
        packed = (m.num_weight_bytes for m in modules if isinstance(m, Int8Linear))
        return sum(tensor.nbytes for tensor in tensors) + sum(packed)


def read_config(checkpoint: Checkpoint) -> ModelConfig:
    """Return the checkpoint's configuration.

    Raises:
        CheckpointError: the activation, the head or the attention is not supported.
    """
    config = ModelConfig.from_json(json.loads((checkpoint.directory / "config.json").read_bytes()))
    text = config.text_config
    if text.activation_function != "gelu":
        raise CheckpointError(
            f"activation {text.activation_function!r} is not supported, only gelu"
        )
    if config.vision_config.hidden_act != ACTIVATION:
        kind = config.vision_config.hidden_act
        raise CheckpointError(
            f"activation {kind!r} of the vision tower is not supported, only {ACTIVATION}"
        )
    if text.add_cross_attention or not text.tie_word_embeddings:
        raise CheckpointError("models with cross-attention or an untied head are not supported")
    return config


def weights_bytes(checkpoint: Checkpoint, dtype: torch.dtype, linear: LinearLayers) -> int:
    """Return the memory of the loaded weights in bytes, without the scales of 8-bit weights."""
    return sum(
        torch.Size(stored.shape).numel() * _bytes_per_element(name, stored, dtype, linear)
        for name, stored in checkpoint.tensors.items()
    )


def _bytes_per_element(
    name: str, stored: StoredTensor, dtype: torch.dtype, linear: LinearLayers
) -> int:
    if name.endswith("lm_head.weight"):  # a second copy of the embedding, which is not loaded
        return 0
    if name == f"{_DECODER}embed_tokens.weight":  # needed for look-ups next to any head
        return dtype.itemsize + _bytes_of_head_weight(dtype, linear)
    is_in_layers = name.startswith(f"{_DECODER}layers.") and len(stored.shape) == 2
    return 1 if is_in_layers and linear is LinearLayers.INT8 else dtype.itemsize


def _bytes_of_head_weight(dtype: torch.dtype, linear: LinearLayers) -> int:
    if linear is LinearLayers.INT8:
        return 1
    return (
        dtype.itemsize if linear is LinearLayers.PACKED else 0
    )  # otherwise the embedding is the head


def _linear_of_vision(linear: LinearLayers, dtype: torch.dtype) -> LinearLayers:
    """Return the implementation of the vision tower's layers, which are never quantized."""
    if linear is not LinearLayers.INT8:
        return linear
    return LinearLayers.PACKED if can_pack(dtype) else LinearLayers.PLAIN


def load_model(
    checkpoint: Checkpoint,
    prefix_token_ids: list[int],
    location_token_ids: range,
    num_positions: int,
    device: torch.device,
    dtype: torch.dtype,
    on_progress: Callable[[int], None],
    linear: LinearLayers = LinearLayers.PLAIN,
) -> Kosmos2Model:
    """Load the weights.

    Args:
        prefix_token_ids: prefix of every prompt, from the checkpoint's tokenizer.
        location_token_ids: location tokens in the order of their cells, from the same tokenizer.
        num_positions: number of tokens of the longest sequence that can be served.
        dtype: dtype of weights, activations, keys and values.
        on_progress: called with the number of bytes that were loaded since the last call.
        linear: implementation of linear layers. `INT8` applies to the decoder and its head; the
            layers of the vision tower are then packed if possible.

    Raises:
        CheckpointError: a tensor is missing or has a wrong shape, or the tokenizer has location
            tokens that the model lacks.
    """
    config = read_config(checkpoint)
    _check_location_tokens(checkpoint, location_token_ids, config.text_config.vocab_size)
    decoder, vision = _without_weights(checkpoint, config, num_positions)
    for prefix, part in _parts(decoder, vision):
        _allocate(part, device, dtype)
        read_tensors(_placements(checkpoint, prefix, part), on_progress)
        of_part = linear if prefix.startswith(_DECODER) else _linear_of_vision(linear, dtype)
        if of_part is not LinearLayers.PLAIN:
            replace_linear_layers(part, _MAKE[of_part])
    if linear is not LinearLayers.PLAIN:
        decoder.head = _MAKE[linear](decoder.embed_tokens.weight.data, None)
    decoder.fill_positions(device, dtype)
    vision.fill_buffers(device)
    return Kosmos2Model(
        decoder=decoder.eval().requires_grad_(False),
        vision=vision.eval().requires_grad_(False),
        prefix_token_ids=prefix_token_ids,
        location_token_ids=location_token_ids,
        picture_positions=slice(2, 2 + config.latent_query_num),
        end_token_id=config.text_config.eos_token_id,
        device=device,
        dtype=dtype,
    )


def _check_location_tokens(checkpoint: Checkpoint, token_ids: range, num_tokens: int) -> None:
    if token_ids.stop > num_tokens:
        raise CheckpointError(
            f"{checkpoint.directory}: the tokenizer has location tokens beyond the model's "
            f"{num_tokens} tokens"
        )


def _allocate(part: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Give every parameter memory on the device, without values."""
    # `Module.to_empty` would import sympy, which takes a tenth of the engine's start.
    for module in part.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, device=device, dtype=dtype)
            setattr(module, name, nn.Parameter(empty, requires_grad=False))


def expected_tensors(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all tensors that `load_model` reads, without reading any.

    Raises:
        CheckpointError: the configuration is not supported.
    """
    parts = _parts(*_without_weights(checkpoint, read_config(checkpoint), num_positions=1))
    return {
        name: tuple(target.shape)
        for prefix, part in parts
        for name, target in _targets(prefix, part)
    }


def _without_weights(
    checkpoint: Checkpoint, config: ModelConfig, num_positions: int
) -> tuple[TextDecoder, VisionEncoder]:
    with torch.device("meta"):
        return (
            TextDecoder(config.text_config, num_positions),
            VisionEncoder(config, checkpoint.image_mean, checkpoint.image_std),
        )


def _parts(decoder: TextDecoder, vision: VisionEncoder) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules to load one after the other, with the prefix of their parameter names.

    Each is packed or quantized before the next is loaded. So at most one module is in memory in its
    stored form, and the next module reuses its memory.
    """
    tower = vision.vision_model["model"]
    for prefix, module in ((_DECODER, decoder), (_TOWER, tower)):
        for name, part in module.named_children():
            yield from _layers_of(f"{prefix}{name}.", part)
    yield _RESAMPLER, vision.image_to_text_projection


def _layers_of(prefix: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a container, or the module itself if it is not a container."""
    containers = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
    if not isinstance(part, containers):
        yield prefix, part
        return
    for name, child in part.named_children():
        yield from _layers_of(f"{prefix}{name}.", child)


def _placements(checkpoint: Checkpoint, prefix: str, part: nn.Module) -> Iterator[Placement]:
    """Yield the source of every parameter; a fused parameter has several."""
    for name, target in _targets(prefix, part):
        yield _placement(checkpoint, name, target)


def _targets(prefix: str, part: nn.Module) -> Iterator[tuple[str, Tensor]]:
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
