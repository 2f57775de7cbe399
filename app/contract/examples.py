"""Example requests for every task and checkpoint, used by the demo, the docs and the tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import EMBEDDED_CHECKPOINT

EXAMPLE_SCENE = EMBEDDED_CHECKPOINT / "scenes" / "two_red_circles_and_blue_square.jpg"


@dataclass(frozen=True)
class Example:
    """The fields of a request, without its picture.

    Attributes:
        task: a name in `app.grounding.tasks.TASKS`.
        text: the field of `POST /v1/ground`.
        regions: the field of `POST /v1/ground`, as a JSON string.
    """

    task: str
    text: str | None = None
    regions: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """The fields as a form sends them: all are strings."""
        fields = {"task": self.task, "text": self.text, "regions": self.regions}
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def json_fields(self) -> dict[str, Any]:
        """The fields as a JSON body sends them."""
        fields: dict[str, Any] = dict(self.fields)
        if self.regions is not None:
            fields["regions"] = json.loads(self.regions)
        return fields

    def curl(self, url: str, picture: Path) -> str:
        """Return the request as a shell command.

        >>> Example("brief_caption").curl("http://127.0.0.1:8000", Path("scene.png"))
        'curl -F image=@scene.png -F task=brief_caption http://127.0.0.1:8000/v1/ground'
        """
        parts = [f"-F {_quoted(f'{name}={value}')}" for name, value in self.fields.items()]
        return " ".join([f"curl -F image=@{picture}", *parts, f"{url}/v1/ground"])


def _quoted(text: str) -> str:
    # Quote only where a shell needs it, so that simple commands stay readable.
    return f"'{text}'" if set(text) & set(" '\"[]{}<>?") else text


def _regions(phrase: str | None, *boxes: list[int]) -> str:
    region = {"boxes": boxes} if phrase is None else {"phrase": phrase, "boxes": boxes}
    return json.dumps([region])


_SQUARE = [114, 68, 180, 134]

EMBEDDED_EXAMPLES = (
    Example("brief_caption"),
    Example("detailed_caption"),
    Example("phrase_grounding", "a red circle"),
    Example("referring_expression_comprehension", "the red circle left of the blue square"),
    Example("referring_expression_generation", regions=_regions(None, _SQUARE)),
    Example("grounded_vqa", "How many red circles are there?"),
    Example("grounded_vqa", "What color is the square?", _regions("the square", _SQUARE)),
    Example("raw", "<grounding><phrase> a blue square</phrase>"),
)
"""For `EXAMPLE_SCENE`: every task, and `grounded_vqa` both without and with a region."""

DETECT_EXAMPLES: dict[str, dict[str, Any]] = {
    "1 classes": {"classes": ["red circle", "blue square", "green star"]},
    "2 small objects": {"classes": ["red circle"], "tiles": "auto", "confidence": 0.4},
}
"""Fields of requests to `POST /v1/detect`, by title; for `EXAMPLE_SCENE`."""

PUBLISHED_EXAMPLES = (
    Example("brief_caption"),
    Example("detailed_caption"),
    Example("phrase_grounding", "a snowman"),
    Example("referring_expression_comprehension", "a snowman next to a fire"),
    Example("referring_expression_generation", regions=_regions(None, [400, 48, 1008, 848])),
    Example("grounded_vqa", "What is special about this image?"),
    Example(
        "grounded_vqa",
        "Where is the fire next to?",
        _regions("the fire", [176, 16, 496, 912]),
    ),
    Example("raw", "<grounding> An image of"),
)
"""From the published model's card, for its picture of a snowman (1024×1024 pixels)."""
