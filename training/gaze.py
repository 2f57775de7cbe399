"""Where a token should look: which objects of the scene it speaks of.

Choosing the object that words mean is the slowest thing to learn from answers alone. So three
attention heads are shown, in training, where to look from the tokens that speak of objects: at the
latents in the objects' middles, one for each, so that many look like many.
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
"""Of a token that speaks of no objects. Zero, though, means: of objects that are not there."""
FIRST_PLACE, NUM_IMAGE_TOKENS = 2, 64
"""The picture's latents stand after `<s>` and `<image>`."""
TINY = 1e-4
GENERAL_WORDS = ("shape", "object", "thing", "shapes", "objects", "things")


@dataclass(frozen=True)
class Answer:
    """Where the answer begins among the tokens, and what it is about.

    Attributes:
        start: the place of its first token.
        targets: the objects that it is about.
        landmark: the object that they are compared with.
    """

    start: int
    targets: Sequence[SceneObject]
    landmark: SceneObject | None = None


class Gazes:
    """Finds the objects that each token of a text is about, as bits: bit k for object k.

    Args:
        tokenizer: of the checkpoint; every word for a colour or a shape is one token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._colours = _ids(tokenizer, {colour: [colour] for colour in COLOURS})
        self._shapes = _ids(tokenizer, {shape: [shape, PLURALS[shape]] for shape in SHAPES})
        self._general = set(_ids(tokenizer, {word: [word] for word in GENERAL_WORDS}))
        self._first_cell = tokenizer.convert_tokens_to_ids("<patch_index_0000>")
        self._phrase = tokenizer.convert_tokens_to_ids("<phrase>")
        self._object = tokenizer.convert_tokens_to_ids("<object>")

    def mentioned(self, ids: Sequence[int], objects: Sequence[SceneObject]) -> list[int]:
        """At a noun every object that noun and colour fit; at the end of a box its object."""
        found = [NOWHERE] * len(ids)
        for place, token in enumerate(ids):
            if token in self._shapes or token in self._general:
                colour = self._colours.get(ids[place - 1]) if place else None
                found[place] = _bits(objects, colour, self._shapes.get(token))
        for place, bit in self._boxes(ids, objects):
            found[place + 1] = bit
        return found

    def chosen(
        self, ids: Sequence[int], objects: Sequence[SceneObject], answer: Answer
    ) -> list[int]:
        """In the answer: what the next token is about.

        Before each corner its object; from a phrase's beginning all objects of its boxes; else all
        objects that the answer is about, but the one that they are compared with.
        """
        told_of = [thing for thing in answer.targets if thing != answer.landmark]
        about = sum(1 << objects.index(thing) for thing in told_of)
        found = [about] * len(ids)
        for start, end, bits in self._phrases(ids, objects):
            found[start:end] = [bits] * (end - start)
        for place, bit in self._boxes(ids, objects):
            found[place - 1 : place + 1] = [bit, bit]
        told = answer.start - 1
        return [NOWHERE] * told + found[told:]

    @staticmethod
    def compared(ids: Sequence[int], objects: Sequence[SceneObject], answer: Answer) -> list[int]:
        """In an answer about an object that lies somewhere to another: that other one."""
        bits = NOWHERE if answer.landmark is None else 1 << objects.index(answer.landmark)
        told = answer.start - 1
        return [NOWHERE] * told + [bits] * (len(ids) - told)

    def _boxes(self, ids: Sequence[int], objects: Sequence[SceneObject]) -> list[tuple[int, int]]:
        """Where each known object's first corner stands, and the object's bit."""
        by_corners = {
            tuple(self._first_cell + corner for corner in box_to_patch_indices(thing.xyxy)): 1 << k
            for k, thing in enumerate(objects)
        }
        pairs = enumerate(pairwise(ids))
        return [(place, by_corners[pair]) for place, pair in pairs if pair in by_corners]

    def _phrases(
        self, ids: Sequence[int], objects: Sequence[SceneObject]
    ) -> list[tuple[int, int, int]]:
        """For each phrase with boxes: its first token, that of `<object>`, its objects' bits."""
        boxes, found = self._boxes(ids, objects), []
        starts = [place for place, token in enumerate(ids) if token == self._phrase]
        for start, next_start in pairwise([*starts, len(ids)]):
            bits = sum({bit for place, bit in boxes if start < place < next_start})
            if bits:
                found.append((start, ids.index(self._object, start), bits))
        return found


def gaze_loss(attention: Tensor, wanted: Tensor, middles: Tensor, *, with_nothing: bool) -> Tensor:
    """How far a head's attention is from where it should lie.

    It should lie in equal parts on the middles of all wanted objects, and, where there are none,
    on `<s>`, which stands for nothing.

    Args:
        attention: (B, T, prefix) parts of each token's attention that the prefix gets.
        wanted: (B, T) bits of objects, or `NOWHERE`.
        middles: (B, 64) number of the object whose middle lies in each latent's place, or -1.
        with_nothing: whether nothing gets a part like an object's even where there are some: then
            the parts tell how many there are.

    Returns:
        The mean Kullback-Leibler divergence.
    """
    bits = torch.where(middles < 0, 0, 1 << middles.clamp(min=0))
    goal = torch.zeros_like(attention)
    latents = goal[..., FIRST_PLACE : FIRST_PLACE + NUM_IMAGE_TOKENS]
    latents[(wanted[:, :, None] & bits[:, None, :]) > 0] = 1
    goal[..., 0] = (wanted == 0) | with_nothing
    is_asked = (wanted != NOWHERE) & (goal.sum(-1) > 0)
    goal, attention = goal[is_asked], attention[is_asked]
    goal = goal / goal.sum(-1, keepdim=True)
    divergence = functional.kl_div((attention + TINY).log(), goal, reduction="sum")
    return divergence / max(1, len(goal))  # no token of a batch may be asked


def _ids(tokenizer: PreTrainedTokenizerFast, spellings: dict[str, list[str]]) -> dict[int, str]:
    """Which token means which word, with and without a capital."""
    ids = {}
    for meaning, words in spellings.items():
        for word, case in product(words, (str.lower, str.capitalize)):
            tokens = encode(tokenizer, f" {case(word)}")
            if len(tokens) == 1:
                ids[tokens[0]] = meaning
    return ids


def _bits(objects: Sequence[SceneObject], colour: str | None, shape: str | None) -> int:
    """The objects of that colour and shape, either of which may be left open."""
    return sum(
        1 << k
        for k, thing in enumerate(objects)
        if colour in (None, thing.colour) and shape in (None, thing.shape)
    )
