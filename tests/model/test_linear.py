"""Split and packed linear layers compute the same; 8-bit layers are as close as 8 bits allow."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from app.checkpoint.files import open_checkpoint
from app.checkpoint.picture_size import PICTURE_SIDE
from app.engine.kv_slots import PrefixRows
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.model.linear import (
    LinearLayers,
    PackedLinear,
    PrefetchedLinear,
    SplitLinear,
    can_pack,
    choose_for_cpu,
    replace_linear_layers,
)
from app.model.loading import Kosmos2Model, load_model, weights_bytes
from app.model.quantised import (
    EIGHT_BITS,
    SEVEN_BITS,
    Digits,
    Int8Linear,
    OneDigitLinear,
    PackedWeight,
    QuantizedWeight,
    TwoDigitLinear,
    quantize,
    widest_digits,
)
from app.model.quantised_loading import with_one_digit
from app.settings import EMBEDDED_CHECKPOINT

pytestmark = pytest.mark.kernels


INT8_LAYERS = [OneDigitLinear, TwoDigitLinear]


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
    outputs = TwoDigitLinear(PackedWeight(quantize(weight)), None)(inputs)
    expected = inputs.double() @ weight.double().T
    assert (outputs - expected).abs().max() < 2e-4 * expected.abs().max()


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("shift", [-3.0, 0.0, 20.0])
def test_one_digit_keeps_half_a_step_of_the_range_of_its_row(factor: float, shift: float) -> None:
    """The range may lie anywhere, as after an activation that has no negative values."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.eye(192)
    inputs = factor * (torch.rand(5, 192, generator=generator) + shift)
    outputs = OneDigitLinear(PackedWeight(quantize(weight)), None)(inputs)
    num_steps = 2 ** widest_digits().num_bits - 1
    step = (inputs.amax(dim=1) - inputs.amin(dim=1)) / num_steps
    error = (outputs - inputs).abs().amax(dim=1)
    assert (error <= 0.51 * step + 1e-5 * inputs.abs().amax()).all()
    assert (error > 0.4 * step).any()  # otherwise the digits are finer than they should be


