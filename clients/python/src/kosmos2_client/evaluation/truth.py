"""Reads true boxes from a COCO dataset, and finds the pictures of a run in it."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from kosmos2_client.conversions.orientation import swaps_sides, to_upright
from kosmos2_client.conversions.pictures import Orientation
from kosmos2_client.entities import Edges
from kosmos2_client.errors import InvalidInput
from kosmos2_client.results import Image
from kosmos2_client.texts import mistake_of, read_text


@dataclass(frozen=True)
class TrueBox:
    """An object that is in a picture.

    Attributes:
        xyxy: in pixels.
        is_crowd: whether the box covers a group; a prediction inside is neither right nor wrong.
    """

    class_name: str
    xyxy: Edges
    is_crowd: bool = False


@dataclass(frozen=True)
class TruePicture:
    """A picture of the dataset; its size is `None` if the dataset does not state it."""

    image_id: int
    file_name: str
    size: tuple[int, int] | None
    boxes: tuple[TrueBox, ...]

    def upright(self, image: Image, orientation: Orientation) -> tuple[TrueBox, ...]:
        """Return the boxes in pixels of the upright picture.

        Args:
            image: of the answer, whose size is upright.
            orientation: what the boxes of the dataset refer to.

        Raises:
            InvalidInput: the dataset has a picture of another size.
        """
        is_stored = orientation == "stored"
        expected = (image.width, image.height)
        if is_stored and swaps_sides(image.orientation):
            expected = (image.height, image.width)
        if self.size not in (None, expected):
            hint = "; try --truth-orientation stored" if not is_stored else ""
            raise InvalidInput(
                f"{self.file_name}: the truth states {self.size}, the answer {expected}{hint}"
            )
        if not is_stored:
            return self.boxes
        return tuple(replace(box, xyxy=to_upright(box.xyxy, image)) for box in self.boxes)


@dataclass(frozen=True)
class Truth:
    """A dataset.

    Attributes:
        classes: in the order of their ids.
        pictures: in the order of their ids, as pycocotools evaluates them.
    """

    classes: Sequence[str]
    pictures: Sequence[TruePicture]


def read_truth(path: Path) -> Truth:
    """Read a COCO dataset such as `instances_val2017.json`.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: it is no COCO dataset.
    """
    try:
        content = json.loads(read_text(path))
        names = {one["id"]: str(one["name"]) for one in content["categories"]}
        boxes: dict[int, list[TrueBox]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            boxes[annotation["image_id"]].append(_true_box(annotation, names))
        pictures = [_true_picture(image, boxes[image["id"]]) for image in content["images"]]
        classes = [names[number] for number in sorted(names)]
        return Truth(classes, sorted(pictures, key=lambda picture: picture.image_id))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path}: not a COCO dataset: {mistake_of(error)}") from None


def _true_picture(image: Mapping[str, Any], boxes: Sequence[TrueBox]) -> TruePicture:
    width, height = image.get("width"), image.get("height")  # some tools write neither, or null
    size = None if width is None or height is None else (width, height)
    return TruePicture(image["id"], str(image["file_name"]), size, tuple(boxes))


def _true_box(annotation: Mapping[str, Any], names: Mapping[int, str]) -> TrueBox:
    left, top, width, height = (float(value) for value in annotation["bbox"])
    if not all(map(math.isfinite, (left, top))) or not (0 <= width < math.inf > height >= 0):
        raise ValueError(f"annotation {annotation.get('id')} has no box")
    name = names[annotation["category_id"]]
    return TrueBox(name, (left, top, left + width, top + height), bool(annotation.get("iscrowd")))


def find_paths(truth: Truth, paths: Iterable[str]) -> dict[int, str]:
    """Return the path in the run of each picture of the dataset that the run has, by image id.

    A picture has the same path, or a file name that only one picture of each side has.
    """
    known = set(paths)
    by_name = _unique_names(known)
    of_truth = _unique_names(picture.file_name for picture in truth.pictures)
    found: dict[int, str] = {}
    for picture in truth.pictures:
        name = PurePosixPath(picture.file_name).name
        if picture.file_name in known:
            found[picture.image_id] = picture.file_name
        elif of_truth.get(name) == picture.file_name and name in by_name:
            found[picture.image_id] = by_name[name]
    return found


def _unique_names(paths: Iterable[str]) -> dict[str, str]:
    """Return paths by file name, without the names that several paths have."""
    names: dict[str, str | None] = {}
    for path in paths:
        name = PurePosixPath(path).name
        names[name] = None if name in names else path
    return {name: path for name, path in names.items() if path is not None}
