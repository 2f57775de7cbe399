"""Loads a checkpoint's weights into the dtype and onto the device that serve them."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

from app.checkpoint.files import Checkpoint, StoredTensor
from app.checkpoint.kept_weights import KeptWeights
from app.errors import CheckpointError
from app.model.config import ModelConfig
from app.model.decoder import TextDecoder
from app.model.linear import (
    LinearLayers,
    PackedLinear,
    PrefetchedLinear,
    RowMajorLinear,
    SplitLinear,
    choose_for_cpu,
    replace_linear_layers,
)
from app.model.parts import (
    DECODER,
    PartSource,
    decoder_parts,
    targets_of,
    vision_parts,
    without_weights,
)
from app.model.quantised import Int8Linear
from app.model.quantised_loading import load_quantized, with_one_digit
from app.model.vision import VisionEncoder
from app.model.vision_tower import ACTIVATION
from app.model.weights import TensorReader

_MAKE = {
    LinearLayers.PREFETCHED: PrefetchedLinear,
    LinearLayers.SPLIT: SplitLinear,
    LinearLayers.PACKED: PackedLinear,
}


@dataclass(frozen=True)
class Kosmos2Model:
    """A loaded model.

    Attributes:
        prefix_decoder: computes the prefixes of pictures: the decoder itself, or with 8-bit weights
            one that shares them and rounds the inputs of most layers to one digit.
        vision: the vision tower with the resampler.
        prefix_token_ids: ids of the tokens that every prompt begins with.
        location_token_ids: ids of the location tokens, in the order of their cells.
        picture_positions: positions of the prefix that hold the picture's embeddings.
        end_token_ids: ids of the tokens that end an answer.
        dtype: dtype of the weights.
    """

    decoder: TextDecoder
    prefix_decoder: TextDecoder
    vision: VisionEncoder
    prefix_token_ids: list[int]
    location_token_ids: range
    picture_positions: slice
    end_token_ids: frozenset[int]
    device: torch.device
    dtype: torch.dtype

    @property
    def is_quantized(self) -> bool:
        """Whether the decoder has 8-bit weights."""
        return self.prefix_decoder is not self.decoder

    @property
    def num_bytes(self) -> int:
        """Memory of the weights in bytes."""
        modules = {*self.decoder.modules(), *self.vision.modules()}
        if isinstance(self.decoder.head, RowMajorLinear):
            modules.remove(self.decoder.head)  # it shares its weights with the embedding
        tensors = (t for m in modules for t in chain(m.parameters(False), m.buffers(False)))
        packed = (m.weight.num_bytes for m in modules if isinstance(m, Int8Linear))
        return sum(tensor.nbytes for tensor in tensors) + sum(packed)


def read_config(checkpoint: Checkpoint) -> ModelConfig:
    """Return the checkpoint's configuration.

    Raises:
        CheckpointError: a value is invalid, or the activation, the head or the attention is not
            supported.
    """
    path = checkpoint.directory / "config.json"
    try:
        config = ModelConfig.from_json(json.loads(path.read_bytes()))
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
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
    if name == f"{DECODER}embed_tokens.weight":  # needed for look-ups next to any head
        return dtype.itemsize + _bytes_of_head_weight(dtype, linear)
    is_in_layers = name.startswith(f"{DECODER}layers.") and len(stored.shape) == 2
    return 1 if is_in_layers and linear is LinearLayers.INT8 else dtype.itemsize


def _bytes_of_head_weight(dtype: torch.dtype, linear: LinearLayers) -> int:
    if linear is LinearLayers.INT8:
        return 1
    is_copied = linear is LinearLayers.PACKED  # otherwise the embedding is the head
    return dtype.itemsize if is_copied else 0


def _linear_of_vision(linear: LinearLayers, dtype: torch.dtype) -> LinearLayers:
    """Return the implementation of the vision tower's layers, which are never quantized."""
    return choose_for_cpu(dtype) if linear is LinearLayers.INT8 else linear


