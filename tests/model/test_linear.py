"""Packed linear layers compute the same; 8-bit layers are as close as 8 bits allow."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from app.checkpoint.files import open_checkpoint
from app.engine.kv_slots import PrefixRows
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.picture_size import PICTURE_SIDE
from app.model.linear import (
    LinearLayers,
    PackedLinear,
    PrefetchedLinear,
    can_pack,
    replace_linear_layers,
)
from app.model.loading import Kosmos2Model, load_model, weights_bytes
from app.model.quantised import Int8Linear, quantize
from app.settings import EMBEDDED_CHECKPOINT

pytestmark = pytest.mark.kernels


def random_layer(num_inputs: int = 192, num_outputs: int = 77) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(num_inputs)
    weight = torch.randn(num_outputs, num_inputs, generator=generator) / num_inputs**0.5
    return weight, torch.randn(num_outputs, generator=generator)


def embedded(linear: LinearLayers, dtype: torch.dtype = torch.float32) -> Kosmos2Model:
    checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    prefix, cells = list(tokenizer.prefix_ids), tokenizer.location_token_ids
    cpu = torch.device("cpu")
    return load_model(checkpoint, prefix, cells, 512, cpu, dtype, lambda _: None, linear)


@pytest.mark.parametrize("num_rows", [1, 2, 7, 33])
@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_int8_inputs_keep_14_bits_of_precision(num_rows: int, factor: float) -> None:
    """With weights that 8 bits represent exactly, only the error of the inputs remains."""
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(-127, 128, (77, 192), generator=generator).float()
    levels[:, 0] = 127
    weight = levels * 2.0**-7
    inputs = factor * torch.randn(num_rows, 192, generator=generator)
    outputs = Int8Linear(quantize(weight), None)(inputs)
    expected = inputs.double() @ weight.double().T
    assert (outputs - expected).abs().max() < 2e-4 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(192,), (3, 192), (2, 5, 192)])
def test_an_int8_layer_replaces_a_linear_layer(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Shape and dtype are those of a linear layer; the error is below 2 % of the largest output."""
    weight, bias = random_layer()
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    outputs = Int8Linear(quantize(weight.to(dtype)), bias.to(dtype))(inputs)
    expected = functional.linear(inputs, weight.to(dtype), bias.to(dtype))
    assert outputs.dtype == dtype
    assert outputs.shape == expected.shape
    assert (outputs - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("factor", [0.0, 50.0, 1e4])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_row_of_an_int8_layer_does_not_depend_on_larger_rows(
    factor: float, position: int
) -> None:
    """With one scale for all rows, the small row would keep only a few levels."""
    weight, bias = random_layer()
    layer = Int8Linear(quantize(weight), bias)
    small, large = torch.randn(2, 192, generator=torch.Generator().manual_seed(3))
    rows = torch.stack([factor * large] * 3)
    rows[position] = small
    assert torch.equal(layer(rows)[position], layer(small[None])[0])


def test_an_int8_row_of_zeros_returns_the_bias() -> None:
    weight, bias = random_layer()
    assert torch.equal(Int8Linear(quantize(weight), bias)(torch.zeros(1, 192))[0], bias)


def test_extreme_weights_and_inputs_do_not_overflow() -> None:
    """Older processors add pairs in 16 bits, which would saturate with larger digits."""
    weight, inputs = torch.ones(8, 4096), torch.ones(2, 4096)
    weight[:, ::2] = -1
    outputs = Int8Linear(quantize(weight), None)(torch.cat([inputs, inputs * weight[:2]]))
    assert torch.equal(outputs[:, 0].round(), torch.tensor([0.0, 0.0, 4096.0, 4096.0]))


def test_weights_are_quantized_as_torch_quantizes_them() -> None:
    """So a row of any size gets the levels that PyTorch's own function computes."""
    weight = torch.randn(700, 130) * torch.logspace(-44, 37, 700)[:, None]
    weight[3] = 0
    quantized = quantize(weight)
    zeros = torch.zeros(700, dtype=torch.long)
    expected = torch.quantize_per_channel(weight, quantized.scales.double(), zeros, 0, torch.qint8)
    assert torch.equal(quantized.levels, expected.int_repr())
    assert quantized.levels.abs().max() == 127


@pytest.mark.parametrize("make", [PrefetchedLinear, PackedLinear])
def test_every_linear_layer_within_a_module_is_replaced(make: type[nn.Module]) -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ModuleDict({"a": nn.Linear(5, 6)}), nn.LayerNorm(6))
    replace_linear_layers(module, make)
    assert not any(isinstance(layer, nn.Linear) for layer in module.modules())
    assert sum(isinstance(layer, make) for layer in module.modules()) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(192,), (1, 192), (3, 192), (2, 5, 192)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_packed_layer_computes_the_same(
    dtype: torch.dtype, shape: tuple[int, ...], with_bias: bool
) -> None:
    """Only the order of additions may differ, by a few rounding errors of the largest output."""
    if not can_pack(dtype):
        pytest.skip(f"oneDNN packs {dtype} on processors with AVX-512 only")
    weight, bias = (tensor.to(dtype) for tensor in random_layer())
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(4)).to(dtype)
    outputs = PackedLinear(weight, bias if with_bias else None)(inputs)
    expected = functional.linear(inputs, weight, bias if with_bias else None)
    assert outputs.dtype == dtype
    assert outputs.shape == expected.shape
    assert (outputs - expected).abs().max() < 4 * torch.finfo(dtype).eps * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("linear", LinearLayers)
def test_loaded_weights_use_the_planned_memory(dtype: torch.dtype, linear: LinearLayers) -> None:
    """The plan ignores scales and position codes, which are below 4 %."""
    if linear is LinearLayers.PACKED and not can_pack(dtype):
        pytest.skip(f"oneDNN packs {dtype} on processors with AVX-512 only")
    planned = weights_bytes(open_checkpoint(str(EMBEDDED_CHECKPOINT)), dtype, linear)
    assert planned <= embedded(linear, dtype).num_bytes <= 1.04 * planned


@torch.no_grad()
def test_a_model_of_packed_layers_computes_the_same() -> None:
    """The layers of the vision tower are packed too."""
    plain, packed = embedded(LinearLayers.PLAIN), embedded(LinearLayers.PACKED)
    pixels = torch.randint(256, (2, PICTURE_SIDE, PICTURE_SIDE, 3), dtype=torch.uint8)
    torch.testing.assert_close(packed.vision(pixels), plain.vision(pixels), rtol=0, atol=1e-5)
    embedded_rows = torch.randn(2, 9, 192)
    rows = PrefixRows(torch.empty(2, 4, 2, 3, 9, 64))  # (B, N, 2, H, P, D)
    hidden = [m.decoder(embedded_rows, rows, mask=None)[:, -1] for m in (plain, packed)]
    torch.testing.assert_close(hidden[1], hidden[0], rtol=0, atol=1e-4)
    logits = [m.decoder.logits(h) for m, h in zip((plain, packed), hidden, strict=True)]
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-3)
