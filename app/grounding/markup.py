"""Parses the model's markup and writes the markup of prompts.

    <grounding> See<phrase> a dog</phrase><object><patch_index_0044><patch_index_0863></object>

A *phrase* and its boxes are an *entity*. The parser gives the same result as
`post_process_generation` of `transformers.models.kosmos2.processing_kosmos2` for every string, in
one pass. `ParsedMarkup.cleaned` then removes the parts that the service does not return. One limit
is our own: a location tag has at most 300 digits. The reference raises an error for more.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from app.grounding.boxes import CellPair, is_inside_grid, patch_indices_to_box, sort_corners
from app.pictures.marks import Box

END_OF_IMAGE = "</image>"
END_OF_PHRASE = "</phrase>"
START_OF_OBJECT = "<object>"
END_OF_OBJECT = "</object>"
DELIMITER = "</delimiter_of_multi_objects/>"
LITERAL_BRACKET = "\udc3c"
"""Stands for a `<` that a user wrote and that starts no tag, while the markup is parsed.

It is a lone surrogate, which occurs neither in decoded tokens nor in accepted texts. It is one code
point, as `<` is, so that offsets stay the same.
"""

MARKUP_TAGS = (
    "<grounding>", "<phrase>", END_OF_PHRASE, START_OF_OBJECT, END_OF_OBJECT, DELIMITER,
)  # fmt: skip
"""The tags that a raw prompt may contain, without the location tags."""

_PATCH_TAG = re.compile(r"<patch_index_(\d{1,300}+)>")
_LAST_PHRASE = re.compile(r"<phrase>[^<]*+</phrase>\s*+\Z")
_PAIR = r"(?:<patch_index_\d{1,300}+>){2}"
OBJECT = re.compile(
    r"(?:<phrase>(?P<phrase>[^<]++)</phrase>)?"
    rf"<object>(?P<pairs>(?:{_PAIR}{DELIMITER})*+{_PAIR}){END_OF_OBJECT}"
)
"""A complete object, with its phrase if it has one; matches do not overlap."""


@dataclass(frozen=True)
class ParsedBox:
    """One box of an entity.

    Args:
        patch_indices: the cells of the upper-left and lower-right corner.
        box: the same box as normalised xyxy.
        markup_offset: the start of its first location tag in `ParsedMarkup.markup`.
    """

    patch_indices: CellPair
    box: Box
    markup_offset: int


@dataclass(frozen=True)
class ParsedEntity:
    """A phrase with its boxes, or one box without a phrase.

    Args:
        phrase: as in the text, or `None` if the box has no phrase.
        span: start and end of the phrase in `ParsedMarkup.text`, in code points.
        text_end: of the text before the boxes, in code points, without trailing white space.
        boxes: one or more, in the order of the markup.
    """

    phrase: str | None
    span: tuple[int, int]
    text_end: int
    boxes: tuple[ParsedBox, ...]

    def cleaned(self) -> "ParsedEntity":
        """Return the entity with sorted boxes inside the grid; its span ends at `text_end`."""
        phrase = self.phrase or None  # treat a phrase of blanks as no phrase
        return ParsedEntity(
            phrase,
            (self.text_end - len(phrase or ""), self.text_end),
            self.text_end,
            tuple(_sorted(box) for box in self.boxes if is_inside_grid(box.patch_indices)),
        )


@dataclass(frozen=True)
class ParsedMarkup:
    """The result of parsing a markup.

    Args:
        markup: everything after the picture, including tags.
        text: the markup without tags and without white space around it.
        entities: the complete objects, in the order of the markup.
    """

    markup: str
    text: str
    entities: tuple[ParsedEntity, ...]

    def cleaned(self) -> "ParsedMarkup":
        """Return the entities as the service answers them: boxes in the grid, corners sorted.

        An entity without a valid box is removed. A phrase of blanks counts as no phrase. A box
        without a phrase gets an empty span at the end of the text before it. None of this depends
        on text after the object, so a stream can send the entity while the model is generating.

        >>> swapped = "<phrase> a cat</phrase>" + write_object([(863, 44), (5, 1024)])
        >>> [box.patch_indices for box in parse(swapped).cleaned().entities[0].boxes]
        [(44, 863)]
        """
        entities = (entity.cleaned() for entity in self.entities)
        return replace(self, entities=tuple(entity for entity in entities if entity.boxes))


def parse(decoded: str) -> ParsedMarkup:
    """Parse a decoded answer, with or without the picture's placeholders before it.

    Like the reference, parsing starts after the last `</image>`, even if the model wrote that tag.
    """
    return parse_markup(decoded.rpartition(END_OF_IMAGE)[2])


def find_last_phrase(prompt: ParsedMarkup) -> int | None:
    """Return where the phrase at the end of a prompt begins in its text, or `None` without one.

    The model continues such a prompt with the boxes of the phrase.

    >>> find_last_phrase(parse("<grounding> See<phrase> a dog</phrase>"))
    4
    """
    match = _LAST_PHRASE.search(prompt.markup)
    if match is None:
        return None
    start = len(parse_markup(prompt.markup[: match.start()]).text)
    return len(prompt.text) - len(prompt.text[start:].lstrip())


def has_tags(text: str) -> bool:
    """Return whether a text contains a tag of the markup.

    >>> has_tags("<grounding> An image of"), has_tags("Is 3 < 5?")
    (True, False)
    """
    return _PATCH_TAG.search(text) is not None or any(tag in text for tag in MARKUP_TAGS)


def parse_markup(markup: str) -> ParsedMarkup:
    """Parse everything after the picture.

    Incomplete objects give no entity. A box without a phrase is an entity of its own; its span is
    the position of the box and may lie outside the text, as in the reference.

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
    text_ends = _text_ends(text, (to_text(match.end()) for match in matches))
    entities = tuple(
        replace(entity, span=(to_text(entity.span[0]), to_text(entity.span[1])))
        for match, text_end in zip(matches, text_ends, strict=True)
        for entity in entities_of(match, text_end)
    )
    return ParsedMarkup(markup, text, entities)


