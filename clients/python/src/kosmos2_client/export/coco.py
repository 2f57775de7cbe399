"""Writes COCO datasets and COCO results."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosmos2_client.conversions import coco
from kosmos2_client.errors import InvalidInput
from kosmos2_client.export.dataset import Dataset
from kosmos2_client.export.output import new_file, write_array
from kosmos2_client.texts import mistake_of, read_text

FIRST_CATEGORY = 1
"""COCO's own ids start at 1, and 0 means background to some tools."""


@dataclass(frozen=True)
class Ids:
    """The ids of a COCO dataset: of pictures by path, of categories by name."""

    images: Mapping[str, int]
    categories: Mapping[str, int]


def own_ids(dataset: Dataset) -> Ids:
    """Return the ids that `write_dataset` gives: pictures with an answer, by path, from 1."""
    images = {path: number for number, path in enumerate(dataset.index.answered, start=1)}
    return Ids(images, dataset.class_ids(first=FIRST_CATEGORY))


def read_ids(path: Path) -> Ids:
    """Return the ids of an existing dataset.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: it is no COCO dataset.
    """
    try:
        content = json.loads(read_text(path))
        return Ids(
            {image["file_name"]: image["id"] for image in content["images"]},
            {category["name"]: category["id"] for category in content["categories"]},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path}: not a COCO dataset: {mistake_of(error)}") from None


def write_dataset(dataset: Dataset, out: Path) -> int:
    """Write `images`, `annotations` and `categories`, and return the number of annotations.

    Pictures without predictions are images without annotations. Pictures without an answer are
    left out, because a picture without annotations means that nothing is in it.
    """
    ids = own_ids(dataset)
    info = {"description": "Written by kosmos2-client", "box_orientation": dataset.orientation}
    images = (coco.image(picture, ids.images[picture.path]) for picture in dataset.pictures())
    with new_file(out) as file:
        file.write(f'{{"info": {json.dumps(info)},\n"categories": ')
        write_array(file, coco.categories(ids.categories))
        file.write(',\n"images": ')
        write_array(file, images)
        file.write(',\n"annotations": ')
        number = write_array(file, _annotations(dataset, ids))
        file.write("}\n")
    return number


def _annotations(dataset: Dataset, ids: Ids) -> Iterator[dict[str, Any]]:
    next_id = 1
    for picture in dataset.pictures():
        for annotation in coco.annotations(
            picture.predictions, ids.images[picture.path], ids.categories, next_id
        ):
            yield annotation
            next_id = annotation["id"] + 1


@dataclass(frozen=True)
class WrittenResults:
    """What `write_results` wrote.

    Attributes:
        num_results: length of the list.
        num_unknown_pictures: with an answer, but without an id.
        unknown_classes: without an id.
    """

    num_results: int
    num_unknown_pictures: int
    unknown_classes: Sequence[str]


def write_results(dataset: Dataset, ids: Ids, out: Path) -> WrittenResults:
    """Write the list of results, without pictures and classes that have no id.

    Each result names the orientation of its box; `loadRes` keeps members that it does not know.
    """
    num_pictures = sum(path not in ids.images for path in dataset.index.answered)
    classes = [name for name in dataset.classes if name not in ids.categories]
    with new_file(out) as file:
        number = write_array(file, _results(dataset, ids))
        file.write("\n")
    return WrittenResults(number, num_pictures, classes)


def _results(dataset: Dataset, ids: Ids) -> Iterator[dict[str, Any]]:
    for picture in dataset.pictures():
        if picture.path in ids.images:
            image_id = ids.images[picture.path]
            for result in coco.results(picture.predictions, image_id, ids.categories):
                yield result | {"box_orientation": dataset.orientation}
