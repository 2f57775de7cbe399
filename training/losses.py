"""The two losses: dense labels of every region, and the words of answers (language)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.grounding.boxes import GRID
from training.data import IGNORED
from training.dense_labels import MIDDLE, NUM_COLOURS, NUM_SHAPES

NUM_LOGITS = NUM_COLOURS + NUM_SHAPES + 4 * GRID + 1


class DenseHeads(nn.Module):
    """Linear heads for training only, which predict the dense labels of patches and latents.

    Colours and shapes of latents are predicted with the embeddings of their words. So the decoder
    gets pictures and words in one space and need not learn to match them.
    """

    def __init__(self, vision_width: int, text_width: int) -> None:
        super().__init__()
        self.of_patches = nn.Linear(vision_width, NUM_LOGITS)
        self.backgrounds = nn.Parameter(torch.randn(2, text_width) * text_width**-0.5)
        self.places_of_latents = nn.Linear(text_width, 4 * GRID + 1)

    def forward(self, patches: Tensor, latents: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of patches and latents, which are rescaled to unit size.

        Args:
            patches: (B, patches, width) features.
            latents: (B, 64, width).
            words: (colours + shapes, width) embeddings of their words.
        """
        num_colours = NUM_COLOURS - 1
        # In the order of the labels: colours, background, shapes, background.
        kinds = torch.cat(
            [words[:num_colours], self.backgrounds[:1], words[num_colours:], self.backgrounds[1:]]
        )
        # Times sqrt(width), as the decoder scales embeddings: entries of about unit variance.
        latents = latents * latents.shape[-1] ** 0.5
        return (
            self.of_patches(patches * patches.shape[-1] ** 0.5),
            torch.cat([latents @ kinds.T, self.places_of_latents(latents)], dim=-1),
        )


def dense_loss(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return cross-entropies of colour, shape, edges and centres; background has no edges."""
    sizes = [NUM_COLOURS, NUM_SHAPES, 4 * GRID, 1]
    colour, shape, edges, middle = torch.split(logits.float(), sizes, dim=-1)
    is_middle = (labels[..., MIDDLE] >= 0).float()
    covered = labels[..., 0] < NUM_COLOURS - 1
    targets = labels[covered][:, 2:MIDDLE].flatten()
    edges = edges[covered].reshape(-1, GRID)
    return {
        "colour": functional.cross_entropy(colour.flatten(0, 1), labels[..., 0].flatten()),
        "shape": functional.cross_entropy(shape.flatten(0, 1), labels[..., 1].flatten()),
        "edge": functional.cross_entropy(edges, targets),
        "middle": functional.binary_cross_entropy_with_logits(middle[..., 0], is_middle),
    }


def language_loss(
    states: Tensor, words: Tensor, labels: Tensor, first_cell: int, softness: float
) -> dict[str, Tensor]:
    """Return the cross-entropies of the answers' words and cells.

    Args:
        states: (B, T, width) of the decoder.
        words: (vocabulary, width), the tied embedding.
        labels: (B, T) next tokens, `IGNORED` outside answers.
        first_cell: the id of the first location token.
        softness: standard deviation, in cells, of the targets around a cell; 0 for hard targets.
    """
    asked = labels != IGNORED
    targets = labels[asked]
    scores = functional.log_softmax((states[asked] @ words.T).float(), dim=-1)
    right = scores.gather(1, targets[:, None]).squeeze(1)
    is_cell = targets >= first_cell
    of_cells = right[is_cell]
    if softness > 0:
        blur = soft_cells(targets[is_cell] - first_cell, softness)
        of_cells = (scores[is_cell][:, first_cell:] * blur).sum(1)
    return {"text": -right[~is_cell].mean(), "cell": -of_cells.mean()}


def soft_cells(cells: Tensor, softness: float) -> Tensor:
    """Return (N, 1024) weights that sum to one: a Gaussian around each cell in row and column."""
    line = torch.arange(GRID, device=cells.device)

    def near(index: Tensor) -> Tensor:
        return torch.softmax(-((line - index[:, None]) ** 2) / (2 * softness**2), dim=-1)

    rows, columns = near(cells // GRID), near(cells % GRID)
    return (rows[:, :, None] * columns[:, None, :]).flatten(1)