def entities_of(
    match: re.Match[str], text_end: int, markup_start: int = 0
) -> Iterator[ParsedEntity]:
    """Yield the entities of one object, with spans in the markup, without surrounding blanks.

    Args:
        match: a match of `OBJECT`.
        text_end: the end of the text before the object.
        markup_start: the offset in the markup of the string that was searched.
    """
    boxes = tuple(_boxes(match, markup_start))
    phrase = match["phrase"]
    if phrase is None:
        start = markup_start + match.start()
        yield from (ParsedEntity(None, (start, start), text_end, (box,)) for box in boxes)
        return
    start = markup_start + match.start("phrase") + len(phrase) - len(phrase.lstrip())
    end = markup_start + match.start("phrase") + len(phrase.rstrip())
    yield ParsedEntity(phrase.strip(), (start, end), text_end, boxes)


def restore_brackets(text: str) -> str:
    """Return the text with `<` in place of each `LITERAL_BRACKET`.

    >>> restore_brackets(parse_markup(f"Is 3{LITERAL_BRACKET}5?<phrase> a cat</phrase>").text)
    'Is 3<5? a cat'
    """
    return text.replace(LITERAL_BRACKET, "<")


def write_phrase(phrase: str) -> str:
    """Return a phrase in its tags. Include the space before it, because the model writes it so.

    >>> write_phrase(" a snowman")
    '<phrase> a snowman</phrase>'
    """
    return f"<phrase>{phrase}</phrase>"


def write_object(pairs: Sequence[CellPair]) -> str:
    """Return the markup of the boxes of one phrase, one or more.

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
    """Yield the span of each `<…>`: from a `<` to the next `>` in the same line.

    A regular expression would search for the `>` again from every `<`, which is quadratic.
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
    """Yield the end of the text before each offset, without blanks; offsets must not decrease."""
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
