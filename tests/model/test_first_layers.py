"""A model of the first layers computes what these layers of the whole model compute."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from app.checkpoint.files import open_checkpoint
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.model.first_layers import first_layers
from app.model.linear import LinearLayers
from app.model.loading import Kosmos2Model, load_model
from app.settings import EMBEDDED_CHECKPOINT

PIXELS = torch.arange(224 * 224 * 3).remainder(251).to(torch.uint8).view(1, 224, 224, 3)
TOKENS = torch.tensor([[0, 7, 9, 11]])


class NoRows:
    """Keys and values of the new tokens alone."""

    def extend(self, _layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = new.permute(2, 0, 3, 1, 4)
        return keys, values


@pytest.fixture(
    scope="module", params=[LinearLayers.PREFETCHED, LinearLayers.PACKED, LinearLayers.INT8]
)
def model(request: pytest.FixtureRequest) -> Kosmos2Model:
    """The embedded checkpoint, which has four layers of each kind."""
    checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    prefix, cells = list(tokenizer.prefix_ids), tokenizer.location_token_ids
    cpu = torch.device("cpu")
    return load_model(
        checkpoint, prefix, cells, 80, cpu, torch.float32, lambda _: None, request.param
    )


def hidden_of(model: Kosmos2Model, *, in_prefix: bool) -> Tensor:
    decoder = model.prefix_decoder if in_prefix else model.decoder
    positions = torch.arange(TOKENS.shape[1])[None]
    hidden: Tensor = decoder(decoder.embed(TOKENS, positions), NoRows(), None)
    return hidden


@torch.inference_mode()
def test_all_layers_are_the_whole_model(model: Kosmos2Model) -> None:
    same = first_layers(model, 99)
    assert same.is_quantized == model.is_quantized
    assert same.decoder.config == model.decoder.config
    assert torch.equal(same.vision(PIXELS), model.vision(PIXELS))
    for in_prefix in (False, True):
        whole = hidden_of(model, in_prefix=in_prefix)
        assert torch.equal(hidden_of(same, in_prefix=in_prefix), whole)
        assert torch.equal(same.decoder.logits(whole[0]), model.decoder.logits(whole[0]))


@torch.inference_mode()
def test_fewer_layers_are_the_first_ones(model: Kosmos2Model) -> None:
    few = first_layers(model, 2)
    assert few.decoder.config.layers == len(few.decoder.layers) == 2
    tower = model.vision.tower
    states = tower.pre_layrnorm(tower.embeddings(model.vision.normalise(PIXELS)))
    features = functional.normalize(tower.post_layernorm(tower.layers[:2](states)), dim=-1)
    assert torch.equal(few.vision(PIXELS), model.vision.image_to_text_projection(features))
    decoder = model.prefix_decoder
    hidden = decoder.embed(TOKENS, torch.arange(TOKENS.shape[1])[None])
    for layer in list(decoder.layers)[:2]:
        hidden = layer(hidden, NoRows(), None)
    assert torch.equal(hidden_of(few, in_prefix=True), decoder.layer_norm(hidden))


@torch.inference_mode()
def test_the_whole_model_keeps_its_layers(model: Kosmos2Model) -> None:
    before = model.vision(PIXELS), hidden_of(model, in_prefix=False)
    first_layers(model, 1)
    assert model.decoder.config.layers == len(model.decoder.layers) == 4
    assert torch.equal(model.vision(PIXELS), before[0])
    assert torch.equal(hidden_of(model, in_prefix=False), before[1])
