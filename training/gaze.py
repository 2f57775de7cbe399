"""Where a token should look: which objects of the scene it speaks of.

Choosing the object that words mean is the slowest thing to learn from answers alone. So one
attention head is shown, in training, where to look from the tokens that speak of objects.
"""

from collections.abc import Sequence
from itertools import pairwise, product

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from app.grounding.boxes import box_to_patch_indices
from training.tokenizer import encode
from training.world import COLOURS, PLURALS, SHAPES, SceneObject

NOWHERE = -1
"""Of a token that speaks of no objects. Zero, though, means: of objects that are not there."""
GENERAL_WORDS = ("shape", "object", "thing", "shapes", "objects", "things")


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

    def chosen(self, ids: Sequence[int], objects: Sequence[SceneObject]) -> list[int]:
        """Before each corner its object; from a phrase's beginning all objects of its boxes."""
        found = [NOWHERE] * len(ids)
        for place, bit in self._boxes(ids, objects):
            found[place - 1 : place + 1] = [bit, bit]
        for start, end, bits in self._phrases(ids, objects):
            found[start:end] = [bits] * (end - start)
        return found

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


def owner_bits(owners: Tensor) -> Tensor:
    """(…) numbers of objects, -1 for none, as bits.

    >>> owner_bits(torch.tensor([0, 2, -1])).tolist()
    [1, 4, 0]
    """
    return torch.where(owners < 0, 0, 1 << owners.clamp(min=0))


def gaze_loss(attention: Tensor, wanted: Tensor, owners: Tensor) -> Tensor:
    """How little of a head's attention lies where it should.

    Args:
        attention: (B, T, 64) parts of each token's attention that latents get, 0 to 1 together.
        wanted: (B, T) bits of objects, or `NOWHERE`.
        owners: (B, 64) number of the object on each latent's place, or -1.

    Returns:
        The mean of -log(part that lies right): on those objects, or, where there are none, on no
        latent at all.
    """
    allowed = (wanted[:, :, None] & owner_bits(owners)[:, None, :]) > 0  # (B, T, 64)
    on_objects = (attention * allowed).sum(-1)
    right = torch.where(wanted == 0, 1 - attention.sum(-1), on_objects)
    is_asked = (wanted == 0) | allowed.any(-1)
    return -(right[is_asked & (wanted != NOWHERE)].float() + 1e-4).log().mean()


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
