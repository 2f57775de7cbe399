"""For each task, a request that a checkpoint answers well: for the demo, the docs and the tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import EMBEDDED_CHECKPOINT

EXAMPLE_SCENE = EMBEDDED_CHECKPOINT / "scenes" / "two_red_circles_and_blue_square.jpg"


@dataclass(frozen=True)
class Example:
    """A request, its picture apart.

    Attributes:
        task: of `app.grounding.tasks.TASKS`.
        text: as in `POST /v1/ground`.
        regions: likewise, as JSON.
    """

    task: str
    text: str | None = None
    regions: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """The form's fields."""
        fields = {"task": self.task, "text": self.text, "regions": self.regions}
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def json_fields(self) -> dict[str, Any]:
        """The fields of a JSON body."""
        fields: dict[str, Any] = dict(self.fields)
        if self.regions is not None:
            fields["regions"] = json.loads(self.regions)
        return fields

    def curl(self, url: str, picture: Path) -> str:
        """The request as a command.

        >>> Example("brief_caption").curl("http://127.0.0.1:8000", Path("scene.png"))
        'curl -F image=@scene.png -F task=brief_caption http://127.0.0.1:8000/v1/ground'
        """
        parts = [f"-F {_quoted(f'{name}={value}')}" for name, value in self.fields.items()]
        return " ".join([f"curl -F image=@{picture}", *parts, f"{url}/v1/ground"])


def _quoted(text: str) -> str:
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
"""About `EXAMPLE_SCENE`; every task, and both kinds of question."""

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
"""Those of the published model's card, about its picture of a snowman (1024×1024 pixels)."""
