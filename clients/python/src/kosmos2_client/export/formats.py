"""The formats of `kosmos2-client export`, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kosmos2_client.export import coco, label_studio, table, yolo
from kosmos2_client.export.dataset import Dataset
from kosmos2_client.texts import listed


@dataclass(frozen=True)
class Options:
    """Options that only some formats have.

    Attributes:
        ids_from: a COCO dataset whose ids of pictures and categories `coco-results` uses.
        image_prefix: before the path of each picture in `label-studio`.
        root: folder of the pictures, for `yolo`.
        copies: whether `yolo` copies the pictures instead of linking them.
        val_share: of the pictures, for `yolo`, 0…1.
        with_confidence: whether `yolo` writes a sixth number.
    """

    ids_from: Path | None = None
    image_prefix: str = ""
    root: Path | None = None
    copies: bool = False
    val_share: float = yolo.DEFAULT_VAL_SHARE
    with_confidence: bool = False


@dataclass(frozen=True)
class Written:
    """What an export wrote.

    Attributes:
        num_boxes: boxes in the file or folder.
        note: one sentence that the user should read; empty without one.
    """

    num_boxes: int
    note: str = ""


def _coco(dataset: Dataset, out: Path, _: Options) -> Written:
    return Written(coco.write_dataset(dataset, out))


def _coco_results(dataset: Dataset, out: Path, options: Options) -> Written:
    ids = coco.own_ids(dataset) if options.ids_from is None else coco.read_ids(options.ids_from)
    written = coco.write_results(dataset, ids, out)
    notes = []
    if written.num_unknown_pictures:
        num_all = len(dataset.index.answered)
        pictures = f"{written.num_unknown_pictures} of {num_all} pictures"
        notes.append(f"{pictures} are not in {options.ids_from}; paths must be equal")
    if written.unknown_classes:
        notes.append(f"{options.ids_from} has no class {listed(written.unknown_classes)}")
    if written.num_results == 0:
        notes.append("there are no results, and pycocotools' loadRes rejects an empty list")
    return Written(written.num_results, "; ".join(notes))


def _yolo(dataset: Dataset, out: Path, options: Options) -> Written:
    pictures = None
    if options.root is not None:
        pictures = yolo.Pictures(options.root, options.copies)
    number = yolo.write(
        dataset,
        out,
        pictures=pictures,
        val_share=options.val_share,
        with_confidence=options.with_confidence,
    )
    notes = [] if pictures else [f"put the pictures into {out / 'images'}"]
    if not yolo.count_val(len(dataset.index.answered), options.val_share):
        notes.append("no pictures are left for validation, so data.yaml names those of training")
    if skipped := yolo.skipped(dataset.index.answered):
        notes.append(f"ultralytics does not read {listed(skipped)}: convert to PNG or JPEG")
    return Written(number, "; ".join(notes))


def _label_studio(dataset: Dataset, out: Path, options: Options) -> Written:
    return Written(label_studio.write(dataset, out, options.image_prefix))


def _csv(dataset: Dataset, out: Path, _: Options) -> Written:
    return Written(table.write_csv(dataset, out))


def _parquet(dataset: Dataset, out: Path, _: Options) -> Written:
    return Written(table.write_parquet(dataset, out))


FORMATS: Mapping[str, Callable[[Dataset, Path, Options], Written]] = {
    "coco": _coco,
    "coco-results": _coco_results,
    "yolo": _yolo,
    "label-studio": _label_studio,
    "csv": _csv,
    "parquet": _parquet,
}
"""Writes a dataset to a path: a folder for `yolo`, a file for all others."""
