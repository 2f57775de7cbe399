"""The model's input: 224×224 bytes, normalised with CLIP's mean and deviation."""

import torch
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(pictures: Tensor) -> Tensor:
    """Convert (B, 224, 224, 3) bytes to (B, 3, 224, 224) floats."""
    mean = torch.tensor(MEAN, device=pictures.device) * 255
    std = torch.tensor(STD, device=pictures.device) * 255
    return ((pictures.float() - mean) / std).permute(0, 3, 1, 2)
