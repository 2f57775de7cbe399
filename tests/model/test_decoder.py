"""The decoder's logits are float32 for weights of any dtype."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from app.model.config import TextConfig
from app.model.decoder import KEYS_MULTIPLE, TextDecoder, attend_separately
from harness.checkpoints import full_size_config
from harness.meta_model import build_meta_model

SMALL = TextConfig(attention_heads=4, embed_dim=64, ffn_dim=128, layers=3, vocab_size=2360)
TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


class NothingIsDrawn(TorchFunctionMode):
    """Fails if a normal distribution is sampled."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        assert "normal" not in func.__name__
        return func(*args, **(kwargs or {}))


def build(dtype: torch.dtype, device: str) -> TextDecoder:
    with torch.device(device):
        decoder = TextDecoder(SMALL, 80)
    if device != "meta":
        torch.manual_seed(0)
        nn.init.normal_(decoder.embed_tokens.weight)
    return decoder.to(dtype)


def test_no_weights_are_drawn_before_they_are_loaded() -> None:
    """On `meta`, torch imports its compiler for that, which takes seconds at every start."""
    config = full_size_config()
    with NothingIsDrawn():
        build_meta_model(config, 80, torch.float32)
        with pytest.raises(AssertionError), torch.device("meta"):
            nn.Embedding(2, 2)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_logits_are_the_float32_product_with_the_embedding(dtype: torch.dtype) -> None:
    decoder = build(dtype, "cpu")
    hidden = torch.randn(3, decoder.config.embed_dim).to(dtype)
    logits = decoder.logits(hidden)
    expected = hidden.double() @ decoder.embed_tokens.weight.double().T
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), expected, rtol=TOLERANCES[dtype], atol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_padded_head_gives_the_logits_of_all_tokens_and_no_others(dtype: torch.dtype) -> None:
    plain, padded = build(dtype, "cpu"), build(dtype, "cpu")
    padded.pad_head()
    hidden = torch.randn(3, SMALL.embed_dim).to(dtype)
    logits = padded.logits(hidden)
    assert logits.shape == (3, SMALL.vocab_size)
    torch.testing.assert_close(logits, plain.logits(hidden), rtol=TOLERANCES[dtype], atol=1e-5)
    assert torch.equal(padded.embed_tokens.weight, plain.embed_tokens.weight)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_logits_of_other_devices_have_the_same_shape_and_dtype(dtype: torch.dtype) -> None:
    """There the product itself is float32, without rounding to the dtype of the weights."""
    decoder = build(dtype, "meta")
    logits = decoder.logits(torch.empty(3, decoder.config.embed_dim, dtype=dtype, device="meta"))
    assert (logits.shape, logits.dtype) == ((3, decoder.config.vocab_size), torch.float32)


def masked(num_rows: int, num_keys: int, first: int) -> Tensor:
    """Return a causal mask of three queries, (R, 1, 3, L)."""
    hidden = torch.arange(num_keys) > first + torch.arange(3)[:, None]
    return torch.zeros(num_rows, 1, 3, num_keys).masked_fill(hidden, -torch.inf)


@pytest.mark.kernels
@pytest.mark.parametrize("num_heads", [3, 32])
@pytest.mark.parametrize("num_keys", range(80, 257, 3 * KEYS_MULTIPLE))
def test_a_separate_query_has_the_same_bits_in_every_pass(num_heads: int, num_keys: int) -> None:
    """For any number of rows, queries and masked keys, and for any row of a pass."""
    generator = torch.Generator().manual_seed(num_keys)
    queries = torch.randn(9, num_heads, 3, 64, generator=generator)
    held = torch.randn(2, 9, num_heads, 512, 64, generator=generator)
    keys, values = held[:, :, :, :num_keys]
    together = attend_separately(queries, keys, values, masked(9, num_keys, 70))
    expected = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=masked(9, num_keys, 70)
    )
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-5)
    for row in (slice(0, 1), slice(4, 5), slice(8, 9)):
        for length in (num_keys, num_keys + KEYS_MULTIPLE, 512):
            mask = masked(1, length, 70)
            keys, values = held[:, row, :, :length]
            alone = attend_separately(queries[row], keys, values, mask)
            first = attend_separately(queries[row, :, :1], keys, values, mask[:, :, :1])
            copied = attend_separately(queries[row], keys.clone(), values.clone(), mask)
            for same in (alone, copied, torch.cat([first, alone[:, :, 1:]], dim=2)):
                assert torch.equal(same, together[row])
