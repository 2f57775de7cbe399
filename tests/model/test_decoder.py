"""The decoder's logits are float32 for weights of any dtype."""

import pytest
import torch

from app.model.decoder import TextDecoder
from app.settings import EMBEDDED_CHECKPOINT
from harness.checkpoints import tiny_config

TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def build(dtype: torch.dtype, device: str) -> TextDecoder:
    torch.manual_seed(0)
    with torch.device(device):
        return TextDecoder(tiny_config(EMBEDDED_CHECKPOINT).text_config, 80).to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_logits_are_the_float32_product_with_the_embedding(dtype: torch.dtype) -> None:
    decoder = build(dtype, "cpu")
    hidden = torch.randn(3, decoder.config.embed_dim).to(dtype)
    logits = decoder.logits(hidden)
    expected = hidden.double() @ decoder.embed_tokens.weight.double().T
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), expected, rtol=TOLERANCES[dtype], atol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_logits_of_other_devices_have_the_same_shape_and_dtype(dtype: torch.dtype) -> None:
    """There the product itself is float32, without rounding to the dtype of the weights."""
    decoder = build(dtype, "meta")
    logits = decoder.logits(torch.empty(3, decoder.config.embed_dim, dtype=dtype, device="meta"))
    assert (logits.shape, logits.dtype) == ((3, decoder.config.vocab_size), torch.float32)