@pytest.mark.parametrize("layer_class", INT8_LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(192,), (3, 192), (2, 5, 192)])
def test_an_int8_layer_replaces_a_linear_layer(
    layer_class: type[Int8Linear], dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    """Shape and dtype are those of a linear layer; the error is below 3 % of the largest output."""
    weight, bias = random_layer()
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    packed = PackedWeight(quantize(weight.to(dtype)))
    outputs = layer_class(packed, bias.to(dtype))(inputs)
    expected = functional.linear(inputs, weight.to(dtype), bias.to(dtype))
    assert outputs.dtype == dtype
    assert outputs.shape == expected.shape
    assert (outputs - expected).abs().max() < 0.03 * expected.abs().max()


@pytest.mark.parametrize("layer_class", INT8_LAYERS)
@pytest.mark.parametrize("factor", [0.0, 50.0, 1e4, float("nan"), float("inf")])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_row_of_an_int8_layer_does_not_depend_on_other_rows(
    layer_class: type[Int8Linear], factor: float, position: int
) -> None:
    """With one scale for all rows, the small row would keep only a few levels."""
    weight, bias = random_layer()
    layer = layer_class(PackedWeight(quantize(weight)), bias)
    small, large = torch.randn(2, 192, generator=torch.Generator().manual_seed(3))
    rows = torch.stack([factor * large] * 3)
    rows[position] = small
    outputs = layer(rows)
    assert torch.equal(outputs[position], layer(small[None])[0])
    assert torch.isfinite(outputs).all() == torch.isfinite(rows).all()


@pytest.mark.parametrize("layer_class", INT8_LAYERS)
def test_an_int8_row_of_zeros_returns_the_bias(layer_class: type[Int8Linear]) -> None:
    weight, bias = random_layer()
    layer = layer_class(PackedWeight(quantize(weight)), bias)
    assert torch.equal(layer(torch.zeros(1, 192))[0], bias)


@pytest.mark.parametrize("value", [5.0, -5.0, 1e30, 1e-30])
def test_an_int8_row_of_equal_values_keeps_them(value: float) -> None:
    """Its range is empty, so its scale cannot follow from the range."""
    packed = PackedWeight(QuantizedWeight(torch.eye(64, dtype=torch.int8), torch.ones(64)))
    for layer_class in INT8_LAYERS:
        outputs = layer_class(packed, None)(torch.full((1, 64), value))
        torch.testing.assert_close(outputs, torch.full((1, 64), value), rtol=1e-4, atol=0)


@pytest.mark.parametrize("digits", {SEVEN_BITS, widest_digits()}, ids=str)
@pytest.mark.parametrize("num_rows", [1, 2, 7, 33, 257])
def test_extreme_digits_and_weights_do_not_overflow(digits: Digits, num_rows: int) -> None:
    """Processors without VNNI add pairs of products in 16 bits, which too large digits exceed."""
    generator = torch.Generator().manual_seed(num_rows)
    levels = torch.tensor([-127, 127], dtype=torch.int8)[
        torch.randint(2, (40, 8192), generator=generator)
    ]
    levels[0], levels[1] = 127, -127
    rows = torch.tensor([float(digits.lowest), float(digits.highest)])[
        torch.randint(2, (num_rows, 8192), generator=generator)
    ]
    rows[0], rows[-1] = digits.highest, digits.lowest
    product = PackedWeight(QuantizedWeight(levels, torch.ones(40))).multiply(rows, digits)
    assert torch.equal(product.double(), (rows.double() @ levels.double().T).float().double())


def test_wider_digits_than_the_widest_overflow() -> None:
    """So the choice of 7 bits on this processor is necessary."""
    if widest_digits() == EIGHT_BITS:
        pytest.skip("this processor multiplies digits of 8 bits")
    levels = torch.full((16, 64), 127, dtype=torch.int8)
    packed = PackedWeight(QuantizedWeight(levels, torch.ones(16)))
    product = packed.multiply(torch.full((3, 64), 127.0), EIGHT_BITS)
    assert (product != 64 * 127 * 127).all()


def test_a_twin_with_one_digit_shares_all_weights() -> None:
    decoder = embedded(LinearLayers.INT8).decoder
    twin = with_one_digit(decoder)
    num_one_digit = 0
    for (name, one), (twin_name, other) in zip(
        decoder.named_modules(), twin.named_modules(), strict=True
    ):
        assert name == twin_name
        if isinstance(one, TwoDigitLinear):
            is_coarse = not name.endswith("qkv_proj")
            assert isinstance(other, OneDigitLinear if is_coarse else TwoDigitLinear)
            assert other.weight is one.weight
            num_one_digit += is_coarse
    assert num_one_digit == 3 * len(decoder.layers) + 1  # and the head
    shared = zip(decoder.parameters(), twin.parameters(), strict=True)
    assert all(one is other for one, other in shared)
    assert not any(isinstance(layer, OneDigitLinear) for layer in decoder.modules())


def test_weights_are_quantized_as_torch_quantizes_them() -> None:
    """So a row of any size gets the levels that PyTorch's own function computes."""
    weight = torch.randn(700, 130) * torch.logspace(-44, 37, 700)[:, None]
    weight[3] = 0
    quantized = quantize(weight)
    zeros = torch.zeros(700, dtype=torch.long)
    expected = torch.quantize_per_channel(weight, quantized.scales.double(), zeros, 0, torch.qint8)
    assert torch.equal(quantized.levels, expected.int_repr())
    assert quantized.levels.abs().max() == 127


@pytest.mark.parametrize("make", [PrefetchedLinear, SplitLinear, PackedLinear])
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
    """Only the order of additions may differ: by one rounding error of the terms per addition."""
    if not can_pack(dtype):
        pytest.skip(f"oneDNN packs {dtype} on processors with AVX-512 only")
    weight, bias = (tensor.to(dtype) for tensor in random_layer())
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(4)).to(dtype)
    outputs = PackedLinear(weight, bias if with_bias else None)(inputs)
    expected = functional.linear(inputs, weight, bias if with_bias else None)
    assert outputs.dtype == dtype
    assert outputs.shape == expected.shape
    terms = inputs.abs().float() @ weight.abs().float().T
    error = (outputs.float() - expected.float()).abs()
    assert (error <= 192 * torch.finfo(dtype).eps * terms).all()


