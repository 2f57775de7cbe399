"""Loads a decoder with its linear layers in 8 bits: from a file of an earlier start, or anew."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TypeVar, cast

import torch
from torch import nn

from app.checkpoint.kept_weights import KeptWeights
from app.model.decoder import Block, TextDecoder
from app.model.linear import bias_of, linear_layers
from app.model.parts import PartSource, decoder_parts, with_children
from app.model.quantised import (
    OneDigitLinear,
    PackedWeight,
    QuantizedWeight,
    TwoDigitLinear,
    quantize,
)
from app.model.quantised_cache import QuantizedCache

HEAD = "head"
QKV = "qkv_proj"
M = TypeVar("M", bound=nn.Module)


def load_quantized(decoder: TextDecoder, source: PartSource, kept: KeptWeights | None) -> None:
    """Load all parts of the decoder, and its head as a copy of the embedding in 8 bits.

    Args:
        kept: file for the 8-bit weights; `None`: neither read nor write one.

    Raises:
        CheckpointError: a tensor is missing or has a wrong shape, or a file was changed meanwhile.
    """
    shapes = _shapes_of(decoder)
    with (
        nullcontext() if kept is None else QuantizedCache(kept, shapes) as cache,
        _worker_threads() as workers,
    ):
        loader = _QuantizedLoader(source, cache, workers)
        known_head = loader.read(HEAD)
        packed_head = workers.submit(_pack_known, known_head)
        loader.load(list(decoder_parts(decoder)))
        head = known_head.result() or quantize(decoder.embed_tokens.weight.data)
        if cache is not None:
            cache.write(HEAD, head)
        decoder.head = TwoDigitLinear(packed_head.result() or PackedWeight(head), None)
        source.checkpoint.check_unchanged()  # otherwise the file would keep a mixture
    for layer in decoder.layers:
        cast(Block, layer).self_attn.attends_separately = True


def with_one_digit(module: M) -> M:
    """Return a module with the same weights, not copied, whose layers have one digit.

    The projection to queries, keys and values keeps two, because every later token reads these keys
    and values.
    """
    if isinstance(module, TwoDigitLinear):
        return cast(M, OneDigitLinear(module.weight, module.bias))
    coarse = {name: with_one_digit(child) for name, child in module.named_children() if name != QKV}
    return with_children(module, coarse)


def _shapes_of(decoder: TextDecoder) -> dict[str, tuple[int, int]]:
    """Return the shape of every weight in 8 bits."""
    shapes = {
        prefix + name: (layer.out_features, layer.in_features)
        for prefix, part in decoder_parts(decoder)
        for name, layer in linear_layers(part).items()
    }
    num_tokens, width = decoder.embed_tokens.weight.shape
    return shapes | {HEAD: (num_tokens, width)}


class _QuantizedLoader:
    """Loads parts: while workers pack the layers of one, they read the weights of the next."""

    def __init__(
        self, source: PartSource, cache: QuantizedCache | None, workers: ThreadPoolExecutor
    ) -> None:
        self._source, self._cache, self._workers = source, cache, workers

    def read(self, name: str) -> Future[QuantizedWeight | None]:
        """Begin to read a weight from the file of an earlier start."""
        read = _read_nothing if self._cache is None else self._cache.read
        return self._workers.submit(read, name)

    def load(self, parts: list[tuple[str, nn.Module]]) -> None:
        """Load all parts, with their linear layers in 8 bits."""
        reading = self._begin(*parts[0])
        for (prefix, part), following in zip(parts, [*parts[1:], None], strict=True):
            known = {name: future.result() for name, future in reading.items()}
            packing = self._fill(prefix, part, known)
            if following is not None:
                reading = self._begin(*following)
            self._replace(prefix, part, packing)

    def _begin(self, prefix: str, part: nn.Module) -> dict[str, Future[QuantizedWeight | None]]:
        # The largest first, so that all workers end at about the same time.
        layers = sorted(linear_layers(part).items(), key=lambda item: -item[1].weight.numel())
        return {name: self.read(prefix + name) for name, _ in layers}

    def _fill(
        self, prefix: str, part: nn.Module, known: Mapping[str, QuantizedWeight | None]
    ) -> dict[str, Future[tuple[QuantizedWeight, TwoDigitLinear]]]:
        """Read the rest of the part, and begin to pack its layers."""
        layers = linear_layers(part)
        for name, weight in known.items():
            if weight is not None:
                self._source.skip_weight(layers[name])
        self._source.fill(prefix, part)
        return {
            name: self._workers.submit(_make, layers[name], weight)
            for name, weight in known.items()
        }

    def _replace(
        self,
        prefix: str,
        part: nn.Module,
        packing: Mapping[str, Future[tuple[QuantizedWeight, TwoDigitLinear]]],
    ) -> None:
        made = {name: future.result() for name, future in packing.items()}
        for name, (weight, replacement) in made.items():
            if self._cache is not None:
                self._cache.write(prefix + name, weight)
            part.set_submodule(name, replacement)


def _read_nothing(_name: str) -> None:
    return None


def _pack_known(reading: Future[QuantizedWeight | None]) -> PackedWeight | None:
    """Pack a weight that is known; the task that reads it is earlier in the same queue."""
    known = reading.result()
    return None if known is None else PackedWeight(known)


def _make(
    layer: nn.Linear, known: QuantizedWeight | None
) -> tuple[QuantizedWeight, TwoDigitLinear]:
    weight = known or quantize(layer.weight.data)
    return weight, TwoDigitLinear(PackedWeight(weight), bias_of(layer))


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
