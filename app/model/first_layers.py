"""The first layers of a model as a model of its own, which shares their weights."""

from dataclasses import replace

from torch import nn

from app.model.decoder import TextDecoder
from app.model.loading import Kosmos2Model
from app.model.parts import with_children
from app.model.vision import VisionEncoder


def first_layers(model: Kosmos2Model, num_layers: int) -> Kosmos2Model:
    """Return a model with so many layers in the vision tower and in the decoder, or all it has."""
    decoder = _decoder(model.decoder, num_layers)
    prefix = _decoder(model.prefix_decoder, num_layers) if model.is_quantized else decoder
    vision = _vision(model.vision, num_layers)
    return replace(model, decoder=decoder, prefix_decoder=prefix, vision=vision)


def _decoder(decoder: TextDecoder, num_layers: int) -> TextDecoder:
    layers = decoder.layers[:num_layers]
    shallow = with_children(decoder, {"layers": layers})
    shallow.config = replace(decoder.config, layers=len(layers))
    return shallow


def _vision(vision: VisionEncoder, num_layers: int) -> VisionEncoder:
    layers = vision.tower.layers[:num_layers]
    tower = with_children(vision.tower, {"encoder": nn.ModuleDict({"layers": layers})})
    return with_children(vision, {"vision_model": nn.ModuleDict({"model": tower})})