def load_model(
    checkpoint: Checkpoint,
    prefix_token_ids: list[int],
    location_token_ids: range,
    num_positions: int,
    device: torch.device,
    dtype: torch.dtype,
    on_progress: Callable[[int], None],
    linear: LinearLayers = LinearLayers.PLAIN,
    kept: KeptWeights | None = None,
) -> Kosmos2Model:
    """Load the weights.

    Args:
        prefix_token_ids: prefix of every prompt, from the checkpoint's tokenizer.
        location_token_ids: location tokens in the order of their cells, from the same tokenizer.
        num_positions: number of tokens of the longest sequence that can be served.
        dtype: dtype of weights, activations, keys and values.
        on_progress: called with the number of bytes that were loaded since the last call.
        linear: implementation of linear layers. `INT8` applies to the decoder and its head; the
            vision tower then has the layers of a large model in `dtype`.
        kept: file for the 8-bit weights, read if it exists and otherwise written; `None`: no file.

    Raises:
        CheckpointError: a tensor is missing or has a wrong shape, the tokenizer has location tokens
            that the model lacks, or a file was changed meanwhile.
    """
    config = read_config(checkpoint)
    _check_location_tokens(checkpoint, location_token_ids, config.text_config.vocab_size)
    decoder, vision = without_weights(checkpoint, config, num_positions)
    with TensorReader() as reader:
        source = PartSource(checkpoint, device, dtype, on_progress, reader)
        _load_decoder(decoder, source, linear, kept)
        _load(vision_parts(vision), source, _linear_of_vision(linear, dtype))
    checkpoint.check_unchanged()
    decoder.fill_positions(device, dtype)
    vision.fill_buffers(device)
    decoder.eval().requires_grad_(False)
    return Kosmos2Model(
        decoder=decoder,
        prefix_decoder=with_one_digit(decoder) if linear is LinearLayers.INT8 else decoder,
        vision=vision.eval().requires_grad_(False),
        prefix_token_ids=prefix_token_ids,
        location_token_ids=location_token_ids,
        picture_positions=slice(2, 2 + config.latent_query_num),
        end_token_ids=checkpoint.end_token_ids or config.text_config.end_token_ids,
        device=device,
        dtype=dtype,
    )


def _load_decoder(
    decoder: TextDecoder, source: PartSource, linear: LinearLayers, kept: KeptWeights | None
) -> None:
    if linear is LinearLayers.INT8:
        load_quantized(decoder, source, kept)
        return
    _load(decoder_parts(decoder), source, linear)
    if linear is not LinearLayers.PLAIN:
        decoder.head = _MAKE[linear](decoder.embed_tokens.weight.data, None)
    elif source.device.type == "cuda":
        decoder.pad_head()


def _load(parts: Iterable[tuple[str, nn.Module]], source: PartSource, linear: LinearLayers) -> None:
    """Read the parts one after the other; while one is read, the one before is packed."""
    with ThreadPoolExecutor(1, "pack") as packer:
        packing: Future[None] | None = None
        for prefix, part in parts:
            source.fill(prefix, part)
            if packing is not None:
                packing.result()
            if linear is not LinearLayers.PLAIN:
                packing = packer.submit(replace_linear_layers, part, _MAKE[linear])
    if packing is not None:
        packing.result()


def _check_location_tokens(checkpoint: Checkpoint, token_ids: range, num_tokens: int) -> None:
    if token_ids.stop > num_tokens:
        raise CheckpointError(
            f"{checkpoint.directory}: the tokenizer has location tokens beyond the model's "
            f"{num_tokens} tokens"
        )


def expected_tensors(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all tensors that `load_model` reads, without reading any.

    Raises:
        CheckpointError: the configuration is not supported.
    """
    decoder, vision = without_weights(checkpoint, read_config(checkpoint), num_positions=1)
    parts = chain(decoder_parts(decoder), vision_parts(vision))
    return {
        name: tuple(target.shape)
        for prefix, part in parts
        for name, target in targets_of(prefix, part)
    }
