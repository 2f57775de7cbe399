"""What every export reads: labelled pictures in the order of their paths."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kosmos2_client.conversions.orientation import as_stored
from kosmos2_client.conversions.pictures import LabelledPicture, Orientation
from kosmos2_client.export.run_index import RunIndex
from kosmos2_client.export.selection import Selection
from kosmos2_client.results import Result
from kosmos2_client.run_file import Line


@dataclass(frozen=True)
class Dataset:
    """Pictures of run files, with the predictions that an export keeps.

    Attributes:
        classes: in the order of their ids; predictions of other classes are dropped.
        orientation: what sizes and boxes refer to.
    """

    index: RunIndex
    selection: Selection
    classes: Sequence[str]
    orientation: Orientation = "upright"

    def pictures(self) -> Iterator[LabelledPicture]:
        """Yield the pictures with an answer, also those without predictions, by path."""
        for path, result in self.index.results(self.index.answered):
            yield self._labelled(path, result)

    def errors(self) -> Iterator[Line]:
        """Yield the pictures without an answer, by path."""
        return self.index.lines(self.index.failed)

    def class_ids(self, first: int) -> dict[str, int]:
        """Return the id of each class, from `first` on."""
        return {name: number for number, name in enumerate(self.classes, start=first)}

    def _labelled(self, path: str, result: Result) -> LabelledPicture:
        wanted = set(self.classes)
        predictions = [found for found in result.predictions if found.class_name in wanted]
        image = result.image
        picture = LabelledPicture(
            path=path,
            width=image.width,
            height=image.height,
            exif_orientation=image.orientation,
            predictions=self.selection.apply(predictions),
        )
        return as_stored(picture) if self.orientation == "stored" else picture
