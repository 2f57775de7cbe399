"""The methods `to_…` of answers, each of which calls the module of its format."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from kosmos2_client.conversions.vlm_tuple import VlmTuple
    from kosmos2_client.results import Image, Prediction, Result


class Convertible:
    """Base of answers with predictions and a picture.

    The conversions import the typed answers, so the methods import the conversions when called.
    """

    if TYPE_CHECKING:  # fields of the answers

        @property
        def predictions(self) -> tuple[Prediction, ...]:
            """The objects of the answer."""

        @property
        def image(self) -> Image:
            """The picture that the boxes refer to."""

    def to_supervision(self) -> Any:
        """Return `supervision.Detections`; needs the extra `supervision`."""
        from kosmos2_client.conversions.supervision import to_supervision

        return to_supervision(self.predictions)

    def to_tuple(self) -> "VlmTuple":
        """Return the pair that `supervision.Detections.from_vlm(sv.VLM.KOSMOS_2, …)` reads."""
        from kosmos2_client.conversions.vlm_tuple import to_tuple

        return to_tuple(cast("Result", self))

    def to_coco(
        self, image_id: int, category_ids: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        """Return the results of this picture in COCO's form.

        Args:
            category_ids: by class name; without it, one more than `class_id`.
        """
        from kosmos2_client.conversions import coco

        ids = self.class_ids(first=1) if category_ids is None else category_ids
        return list(coco.results(self.predictions, image_id, ids))

    def to_yolo(self, class_ids: Mapping[str, int] | None = None) -> str:
        """Return the text of a YOLO label file; empty if nothing was found.

        Args:
            class_ids: from 0, by class name; without it, `class_id`.
        """
        from kosmos2_client.conversions import yolo

        ids = self.class_ids(first=0) if class_ids is None else class_ids
        return "".join(f"{line}\n" for line in yolo.lines(self.predictions, ids))

    def to_label_studio(self, from_name: str = "label", to_name: str = "image") -> dict[str, Any]:
        """Return a prediction of Label Studio.

        Args:
            from_name: name of the tag `RectangleLabels` in the labelling configuration.
            to_name: name of the tag `Image`.
        """
        from kosmos2_client.conversions import label_studio

        return label_studio.prediction(
            self.predictions,
            self.image.width,
            self.image.height,
            from_name=from_name,
            to_name=to_name,
        )

    def class_ids(self, first: int) -> dict[str, int]:
        """Return the number of each class among the predictions: `class_id`, from `first` on."""
        return {found.class_name: found.class_id + first for found in self.predictions}
