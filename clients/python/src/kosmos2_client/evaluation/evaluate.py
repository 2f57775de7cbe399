"""Evaluates the answers of a run against a dataset."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kosmos2_client.conversions.pictures import Orientation
from kosmos2_client.errors import InvalidInput
from kosmos2_client.evaluation.matching import IOU_LIMITS, MAX_PREDICTIONS, Overlaps
from kosmos2_client.evaluation.tally import (
    NUM_FOLDS,
    Quality,
    Tally,
    best_quality,
    held_out_quality,
    quality_at,
)
from kosmos2_client.evaluation.truth import TrueBox, Truth, find_paths
from kosmos2_client.export.run_index import RunIndex
from kosmos2_client.export.selection import Selection
from kosmos2_client.results import Image, Prediction, Result
from kosmos2_client.splits import rank


@dataclass(frozen=True)
class EvaluatedPicture:
    """A picture that the run and the dataset have.

    Attributes:
        image: of the answer; `None` for a picture without an answer.
        predictions: that the selection keeps, the most confident first.
        truths: in pixels of the upright picture, of the evaluated classes.
        result: the whole answer; `None` without one.
    """

    path: str
    image: Image | None
    predictions: Sequence[Prediction]
    truths: Sequence[TrueBox]
    result: Result | None

    @property
    def fold(self) -> int:
        """The half of the pictures to which this one belongs, 0 or 1; it never changes."""
        return rank(self.path) % NUM_FOLDS


@dataclass(frozen=True)
class Comparison:
    """A run and a dataset with the same pictures.

    Attributes:
        classes: that both have, in the order of the dataset.
        orientation: what the boxes of the dataset refer to.
    """

    index: RunIndex
    truth: Truth
    selection: Selection
    classes: Sequence[str]
    paths: Mapping[int, str]
    orientation: Orientation

    def pictures(self) -> Iterator[EvaluatedPicture]:
        """Yield the pictures in the order of their ids in the dataset."""
        wanted, true = set(self.classes), {one.image_id: one for one in self.truth.pictures}
        order = [one.image_id for one in self.truth.pictures if one.image_id in self.paths]
        lines = self.index.lines([self.paths[image_id] for image_id in order])
        for image_id, line in zip(order, lines, strict=True):
            result, picture = line.result, true[image_id]
            # A picture without an answer counts as one in which nothing was found.
            boxes = picture.boxes
            predictions: Sequence[Prediction] = ()
            if result is not None:
                boxes = picture.upright(result.image, self.orientation)
                kept = [found for found in result.predictions if found.class_name in wanted]
                predictions = self.selection.apply(kept)
            truths = [box for box in boxes if box.class_name in wanted]
            image = None if result is None else result.image
            yield EvaluatedPicture(line.path, image, predictions, truths, result)


@dataclass(frozen=True)
class ClassReport:
    """How well one class, or all of them together, was found.

    Attributes:
        wanted: objects.
        average_precision: mean over IoU 0.5 to 0.95; `None` without objects.
        average_precision_50: at IoU 0.5; `None` without objects.
        kept: of the predictions that the selection keeps.
        best: at the threshold with the best F1.
        held_out: each half of the pictures at the threshold of the other half; `None` if a half
            has no object.
    """

    wanted: int
    average_precision: float | None
    average_precision_50: float | None
    kept: Quality
    best: Quality
    held_out: Quality | None


@dataclass(frozen=True)
class Evaluation:
    """The result of a comparison.

    Attributes:
        by_class: in the order of the dataset.
        overall: means of the classes' average precisions, and the counts of all classes together
            at one threshold.
        num_pictures: that were compared.
        num_failed: of them, without an answer.
        num_unused: pictures of the dataset that the run does not have.
        unused_classes: of the dataset, that the run does not have.
        unlabelled_classes: of the run, without an object in the dataset.
    """

    by_class: Mapping[str, ClassReport]
    overall: ClassReport
    num_pictures: int
    num_failed: int
    num_unused: int
    unused_classes: Sequence[str]
    unlabelled_classes: Sequence[str]


def compare(
    index: RunIndex,
    truth: Truth,
    selection: Selection,
    orientation: Orientation,
    classes: Sequence[str] | None = None,
) -> Comparison:
    """Return the comparison of the pictures and classes that both have.

    Args:
        orientation: what the boxes of the dataset refer to.
        classes: compares only these; `None` compares all.

    Raises:
        InvalidInput: they have no picture or no class in common.
    """
    paths = find_paths(truth, [*index.answered, *index.failed])
    wanted = index.classes if classes is None else index.classes.intersection(classes)
    common = [name for name in truth.classes if name in wanted]
    if not paths or not common:
        missing = "pictures" if not paths else "classes"
        raise InvalidInput(f"the run and the truth have no {missing} in common")
    return Comparison(index, truth, selection, common, paths, orientation)


def evaluate(comparison: Comparison) -> Evaluation:
    """Return the evaluation of a comparison.

    Raises:
        InvalidInput: a picture has another size in the dataset.
    """
    tallies = {name: Tally() for name in comparison.classes}
    num_failed = 0
    for picture in comparison.pictures():
        num_failed += picture.result is None
        for name, tally in tallies.items():
            _add(picture, name, tally)
    by_class = {name: _report([tally]) for name, tally in tallies.items()}
    unknown = comparison.index.classes.difference(comparison.truth.classes)
    unlabelled = unknown.union(name for name, one in by_class.items() if not one.wanted)
    return Evaluation(
        by_class,
        _report(list(tallies.values())),
        num_pictures=len(comparison.paths),
        num_failed=num_failed,
        num_unused=len(comparison.truth.pictures) - len(comparison.paths),
        unused_classes=[n for n in comparison.truth.classes if n not in comparison.index.classes],
        unlabelled_classes=sorted(unlabelled),
    )


def of_class(
    picture: EvaluatedPicture, name: str
) -> tuple[Sequence[Prediction], Sequence[TrueBox]]:
    """Return the predictions that count and the true boxes of a class."""
    found = [one for one in picture.predictions if one.class_name == name][:MAX_PREDICTIONS]
    return found, [truth for truth in picture.truths if truth.class_name == name]


def _add(picture: EvaluatedPicture, name: str, tally: Tally) -> None:
    found, truths = of_class(picture, name)
    if not found and not truths:
        return
    overlaps = Overlaps([one.xyxy for one in found], truths)
    tally.add(
        [one.confidence for one in found],
        [overlaps.match(limit) for limit in IOU_LIMITS],
        picture.fold,
        sum(not truth.is_crowd for truth in truths),
    )


def _report(tallies: Sequence[Tally]) -> ClassReport:
    numbers = range(len(IOU_LIMITS))
    precisions = [[tally.average_precision(number) for tally in tallies] for number in numbers]
    means = [_mean(some) for some in precisions]
    return ClassReport(
        wanted=sum(sum(tally.wanted) for tally in tallies),
        average_precision=_mean(means),
        average_precision_50=means[0],
        kept=quality_at(0.0, tallies),
        best=best_quality(tallies),
        held_out=held_out_quality(tallies),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not `None`."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
