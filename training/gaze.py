"""The objects that each token refers to, as targets for attention.

From answers alone, the model learns slowest to choose the object that words mean. So training
supervises three attention heads: tokens that refer to objects must attend to the latents at the
objects' centres, equally to each, so that the attention also shows how many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from app.grounding.boxes import box_to_patch_indices
from training.tokenizer import encode
from training.world import COLOURS, PLURALS, SHAPES, SceneObject

NOWHERE = -1
"""The value of a token that refers to no objects. Zero means: to objects that are absent."""
FIRST_IMAGE_TOKEN, NUM_IMAGE_TOKENS = 2, 64
"""The picture's latents follow `<s>` and `<image>`."""
# Keeps the logarithm of an attention of zero finite.
TINY = 1e-4
GENERAL_WORDS = ("shape", "object", "thing", "shapes", "objects", "things")


@dataclass(frozen=True)
class Answer:
    """The answer's position in the tokens, and its objects.

    Attributes:
        start: position of the first token.
        targets: the objects that the answer is about.
        landmark: the object that they are compared with.
    """

    start: int
    targets: Sequence[SceneObject]
    landmark: SceneObject | None = None


class Gazes:
    """Finds the objects that each token of a text refers to, as bits: bit k for object k.

    Args:
        tokenizer: must have one token for every word of a colour or a shape.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._colours = _ids(tokenizer, {colour: [colour] for colour in COLOURS})
        self._shapes = _ids(tokenizer, {shape: [shape, PLURALS[shape]] for shape in SHAPES})
        self._general = set(_ids(tokenizer, {word: [word] for word in GENERAL_WORDS}))
        self._first_cell = tokenizer.convert_tokens_to_ids("<patch_index_0000>")
        self._phrase = tokenizer.convert_tokens_to_ids("<phrase>")
        self._object = tokenizer.convert_tokens_to_ids("<object>")

    def mentioned(self, ids: Sequence[int], objects: Sequence[SceneObject]) -> list[int]:
        """Return per token: for a noun, all objects it fits; for the end of a box, its object."""
        found = [NOWHERE] * len(ids)
        for index, token in enumerate(ids):
            if token in self._shapes or token in self._general:
                colour = self._colours.get(ids[index - 1]) if index else None
                found[index] = _bits(objects, colour, self._shapes.get(token))
        for index, bit in self._boxes(ids, objects):
            # The second corner ends the box.
            found[index + 1] = bit
        return found

    def chosen(
        self, ids: Sequence[int], objects: Sequence[SceneObject], answer: Answer
    ) -> list[int]:
        """Return, for each token of the answer, the objects of the next token.

        Before each corner of a box, that is its object. From the start of a phrase, it is all
        objects of its boxes. Otherwise it is all objects of the answer, except the landmark.
        """
        described = [thing for thing in answer.targets if thing != answer.landmark]
        about = sum(1 << objects.index(thing) for thing in described)
        found = [about] * len(ids)
        for start, end, bits in self._phrases(ids, objects):
            found[start:end] = [bits] * (end - start)
        for index, bit in self._boxes(ids, objects):
            # The token before each corner predicts it.
            found[index - 1 : index + 1] = [bit, bit]
        unanswered = answer.start - 1
        return [NOWHERE] * unanswered + found[unanswered:]

    @staticmethod
    def compared(ids: Sequence[int], objects: Sequence[SceneObject], answer: Answer) -> list[int]:
        """Return, for each token of the answer, the object that it is compared with."""
        bits = NOWHERE if answer.landmark is None else 1 << objects.index(answer.landmark)
        unanswered = answer.start - 1
        return [NOWHERE] * unanswered + [bits] * (len(ids) - unanswered)

    def _boxes(self, ids: Sequence[int], objects: Sequence[SceneObject]) -> list[tuple[int, int]]:
        """Return the position of each known object's first corner, and the object's bit."""
        by_corners = {
            tuple(self._first_cell + corner for corner in box_to_patch_indices(thing.xyxy)): 1 << k
            for k, thing in enumerate(objects)
        }
        pairs = enumerate(pairwise(ids))
        return [(index, by_corners[pair]) for index, pair in pairs if pair in by_corners]

    def _phrases(
        self, ids: Sequence[int], objects: Sequence[SceneObject]
    ) -> list[tuple[int, int, int]]:
        """Return for each phrase with boxes: start, position of `<object>`, bits of its objects."""
        boxes, found = self._boxes(ids, objects), []
        starts = [index for index, token in enumerate(ids) if token == self._phrase]
        for start, next_start in pairwise([*starts, len(ids)]):
            bits = sum({bit for index, bit in boxes if start < index < next_start})
            if bits:
                found.append((start, ids.index(self._object, start), bits))
        return found


def gaze_loss(attention: Tensor, wanted: Tensor, middles: Tensor, *, with_nothing: bool) -> Tensor:
    """Return the divergence of a head's attention from its target.

    The target gives equal shares to the centres of all wanted objects. If no object is wanted, it
    gives everything to `<s>`, which stands for nothing.

    Args:
        attention: (B, T, prefix) shares of each token's attention to the prefix.
        wanted: (B, T) bits of objects, or `NOWHERE`.
        middles: (B, 64) number of the object whose centre lies at each latent, or -1.
        with_nothing: whether `<s>` gets the share of one more object even if objects exist;
            then the shares encode the number of objects.

    Returns:
        The mean Kullback-Leibler divergence.
    """
    # A shift by -1 is undefined, hence `clamp`; `where` discards its result.
    bits = torch.where(middles < 0, 0, 1 << middles.clamp(min=0))
    goal = torch.zeros_like(attention)
    latents = goal[..., FIRST_IMAGE_TOKEN : FIRST_IMAGE_TOKEN + NUM_IMAGE_TOKENS]
    latents[(wanted[:, :, None] & bits[:, None, :]) > 0] = 1
    goal[..., 0] = (wanted == 0) | with_nothing
    is_asked = (wanted != NOWHERE) & (goal.sum(-1) > 0)
    goal, attention = goal[is_asked], attention[is_asked]
    goal = goal / goal.sum(-1, keepdim=True)
    divergence = functional.kl_div((attention + TINY).log(), goal, reduction="sum")
    return divergence / max(1, len(goal))  # a batch may have no supervised token


def _ids(tokenizer: PreTrainedTokenizerFast, spellings: dict[str, list[str]]) -> dict[int, str]:
    """Map token ids to words, with and without a capital."""
    ids = {}
    for meaning, words in spellings.items():
        for word, case in product(words, (str.lower, str.capitalize)):
            tokens = encode(tokenizer, f" {case(word)}")
            # A word of several tokens has no single token to supervise.
            if len(tokens) == 1:
                ids[tokens[0]] = meaning
    return ids


def _bits(objects: Sequence[SceneObject], colour: str | None, shape: str | None) -> int:
    """Return the bits of the objects with that colour and shape; `None` fits all."""
    return sum(
        1 << k
        for k, thing in enumerate(objects)
        if colour in (None, thing.colour) and shape in (None, thing.shape)
    )
