"""Writes tasks with predictions for the import into Label Studio."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from kosmos2_client.conversions import label_studio
from kosmos2_client.errors import InvalidInput
from kosmos2_client.export.dataset import Dataset
from kosmos2_client.export.output import new_file, write_array


def write(dataset: Dataset, out: Path, image_prefix: str) -> int:
    """Write a list of tasks, and return the number of boxes.

    Next to it, a file with the suffix `.xml` has the labelling configuration, which the project
    needs before the import. Pictures without predictions are tasks with an empty prediction.

    Args:
        image_prefix: before the path of each picture: an address, or `/data/local-files/?d=`.

    Raises:
        InvalidInput: `out` has the suffix of the configuration.
    """
    config = out.with_suffix(".xml")
    if config == out:
        raise InvalidInput(f"{out}: the labelling configuration is written there; tasks are JSON")
    with new_file(config) as file:
        file.write(labelling_config(dataset.classes))
    num_boxes = [0]

    def tasks() -> Iterator[dict[str, Any]]:
        for picture in dataset.pictures():
            num_boxes[0] += len(picture.predictions)
            yield {
                "data": {"image": image_prefix + quote(picture.path, errors="surrogateescape")},
                "meta": {"box_orientation": picture.orientation},
                "predictions": [
                    label_studio.prediction(picture.predictions, picture.width, picture.height)
                ],
            }

    with new_file(out) as file:
        write_array(file, tasks())
        file.write("\n")
    return num_boxes[0]


def labelling_config(classes: Sequence[str]) -> str:
    """Return a labelling configuration with these classes as labels."""
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in classes)
    return (
        "<View>\n"
        f'  <Image name="{label_studio.TO_NAME}" value="$image"/>\n'
        f'  <RectangleLabels name="{label_studio.FROM_NAME}" toName="{label_studio.TO_NAME}">\n'
        f"{labels}"
        "  </RectangleLabels>\n"
        "</View>\n"
    )
