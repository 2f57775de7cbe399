"""Reads Flickr30k Entities: captions with marked phrases, and the boxes of each phrase."""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from app.pictures.marks import Box

# `[/EN#283585/people A young man] sits on [/EN#283587/other a bench] .`
_MARKED = re.compile(r"\[/EN#(?P<entity>\d+)/\S+ (?P<phrase>[^\]]*)\]")


@dataclass(frozen=True)
class Query:
    """A phrase to find in a picture.

    Attributes:
        before: the caption up to the phrase.
        phrase: as in the caption.
        boxes: normalised; the dataset lists several for some phrases.
    """

    picture: Path
    before: str
    phrase: str
    boxes: tuple[Box, ...]

    @property
    def prompt(self) -> str:
        """The prompt of the paper: the caption so far, then the phrase."""
        return f"<grounding>{self.before} <phrase>{self.phrase}</phrase>"


def read_flickr30k(root: Path, images: Path, split: Path) -> list[Query]:
    """Return every phrase with boxes of the pictures in `split`.

    Args:
        root: the folder with `Sentences/` and `Annotations/`.
        images: the folder with the pictures, `<id>.jpg`.
        split: `test.txt`, `val.txt` or `train.txt` of the dataset, one id per line.
    """
    queries = []
    for name in split.read_text(encoding="utf-8").split():
        boxes = _boxes_by_entity(root / "Annotations" / f"{name}.xml")
        sentences = root / "Sentences" / f"{name}.txt"
        for line in sentences.read_text(encoding="utf-8").splitlines():
            queries += _queries_of(line.strip(), images / f"{name}.jpg", boxes)
    return queries


def _queries_of(line: str, picture: Path, boxes: dict[str, tuple[Box, ...]]) -> list[Query]:
    """Return the phrases of one caption, without those that have no box (scenes, absent things)."""
    return [
        Query(picture, _plain(line[: match.start()]), match["phrase"], boxes[match["entity"]])
        for match in _MARKED.finditer(line)
        if match["entity"] in boxes
    ]


def _plain(marked: str) -> str:
    return _MARKED.sub(lambda match: match["phrase"], marked).strip()


def _boxes_by_entity(path: Path) -> dict[str, tuple[Box, ...]]:
    """Return normalised boxes by entity; an object may belong to several entities."""
    root = ElementTree.parse(path).getroot()  # noqa: S314 - the user's own dataset
    width, height = _number(root, "size/width"), _number(root, "size/height")
    boxes: dict[str, tuple[Box, ...]] = {}
    for thing in root.iter("object"):
        corners = thing.find("bndbox")
        if corners is None:
            continue
        x0, y0, x1, y1 = (_number(corners, name) for name in ("xmin", "ymin", "xmax", "ymax"))
        # Pixel numbers start at 1, and the last pixel belongs to the box.
        box = ((x0 - 1) / width, (y0 - 1) / height, x1 / width, y1 / height)
        for name in thing.iter("name"):
            boxes[name.text or ""] = (*boxes.get(name.text or "", ()), box)
    return boxes


def _number(element: ElementTree.Element, path: str) -> float:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"an annotation has no {path}")
    return float(text)
