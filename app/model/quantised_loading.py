"""Loads a decoder with its linear layers in 8 bits: from a file of an earlier start, or anew."""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TypeVar, cast

import torch
from torch import nn

from app.checkpoint.kept_weights import KeptWeights
from app.model.decoder import Block, TextDecoder
from app.model.linear import bias_of, linear_layers
from app.model.parts import PartSource, decoder_parts
from app.model.quantised import (
    OneDigitLinear,
    PackedWeight,
    QuantizedWeight,
    TwoDigitLinear,
    quantize,
)
from app.model.quantised_cache import QuantizedCache

HEAD = "head"
M = TypeVar("M", bound=nn.Module)


def load_quantized(decoder: TextDecoder, source: PartSource, kept: KeptWeights | None) -> None:
    """Load all parts of the decoder, and its head as a copy of the embedding in 8 bits.

    Args:
        kept: file for the 8-bit weights; `None`: neither read nor write one.

    Raises:
        CheckpointError: a tensor is missing or has a wrong shape.
    """
    shapes = _shapes_of(decoder)
    with (
        nullcontext() if kept is None else QuantizedCache(kept, shapes) as cache,
        _worker_threads() as workers,
    ):
        for prefix, part in decoder_parts(decoder):
            _load_part(prefix, part, source, cache, workers)
        known = None if cache is None else cache.read(HEAD)
        head = known or quantize(decoder.embed_tokens.weight.data)
        if cache is not None:
            cache.write(HEAD, head)
        decoder.head = TwoDigitLinear(PackedWeight(head), None)
    for layer in decoder.layers:
        cast(Block, layer).self_attn.attends_separately = True


def with_one_digit(module: M) -> M:
    """Return a module with the same weights, not copied, whose 8-bit layers have one digit."""
    if isinstance(module, TwoDigitLinear):
        return cast(M, OneDigitLinear(module.weight, module.bias))
    twin = copy.copy(module)
    twin._modules = {
        name: None if child is None else with_one_digit(child)
        for name, child in module._modules.items()
    }
    return twin


def _shapes_of(decoder: TextDecoder) -> dict[str, tuple[int, int]]:
    """Return the shape of every weight in 8 bits."""
    shapes = {
        prefix + name: (layer.out_features, layer.in_features)
        for prefix, part in decoder_parts(decoder)
        for name, layer in linear_layers(part).items()
    }
    num_tokens, width = decoder.embed_tokens.weight.shape
    return shapes | {HEAD: (num_tokens, width)}


def _load_part(
    prefix: str,
    part: nn.Module,
    source: PartSource,
    cache: QuantizedCache | None,
    workers: ThreadPoolExecutor,
) -> None:
    layers = linear_layers(part)
    known: dict[str, QuantizedWeight | None] = dict.fromkeys(layers)
    if cache is not None:
        names = [prefix + name for name in layers]
        known = dict(zip(layers, workers.map(cache.read, names), strict=True))
    for name, layer in layers.items():
        if known[name] is not None:
            source.skip_weight(layer)
    source.fill(prefix, part)

    def make(name: str) -> tuple[QuantizedWeight, TwoDigitLinear]:
        weight = known[name] or quantize(layers[name].weight.data)
        return weight, TwoDigitLinear(PackedWeight(weight), bias_of(layers[name]))

    made = dict(zip(layers, workers.map(make, layers), strict=True))
    for name, (weight, replacement) in made.items():
        if cache is not None:
            cache.write(prefix + name, weight)
        part.set_submodule(name, replacement)


@contextmanager
def _worker_threads() -> Iterator[ThreadPoolExecutor]:
    """Yield as many threads as torch would use, each of which computes alone.

    The kernels that quantize and pack do not use several threads themselves.
    """
    num_threads = torch.get_num_threads()
    start: Callable[[int], None] = torch.set_num_threads
    with ThreadPoolExecutor(num_threads, "quantize", start, (1,)) as workers:
        yield workers
    torch.set_num_threads(num_threads)  # the number applies to threads that start later, too
