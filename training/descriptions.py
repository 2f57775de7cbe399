"""Noun phrases for objects, and sentences with phrases and boxes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.grounding.boxes import GRID, box_to_patch_indices
from app.grounding.markup import write_object, write_phrase
from training.world import PLURALS, SceneObject

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Mention:
    """A phrase and the objects that it refers to."""

    phrase: str
    objects: tuple[SceneObject, ...]


def reading_order(objects: Sequence[SceneObject]) -> tuple[SceneObject, ...]:
    """Sort left to right, then top to bottom, by the cell of the upper left corner."""

    def key(thing: SceneObject) -> tuple[int, int]:
        row, column = divmod(box_to_patch_indices(thing.xyxy)[0], GRID)
        return column, row

    return tuple(sorted(objects, key=key))


def object_markup(objects: Sequence[SceneObject]) -> str:
    """Return the boxes of one phrase: `<object>…</object>`."""
    return write_object([box_to_patch_indices(thing.xyxy) for thing in reading_order(objects)])


def fill(template: str, grounding: bool, **mentions: Mention) -> str:
    """Insert phrases into a template's `{slots}`, with tags and boxes when grounding.

    Write a slot without the space before it: `"There is{thing}."`.
    """

    def written(slot: re.Match[str]) -> str:
        mention = mentions[slot.group(1)]
        if not grounding:
            return f" {mention.phrase}"
        return write_phrase(f" {mention.phrase}") + object_markup(mention.objects)

    return re.sub(r"\{(\w+)\}", written, template)


def enumeration(mentions: Sequence[Mention], grounding: bool) -> str:
    """Return `a red circle, a blue ring and two green stars`, starting with a space or a tag."""
    written = [fill("{m}", grounding, m=mention) for mention in mentions]
    if len(written) == 1:
        return written[0]
    return f"{','.join(written[:-1])} and{written[-1]}"


def with_article(words: str) -> str:
    """Return the words after `a` or `an`."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def kind_of(thing: SceneObject) -> str:
    """Return colour and shape: `red circle`."""
    return f"{thing.colour} {thing.shape}"


def several(count: int, words: str, shape: str) -> str:
    """Return `a red circle` for one, `two red circles` for more; `words` end with the shape."""
    if count == 1:
        return with_article(words)
    # The plural of a shape may be irregular: "crosses".
    return f"{NUMBERS[count]} {words.removesuffix(shape)}{PLURALS[shape]}"


def groups(objects: Sequence[SceneObject], by_size: bool = False) -> list[Mention]:
    """Return one mention for all objects of one name, in reading order of their first members."""
    members: dict[str, list[SceneObject]] = {}
    for thing in reading_order(objects):
        name = f"{thing.size} {kind_of(thing)}" if by_size else kind_of(thing)
        members.setdefault(name, []).append(thing)
    return [
        Mention(several(len(things), name, things[0].shape), tuple(things))
        for name, things in members.items()
    ]


def is_alone(thing: SceneObject, objects: Sequence[SceneObject]) -> bool:
    """Return whether no other object has the same colour and shape."""
    return sum(other.kind == thing.kind for other in objects) == 1


def alone_in(objects: Sequence[SceneObject]) -> list[SceneObject]:
    """Return the objects whose colour and shape are unique."""
    return [thing for thing in objects if is_alone(thing, objects)]


def the(thing: SceneObject) -> Mention:
    """Return the mention `the red circle`."""
    return Mention(f"the {kind_of(thing)}", (thing,))
