"""From a picture's bytes to the 64 embeddings that stand for it in a prompt."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Kosmos2Config
from transformers.models.kosmos2.modeling_kosmos2 import (
    Kosmos2ImageToTextProjection,
    Kosmos2VisionModel,
)


class VisionEncoder(nn.Module):
    """The CLIP tower and the resampler of `transformers`, with the normalisation before them.

    Args:
        config: the checkpoint's whole configuration.
        mean: of each channel of a picture with values 0…1.
        std: likewise.
    """

    def __init__(self, config: Kosmos2Config, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.vision_model = Kosmos2VisionModel(config.vision_config)
        self.image_to_text_projection = Kosmos2ImageToTextProjection(config)
        self.mean, self.std = tuple(mean), tuple(std)
        self.register_buffer("channel_values", torch.empty(0), persistent=False)

    def fill_buffers(self, device: torch.device) -> None:
        """Compute what no checkpoint stores: position ids, and the table of channel values."""
        embeddings = self.vision_model.model.embeddings
        embeddings.position_ids = torch.arange(embeddings.num_positions, device=device)[None]
        self.channel_values = torch.from_numpy(channel_value_table(self.mean, self.std)).to(device)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(P, 224, 224, 3) uint8 → (P, 3, 224, 224) float32, the processor's values exactly."""
        indices = pixels.permute(0, 3, 1, 2).int()  # (P, 3, 224, 224)
        return torch.stack(
            [values[indices[:, channel]] for channel, values in enumerate(self.channel_values)],
            dim=1,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """(P, 224, 224, 3) uint8 → (P, 64, d): picture embeddings, not yet scaled."""
        tower = self.vision_model
        states = tower(pixel_values=self.normalise(pixels)).last_hidden_state
        features = functional.normalize(tower.model.post_layernorm(states), dim=-1)
        embeddings: Tensor = self.image_to_text_projection(features)[0]
        return embeddings


def channel_value_table(mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """What the reference processor makes of each byte of each channel: (3, 256) float32.

    The order of operations and their precision are the processor's: rescaling in double precision
    rounded to single, then mean and deviation in single precision.
    """
    rescaled = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)  # (256,)
    means = np.asarray(mean, dtype=np.float32)[:, None]
    deviations = np.asarray(std, dtype=np.float32)[:, None]
    table: np.ndarray = (rescaled[None] - means) / deviations
    return table
