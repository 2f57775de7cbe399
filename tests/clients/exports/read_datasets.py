"""Reads exported datasets with pycocotools and supervision; prints the boxes of each picture.

python read_datasets.py COCO RESULTS YOLO PICTURES
"""

import json
import sys
from pathlib import Path

import supervision as sv
from pycocotools.coco import COCO

coco_path, results_path, yolo, pictures = sys.argv[1:]


def boxes_of(coco: COCO, ids: list[int]) -> list[list[object]]:
    """Class and edges of annotations."""
    found = []
    for one in coco.loadAnns(ids):
        [category] = coco.loadCats([one["category_id"]])
        x, y, width, height = one["bbox"]
        found.append([category["name"], x, y, x + width, y + height])
    return found


def by_picture(coco: COCO) -> dict[str, list[list[object]]]:
    return {
        image["file_name"]: boxes_of(coco, coco.getAnnIds(imgIds=[image_id]))
        for image_id, image in coco.imgs.items()
    }


def of_dataset(dataset: sv.DetectionDataset) -> dict[str, list[list[object]]]:
    return {
        Path(path).name: [
            [dataset.classes[number], *box]
            for box, number in zip(
                detections.xyxy.tolist(),
                [] if detections.class_id is None else detections.class_id.tolist(),
                strict=True,
            )
        ]
        for path, _, detections in dataset
    }


# pycocotools prints its progress to the standard output.
output, sys.stdout = sys.stdout, sys.stderr
truth = COCO(coco_path)
content = {
    "pycocotools": by_picture(truth),
    "loadRes": by_picture(truth.loadRes(results_path)),
    "from_coco": of_dataset(
        sv.DetectionDataset.from_coco(images_directory_path=pictures, annotations_path=coco_path)
    ),
    "from_yolo": of_dataset(
        sv.DetectionDataset.from_yolo(
            images_directory_path=f"{yolo}/images",
            annotations_directory_path=f"{yolo}/labels",
            data_yaml_path=f"{yolo}/data.yaml",
        )
    ),
}
json.dump(content, output)
