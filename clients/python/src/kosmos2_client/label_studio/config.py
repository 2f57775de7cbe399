"""Reads from a labelling configuration which classes to find, and how to name the boxes."""

from dataclasses import dataclass
from xml.etree import ElementTree

from kosmos2_client.batch.labels import Labels
from kosmos2_client.errors import InvalidInput

_MAX_CHARACTERS = 200_000


@dataclass(frozen=True)
class LabelConfig:
    """The parts of a labelling configuration that a prediction needs.

    Attributes:
        from_name: name of the tag `RectangleLabels`.
        to_name: name of the tag `Image`.
        data_key: member of a task's `data` with the address of the picture.
        labels: the labels with their prompts.
    """

    from_name: str
    to_name: str
    data_key: str
    labels: Labels


def read_label_config(text: str) -> LabelConfig:
    """Return the first `RectangleLabels` of a configuration, and its `Image`.

    The prompt of a `Label` is its value. The attribute `predicted_values` may list other prompts,
    with commas in between.

    Raises:
        InvalidInput: the configuration has no rectangles on a picture, or is no XML.
        InvalidClasses: two labels have the same prompt, or there is no label.
    """
    root = _parse(text)
    images = {tag.get("name", ""): tag for tag in root.iter("Image")}
    for rectangles in root.iter("RectangleLabels"):
        image = images.get(rectangles.get("toName", ""))
        if image is not None:
            return LabelConfig(
                from_name=rectangles.get("name", ""),
                to_name=image.get("name", ""),
                data_key=_data_key(image),
                labels=Labels.from_pairs([_prompts(label) for label in rectangles.iter("Label")]),
            )
    raise InvalidInput("the labelling configuration has no RectangleLabels on an Image")


def _parse(text: str) -> ElementTree.Element:
    """Parse XML without a document type, which could define entities that expand without end."""
    if len(text) > _MAX_CHARACTERS or "<!DOCTYPE" in text:
        raise InvalidInput("the labelling configuration is too long, or has a document type")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - it has no document type
    except ElementTree.ParseError as error:
        raise InvalidInput(f"the labelling configuration is no XML: {error}") from None


def _data_key(image: ElementTree.Element) -> str:
    value = image.get("value", "")
    if not value.startswith("$") or len(value) == 1:
        raise InvalidInput('the Image of the labelling configuration needs value="$name"')
    return value[1:]


def _prompts(label: ElementTree.Element) -> tuple[str, list[str]]:
    """Return a label as annotations have it, and its prompts."""
    value = label.get("value", "")
    given = (prompt.strip() for prompt in label.get("predicted_values", "").split(","))
    prompts = [prompt for prompt in given if prompt]
    return label.get("alias") or value, prompts or [value]
