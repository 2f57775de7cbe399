"""8-bit weights: as near to float as 8 bits allow, and each row by itself."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from app.checkpoint import open_checkpoint
from app.model.checkpoint import load_model, weights_bytes
from app.model.quantised import Int8Linear, quantise_linear_layers
from app.settings import EMBEDDED_CHECKPOINT
from app.tokenizer import Kosmos2Tokenizer


def random_layer(num_inputs: int = 192, num_outputs: int = 77) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(num_inputs)
    weight = torch.randn(num_outputs, num_inputs, generator=generator) / num_inputs**0.5
    return weight, torch.randn(num_outputs, generator=generator)


@pytest.mark.parametrize("num_rows", [1, 2, 7, 33])
@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_only_the_weights_lose_precision(num_rows: int, factor: float) -> None:
    """Weights that 8 bits hold exactly leave the inputs' error alone, which is that of 14 bits."""
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(-127, 128, (77, 192), generator=generator).float()
    levels[:, 0] = 127
    weight = levels * 2.0**-7
    inputs = factor * torch.randn(num_rows, 192, generator=generator)
    outputs = Int8Linear(weight, None)(inputs)
    expected = inputs.double() @ weight.double().T
    assert (outputs - expected).abs().max() < 2e-4 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(192,), (3, 192), (2, 5, 192)])
def test_it_stands_in_for_a_linear_layer(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Any shape and dtype come out as from a linear layer, within 2 % of the largest output."""
    weight, bias = random_layer()
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    outputs = Int8Linear(weight.to(dtype), bias.to(dtype))(inputs)
    expected = functional.linear(inputs, weight.to(dtype), bias.to(dtype))
    assert outputs.dtype == dtype
    assert outputs.shape == expected.shape
    assert (outputs - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("factor", [0.0, 50.0, 1e4])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_beside_one_fifty_times_larger_is_what_it_is_alone(factor: float, place: int) -> None:
    """One scale for all rows would leave the small row a few of its levels: answers would mix."""
    weight, bias = random_layer()
    layer = Int8Linear(weight, bias)
    small, large = torch.randn(2, 192, generator=torch.Generator().manual_seed(3))
    rows = torch.stack([factor * large] * 3)
    rows[place] = small
    assert torch.equal(layer(rows)[place], layer(small[None])[0])


def test_a_row_of_zeros_gives_the_bias() -> None:
    weight, bias = random_layer()
    assert torch.equal(Int8Linear(weight, bias)(torch.zeros(1, 192))[0], bias)


def test_extreme_weights_and_inputs_do_not_overflow() -> None:
    """Sums of pairs in 16 bits, as older processors make them, would be cut off."""
    weight, inputs = torch.ones(8, 4096), torch.ones(2, 4096)
    weight[:, ::2] = -1
    outputs = Int8Linear(weight, None)(torch.cat([inputs, inputs * weight[:2]]))
    assert torch.equal(outputs[:, 0].round(), torch.tensor([0.0, 0.0, 4096.0, 4096.0]))


def test_every_linear_layer_within_is_replaced() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ModuleDict({"a": nn.Linear(5, 6)}), nn.LayerNorm(6))
    quantise_linear_layers(module)
    assert not any(isinstance(each, nn.Linear) for each in module.modules())
    assert sum(isinstance(each, Int8Linear) for each in module.modules()) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_quantised", [True, False])
def test_the_weights_take_the_memory_that_was_planned(
    dtype: torch.dtype, is_quantised: bool
) -> None:
    """Slots are counted from what the plan leaves; scales and position codes are under 4 %."""
    checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    prefix = list(Kosmos2Tokenizer.load(checkpoint.directory).prefix_ids)
    cpu = torch.device("cpu")
    model = load_model(checkpoint, prefix, 512, cpu, dtype, lambda _: None, is_quantised)
    planned = weights_bytes(checkpoint, dtype, is_quantised)
    assert planned <= model.num_bytes <= 1.04 * planned
