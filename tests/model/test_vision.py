"""The embeddings of pictures equal those of `transformers`."""

import pytest
import torch
from torch.nn import functional
from transformers import Kosmos2ForConditionalGeneration

from app.checkpoint.files import open_checkpoint
from app.checkpoint.picture_size import PICTURE_SIDE
from app.model.loading import load_model
from app.model.vision import VisionEncoder
from app.settings import EMBEDDED_CHECKPOINT
from harness.reference import channel_values

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="module")
def vision() -> VisionEncoder:
    """The vision encoder of the embedded checkpoint, in float32."""
    checkpoint, cpu = open_checkpoint(str(EMBEDDED_CHECKPOINT)), torch.device("cpu")
    return load_model(checkpoint, [0], range(1024), 80, cpu, torch.float32, lambda _: None).vision


def test_normalisation_of_every_byte_equals_that_of_the_processor(
    vision: VisionEncoder,
) -> None:
    """Equal to the last bit."""
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    expected = torch.from_numpy(channel_values(checkpoint.image_mean, checkpoint.image_std))
    assert torch.equal(vision.normalise(pixels).view(3, 256), expected)


def test_embeddings_of_a_picture_equal_the_reference(vision: VisionEncoder) -> None:
    """In float32, except for the order in which kernels add."""
    dtype = torch.float32
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
