"""Writes a YOLO dataset: label files, `data.yaml`, and the lists of training and validation."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kosmos2_client.conversions import yolo
from kosmos2_client.conversions.pictures import LabelledPicture
from kosmos2_client.errors import InvalidInput
from kosmos2_client.export.dataset import Dataset
from kosmos2_client.export.output import new_file, new_folder
from kosmos2_client.splits import rank

DEFAULT_VAL_SHARE = 0.1
_IMAGES, _LABELS = "/images/", "/labels/"
_READ_SUFFIXES = (
    *(".avif", ".bmp", ".heic", ".heif", ".jpeg", ".jpg", ".mpo"),
    *(".png", ".tif", ".tiff", ".webp"),
)
"""Of pictures that ultralytics reads; it skips all others of a list, and reports none."""


@dataclass(frozen=True)
class Pictures:
    """How the pictures get into the dataset.

    Attributes:
        root: the folder of the run.
        copies: copy them; otherwise `images/` has symbolic links.
    """

    root: Path
    copies: bool

    def add(self, path: str, to: Path) -> None:
        """Link or copy a picture of the run.

        Raises:
            OSError: it is missing, or the file system has no links.
        """
        source = (self.root / path).resolve(strict=True)
        to.parent.mkdir(parents=True, exist_ok=True)
        if self.copies:
            shutil.copyfile(source, to)
        else:
            os.symlink(source, to)


def write(
    dataset: Dataset,
    out: Path,
    *,
    pictures: Pictures | None,
    val_share: float,
    with_confidence: bool,
) -> int:
    """Write the folder `out`, and return the number of boxes.

    A picture without predictions has an empty label file. A picture without an answer is in no
    list, and has no label file: it would teach that nothing is in it.

    Args:
        pictures: `None` creates no `images/`; the user adds it.
        val_share: part of the pictures for validation, 0…1, chosen by a hash of the path.

    Raises:
        InvalidInput: `out` exists, or YOLO cannot represent the names of the pictures.
        OSError: a file cannot be read or written.
    """
    paths = dataset.index.answered
    _check_names(paths)
    class_ids, num_boxes = dataset.class_ids(first=0), 0
    with new_folder(out) as folder:
        (folder / "labels").mkdir()
        for picture in dataset.pictures():
            num_boxes += _write_labels(picture, folder, class_ids, with_confidence)
            if pictures is not None:
                pictures.add(picture.path, folder / "images" / picture.path)
        _write_lists(folder, paths, val_share)
        has_val = count_val(len(paths), val_share) > 0
        text = data_yaml(dataset.classes, dataset.orientation, has_val=has_val)
        (folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")
    return num_boxes


def count_val(num_pictures: int, val_share: float) -> int:
    """Return the number of pictures for validation: at least one, if another one remains.

    >>> [count_val(number, 0.1) for number in (1, 2, 50)], count_val(50, 0)
    ([0, 1, 5], 0)
    """
    if not val_share:
        return 0
    return max(0, min(num_pictures - 1, max(1, round(val_share * num_pictures))))


def skipped(paths: Iterable[str]) -> list[str]:
    """Return the pictures that ultralytics skips.

    >>> skipped(["a.JPG", "b.gif", "c"])
    ['b.gif', 'c']
    """
    return [path for path in paths if not path.lower().endswith(_READ_SUFFIXES)]


def label_path(path: str) -> PurePosixPath:
    """Return where ultralytics looks for the labels of the picture `images/{path}`.

    It replaces the last `/images/`, which may be a folder of the run.

    >>> str(label_path("a/b.jpg")), str(label_path("a/images/b.jpg"))
    ('labels/a/b.txt', 'images/a/labels/b.txt')
    """
    labels = _LABELS.join(f"{_IMAGES}{path}".rsplit(_IMAGES, 1))
    return PurePosixPath(labels.removeprefix("/")).with_suffix(".txt")


def data_yaml(classes: Iterable[str], orientation: str, *, has_val: bool = True) -> str:
    r"""Return `data.yaml`; names are quoted, so that YAML reads `no` or `3` as text.

    Args:
        has_val: without pictures for validation, those of training are named, because ultralytics
            rejects an empty list.

    >>> print(data_yaml(["no", 'a "b"'], "upright"), end="")
    train: train.txt
    val: val.txt
    box_orientation: upright
    names:
      0: "no"
      1: "a \"b\""
    """
    names = "".join(f"  {number}: {_quoted(name)}\n" for number, name in enumerate(classes))
    lists = f"train: train.txt\nval: {'val.txt' if has_val else 'train.txt'}\n"
    return f"{lists}box_orientation: {orientation}\nnames:\n{names}"


def _quoted(text: str) -> str:
    """Return a double-quoted text of YAML: as in JSON, with longer escapes beyond 16 bits."""
    return "".join(
        character if character.isprintable() else f"\\U{ord(character):08X}"
        for character in json.dumps(text, ensure_ascii=False)
    )


def _write_labels(
    picture: LabelledPicture, folder: Path, class_ids: Mapping[str, int], with_confidence: bool
) -> int:
    path = folder / label_path(picture.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = list(yolo.lines(picture.predictions, class_ids, with_confidence=with_confidence))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii", newline="\n")
    return len(lines)


def _write_lists(folder: Path, paths: list[str], val_share: float) -> None:
    """Write the lists of pictures; `./` makes them relative to the folder of the list."""
    val = set(sorted(paths, key=rank)[: count_val(len(paths), val_share)])
    for name, members in (
        ("train.txt", [path for path in paths if path not in val]),
        ("val.txt", [path for path in paths if path in val]),
    ):
        with new_file(folder / name) as file:
            file.writelines(f"./images/{path}\n" for path in members)


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_names(paths: list[str]) -> None:
    """Raise `InvalidInput` if pictures or label files cannot be in the dataset, or are shared."""
    pictures: dict[PurePosixPath, str] = {}
    for path in paths:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.name:
            raise InvalidInput(f"{path!r}: YOLO needs paths below the root of the run")
        if not _is_unicode(path):
            raise InvalidInput(f"{path!r}: YOLO's lists are UTF-8, which cannot hold this name")
        if path.splitlines() != [path]:
            raise InvalidInput(f"{path!r}: a name with a line break does not fit into YOLO's lists")
        other = pictures.setdefault(label_path(path), path)
        if other != path:
            raise InvalidInput(
                f"{other} and {path} would share a label file: rename one of them and run again"
            )