@pytest.mark.parametrize("num_outputs", [77, 256, 768, 1037])
@pytest.mark.parametrize("shape", [(192,), (1, 192), (3, 192), (2, 5, 192), (1300, 192)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_split_layer_computes_the_same(
    num_outputs: int, shape: tuple[int, ...], with_bias: bool
) -> None:
    """Whether the outputs are whole blocks or not, and for more rows than one product takes."""
    weight, bias = random_layer(num_outputs=num_outputs)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    layer = SplitLinear(weight, bias if with_bias else None)
    outputs = layer(inputs)
    expected = functional.linear(inputs, weight, bias if with_bias else None)
    assert outputs.shape == expected.shape
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-5)
    assert layer.weight.data_ptr() == weight.data_ptr()


def test_the_instruction_set_decides_the_layers_of_a_model_in_float32() -> None:
    """Packed with AVX-512; otherwise read first in a small model, and split in a large one."""
    capability = torch.backends.cpu.get_cpu_capability()
    has_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    small, large = (choose_for_cpu(torch.float32, is_small=is_small) for is_small in (True, False))
    if capability == "AVX512" and can_pack(torch.float32):
        assert small is large is LinearLayers.PACKED
    else:
        assert small is LinearLayers.PREFETCHED
        assert (large is LinearLayers.SPLIT) == has_mkl


def test_a_large_model_in_16_bits_is_packed_where_onednn_has_kernels() -> None:
    assert (choose_for_cpu(torch.bfloat16) is LinearLayers.PACKED) == can_pack(torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("linear", LinearLayers)
def test_loaded_weights_use_the_planned_memory(dtype: torch.dtype, linear: LinearLayers) -> None:
    """The plan ignores scales and position codes, which are below 4 %."""
    if linear is LinearLayers.PACKED and not can_pack(dtype):
        pytest.skip(f"oneDNN packs {dtype} on processors with AVX-512 only")
    planned = weights_bytes(open_checkpoint(str(EMBEDDED_CHECKPOINT)), dtype, linear)
    assert planned <= embedded(linear, dtype).num_bytes <= 1.04 * planned


@torch.no_grad()
@pytest.mark.parametrize("linear", [LinearLayers.SPLIT, LinearLayers.PACKED])
def test_a_model_of_other_layers_computes_the_same(linear: LinearLayers) -> None:
    """The layers of the vision tower are replaced too."""
    plain, other = embedded(LinearLayers.PLAIN), embedded(linear)
    pixels = torch.randint(256, (2, PICTURE_SIDE, PICTURE_SIDE, 3), dtype=torch.uint8)
    torch.testing.assert_close(other.vision(pixels), plain.vision(pixels), rtol=0, atol=1e-5)
    embedded_rows = torch.randn(2, 9, 192)
    rows = PrefixRows(torch.empty(2, 4, 2, 3, 9, 64))  # (B, N, 2, H, P, D)
    hidden = [m.decoder(embedded_rows, rows, mask=None)[:, -1] for m in (plain, other)]
    torch.testing.assert_close(hidden[1], hidden[0], rtol=0, atol=1e-4)
    logits = [m.decoder.logits(h) for m, h in zip((plain, other), hidden, strict=True)]
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-3)
