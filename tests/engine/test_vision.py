"""Pictures become the embeddings that `transformers` makes of them."""

import torch
from torch.nn import functional
from transformers import Kosmos2ForConditionalGeneration

from app.checkpoint import open_checkpoint
from app.engine.messages import PICTURE_SIDE
from app.model.checkpoint import load_model
from app.settings import EMBEDDED_CHECKPOINT


def test_a_pictures_embeddings_are_the_references() -> None:
    """In single precision, but for the order in which a kernel adds up."""
    device, dtype = torch.device("cpu"), torch.float32
    checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    vision = load_model(checkpoint, [0], 80, device, dtype, lambda _: None).vision
    reference = Kosmos2ForConditionalGeneration.from_pretrained(
        EMBEDDED_CHECKPOINT, dtype=dtype
    ).eval()
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (3, PICTURE_SIDE, PICTURE_SIDE, 3), dtype=torch.uint8)
    with torch.no_grad():
        states = reference.vision_model(vision.normalise(pixels)).last_hidden_state
        features = functional.normalize(reference.vision_model.model.post_layernorm(states), dim=-1)
        expected = reference.image_to_text_projection(features)[0]  # (3, 64, d)
        torch.testing.assert_close(vision(pixels), expected, rtol=1e-5, atol=1e-5)
