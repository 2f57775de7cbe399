"""The model's markup: read what it wrote about a picture, and write what a prompt says of one.

    <grounding> See<phrase> a dog</phrase><object><patch_index_0044><patch_index_0863></object>

A *phrase* and its boxes are an *entity*. Reading follows `post_process_generation` of
`transformers.models.kosmos2.processing_kosmos2` on every string, in one pass;
`ParsedMarkup.cleaned` is what this service makes of it. One bound is our own: a location tag has at
most 300 digits, because the reference raises beyond that.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from app.grounding.boxes import CellPair, is_inside_grid, patch_indices_to_box, sort_corners
from app.pictures.marks import Box

END_OF_IMAGE = "</image>"
END_OF_OBJECT = "</object>"
DELIMITER = "</delimiter_of_multi_objects/>"
LITERAL_BRACKET = "\udc3c"
"""Replaces, while markup is read, a `<` that a user wrote and that begins no tag.

It is a lone surrogate, which neither decoded tokens nor accepted texts contain, and one code point
as `<` is, so that offsets stay the same.
"""

_PATCH_TAG = re.compile(r"<patch_index_(\d{1,300}+)>")
_PAIR = r"(?:<patch_index_\d{1,300}+>){2}"
OBJECT = re.compile(
    r"(?:<phrase>(?P<phrase>[^<]++)</phrase>)?"
    rf"<object>(?P<pairs>(?:{_PAIR}{DELIMITER})*+{_PAIR}){END_OF_OBJECT}"
)
"""A finished object, with its phrase if it has one; no two of them overlap."""


@dataclass(frozen=True)
class ParsedBox:
    """One box of an entity.

    Args:
        patch_indices: the cells of its upper-left and lower-right corner.
        box: the same, normalised xyxy.
        markup_offset: where the first of its two location tags begins in `ParsedMarkup.markup`.
    """

    patch_indices: CellPair
    box: Box
    markup_offset: int


@dataclass(frozen=True)
class ParsedEntity:
    """A phrase with its boxes, or one box without a phrase.

    Args:
        phrase: as it stands in the text, or None if the box has none.
        span: start and end of the phrase in `ParsedMarkup.text`, in code points.
        place: where the text before the boxes ends, in code points, white space left out.
        boxes: one or more, in the order written.
    """

    phrase: str | None
    span: tuple[int, int]
    place: int
    boxes: tuple[ParsedBox, ...]

    def cleaned(self) -> "ParsedEntity":
        """Return the entity with sorted boxes inside the grid and a span that ends at `place`."""
        phrase = self.phrase or None  # a phrase of blanks is none
        return ParsedEntity(
            phrase,
            (self.place - len(phrase or ""), self.place),
            self.place,
            tuple(_sorted(box) for box in self.boxes if is_inside_grid(box.patch_indices)),
        )


@dataclass(frozen=True)
class ParsedMarkup:
    """What a markup says.

    Args:
        markup: all that follows the picture, tags included.
        text: the same without tags and without white space around it.
        entities: the finished objects, in the order written.
    """

    markup: str
    text: str
    entities: tuple[ParsedEntity, ...]

    def cleaned(self) -> "ParsedMarkup":
        """Return what the service answers: no boxes beyond the grid, no swapped corners.

        An entity without a box left disappears, a phrase of blanks counts as none, and a box
        without a phrase has an empty span where the text before it ends. Nothing of this depends on
        what follows an object, so that it can be told while the rest is still being written.

        >>> swapped = "<phrase> a cat</phrase>" + write_object([(863, 44), (5, 1024)])
        >>> [box.patch_indices for box in parse(swapped).cleaned().entities[0].boxes]
        [(44, 863)]
        """
        entities = (entity.cleaned() for entity in self.entities)
        return replace(self, entities=tuple(entity for entity in entities if entity.boxes))


def parse(decoded: str) -> ParsedMarkup:
    """Read a decoded answer, with or without the picture's place-holders before it.

    As in the reference, it begins behind the last `</image>`, even if the model wrote that.
    """
    return parse_markup(decoded.rpartition(END_OF_IMAGE)[2])


def parse_markup(markup: str) -> ParsedMarkup:
    """Read all that follows the picture.

    Unfinished objects are left out of the entities. A box without a phrase is an entity of its own;
    its span is where it stands, and may lie outside the text, as in the reference.

    >>> parsed = parse_markup("<grounding> A<phrase> cat</phrase>" + write_object([(44, 863)]))
    >>> parsed.text
    'A cat'
    >>> parsed.entities[0].phrase, parsed.entities[0].span, parsed.entities[0].boxes[0].box
    ('cat', (2, 5), (0.390625, 0.046875, 0.984375, 0.828125))
    """
    tags = list(_tag_spans(markup))
    tag_ends = [end for _, end in tags]
    removed = [0, *accumulate(end - start for start, end in tags)]
    with_spaces = _without(markup, tags)
    num_leading_spaces = len(with_spaces) - len(with_spaces.lstrip())

    def to_text(offset: int) -> int:
        return offset - removed[bisect_right(tag_ends, offset)] - num_leading_spaces

    text = with_spaces.strip()
    matches = list(OBJECT.finditer(markup))
    places = _text_ends(text, (to_text(match.end()) for match in matches))
    entities = tuple(
        replace(entity, span=(to_text(entity.span[0]), to_text(entity.span[1])))
        for match, place in zip(matches, places, strict=True)
        for entity in entities_of(match, place)
    )
    return ParsedMarkup(markup, text, entities)


def entities_of(match: re.Match[str], place: int, markup_start: int = 0) -> Iterator[ParsedEntity]:
    """Yield the entities of one object; their spans are in the markup, blanks around left out.

    Args:
        match: of `OBJECT`.
        place: where the text before the object ends.
        markup_start: where the string that was searched begins in the markup.
    """
    boxes = tuple(_boxes(match, markup_start))
    phrase = match["phrase"]
    if phrase is None:
        start = markup_start + match.start()
        yield from (ParsedEntity(None, (start, start), place, (box,)) for box in boxes)
        return
    start = markup_start + match.start("phrase") + len(phrase) - len(phrase.lstrip())
    end = markup_start + match.start("phrase") + len(phrase.rstrip())
    yield ParsedEntity(phrase.strip(), (start, end), place, boxes)


def restore_brackets(text: str) -> str:
    """Return the text with `<` in place of each `LITERAL_BRACKET`.

    >>> restore_brackets(parse_markup(f"Is 3{LITERAL_BRACKET}5?<phrase> a cat</phrase>").text)
    'Is 3<5? a cat'
    """
    return text.replace(LITERAL_BRACKET, "<")


def write_phrase(phrase: str) -> str:
    """Return a phrase in its tags. A space before it belongs inside: that is how the model writes.

    >>> write_phrase(" a snowman")
    '<phrase> a snowman</phrase>'
    """
    return f"<phrase>{phrase}</phrase>"


def write_object(pairs: Sequence[CellPair]) -> str:
    """Return the boxes of one phrase, one or more.

    >>> write_object([(44, 863)])
    '<object><patch_index_0044><patch_index_0863></object>'
    """
    boxes = (f"{patch_tag(first)}{patch_tag(second)}" for first, second in pairs)
    return f"<object>{DELIMITER.join(boxes)}</object>"


def patch_tag(index: int) -> str:
    """Return the tag of one cell.

    >>> patch_tag(44)
    '<patch_index_0044>'
    """
    return f"<patch_index_{index:04d}>"


def _tag_spans(markup: str) -> Iterator[tuple[int, int]]:
    """Find each `<…>`, from a `<` to the next `>` in its line, whatever stands between them.

    A regular expression would look for the `>` anew from every `<`, which is quadratic.
    """
    close = -1
    start = markup.find("<")
    while start >= 0:
        if close < start:
            close = markup.find(">", start)
        if close < 0:
            return
        newline = markup.find("\n", start, close)
        if newline < 0:
            yield start, close + 1
        start = markup.find("<", (close if newline < 0 else newline) + 1)


def _without(markup: str, spans: Sequence[tuple[int, int]]) -> str:
    starts = [0, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), len(markup)]
    return "".join(markup[start:end] for start, end in zip(starts, ends, strict=True))


def _text_ends(text: str, offsets: Iterable[int]) -> Iterator[int]:
    """Yield where the text before each offset ends, blanks left out; offsets do not decrease."""
    end = reached = 0
    for offset in offsets:
        written = text[reached : max(offset, 0)].rstrip()
        end = reached + len(written) if written else end
        reached = max(reached, offset)
        yield end


def _boxes(match: re.Match[str], markup_start: int) -> Iterator[ParsedBox]:
    tags = list(_PATCH_TAG.finditer(match.string, match.start("pairs"), match.end("pairs")))
    for first, second in zip(tags[::2], tags[1::2], strict=True):
        pair = (int(first[1]), int(second[1]))
        yield ParsedBox(pair, patch_indices_to_box(*pair), markup_start + first.start())


def _sorted(box: ParsedBox) -> ParsedBox:
    pair = sort_corners(box.patch_indices)
    return ParsedBox(pair, patch_indices_to_box(*pair), box.markup_offset)
