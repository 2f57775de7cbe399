"""Pictures become the embeddings that `transformers` makes of them."""

import pytest
import torch
from torch.nn import functional
from transformers import Kosmos2ForConditionalGeneration

from app.checkpoint import open_checkpoint
from app.ipc.engine_messages import PICTURE_SIDE
from app.model.loading import load_model
from app.model.vision import VisionEncoder
from app.settings import EMBEDDED_CHECKPOINT
from harness.reference import channel_values

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="module")
def vision() -> VisionEncoder:
    """The embedded checkpoint's, in single precision."""
    checkpoint, cpu = open_checkpoint(str(EMBEDDED_CHECKPOINT)), torch.device("cpu")
    return load_model(checkpoint, [0], 80, cpu, torch.float32, lambda _: None).vision


def test_every_byte_of_every_channel_has_the_value_that_the_processor_gives_it(
    vision: VisionEncoder,
) -> None:
    """To the last bit."""
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    expected = torch.from_numpy(channel_values(checkpoint.image_mean, checkpoint.image_std))
    assert torch.equal(vision.normalise(pixels).view(3, 256), expected)


def test_a_pictures_embeddings_are_the_references(vision: VisionEncoder) -> None:
    """In single precision, but for the order in which a kernel adds up."""
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
