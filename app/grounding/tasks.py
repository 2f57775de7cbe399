"""The seven tasks: the fields that each uses, and the prompt for the model.

A prompt is written exactly as in the model's training: the space before a phrase is inside its tag,
and nothing separates a phrase from its boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Literal

from app.errors import InvalidRequest
from app.grounding.boxes import CellPair
from app.grounding.markup import has_tags, write_object, write_phrase
from app.grounding.phrases import FoldedText, find_whole_words, fold

TaskName = Literal[
    "brief_caption",
    "detailed_caption",
    "phrase_grounding",
    "referring_expression_comprehension",
    "referring_expression_generation",
    "grounded_vqa",
    "raw",
]
"""The name of a task in a request."""

Span = tuple[int, int]
"""Start and end in a text, in code points."""

MAX_REGIONS = 16
MAX_BOXES_PER_REGION = 16
DEFAULT_PHRASE = "It"
"""The phrase of a region to describe, if the client sends none."""

_GROUNDING = "<grounding>"


class Use(Enum):
    """How a task uses a field."""

    REFUSED = "refused"
    ALLOWED = "allowed"
    REQUIRED = "required"


@dataclass(frozen=True)
class Task:
    """One kind of request that the model answers.

    Args:
        name: the value of `task` in a request.
        description: one line for the documentation.
        template: the prompt, with `{text}` or `{region}` in place of the request's own words.
        text: how the task uses the field `text`.
        regions: how the task uses the field `regions`.
        can_be_plain: whether the task works without boxes (`grounding=false`).
    """

    name: TaskName
    description: str
    template: str
    text: Use = Use.REFUSED
    regions: Use = Use.REFUSED
    can_be_plain: bool = False

    def prompt_template(self, *, grounding: bool) -> str:
        """Return the template with or without `<grounding>` and the space after it.

        >>> TASKS["brief_caption"].prompt_template(grounding=False)
        'An image of'
        """
        return self.template if grounding else self.template.removeprefix(_GROUNDING).lstrip(" ")


@dataclass(frozen=True)
class Region:
    """A region of the picture that the prompt mentions.

    Args:
        phrase: its name, or `None` where the task provides one.
        boxes: pairs of the upper-left and the lower-right cell.
    """

    phrase: str | None
    boxes: tuple[CellPair, ...]


def _by_name(*tasks: Task) -> Mapping[str, Task]:
    return MappingProxyType({task.name: task for task in tasks})


TASKS = _by_name(
    Task(
        "brief_caption",
        "One sentence about the picture, with boxes for the objects it mentions.",
        "<grounding> An image of",
        can_be_plain=True,
    ),
    Task(
        "detailed_caption",
        "Several sentences about the picture, with boxes for the objects they mention.",
        "<grounding> Describe this image in detail:",
        can_be_plain=True,
    ),
    Task(
        "phrase_grounding",
        "The boxes of the objects that a phrase names.",
        "<grounding><phrase> {text}</phrase>",
        text=Use.REQUIRED,
    ),
    Task(
        "referring_expression_comprehension",
        "The box of the one object that an expression describes.",
        "<grounding><phrase> {text}</phrase>",
        text=Use.REQUIRED,
    ),
    Task(
        "referring_expression_generation",
        "A description of the object in a region that distinguishes it from others.",
        "<grounding>{region} is",
        regions=Use.REQUIRED,
    ),
    Task(
        "grounded_vqa",
        "The answer to a question about the picture, with boxes for the objects it mentions.",
        "<grounding> Question: {text} Answer:",
        text=Use.REQUIRED,
        regions=Use.ALLOWED,
        can_be_plain=True,
    ),
    Task(
        "raw",
        "The model's continuation of your own prompt, which may contain tags.",
        "{text}",
        text=Use.REQUIRED,
    ),
)
"""All tasks by name."""


def task_for_text(text: str | None) -> TaskName:
    """Return the task of a text for which the client named none.

    >>> task_for_text("What is this?"), task_for_text("<grounding> A"), task_for_text(None)
    ('grounded_vqa', 'raw', 'brief_caption')
    """
    if text is None or not text.strip():
        return "brief_caption"
    return "raw" if has_tags(text) else "grounded_vqa"


def write_prompt(
    task: Task, *, text: str | None, regions: Sequence[Region], grounding: bool
) -> str:
    """Return the prompt of a request.

    Args:
        text: the phrase, the expression, the question or the raw prompt.
        regions: the regions that the prompt mentions. In a question, each region is assigned to the
            first free occurrence of its phrase as whole words, in the order given.
        grounding: whether the answer should have boxes.

    Raises:
        InvalidRequest: a field is missing, unused by this task, blank or beyond a limit, or the
            phrase of a region does not occur in the text or overlaps another.

    >>> vqa, fire = TASKS["grounded_vqa"], Region("fire", ((5, 911),))
    >>> write_prompt(vqa, text="fire?", regions=[fire], grounding=False)
    'Question:<phrase> fire</phrase><object><patch_index_0005><patch_index_0911></object>? Answer:'
    """
    _check_text(task, text)
    _check_regions(task, regions)
    if not grounding and not task.can_be_plain:
        raise InvalidRequest("grounding", f"cannot be false for the task {task.name}")
    template = task.prompt_template(grounding=grounding)
    if text is None:
        return template.format(region=_write_region(regions[0])) if regions else template
    return _write_question(template, text.strip(), regions)


def _check_text(task: Task, text: str | None) -> None:
    if text is None:
        if task.text is Use.REQUIRED:
            raise InvalidRequest("text", f"is required by the task {task.name}")
    elif task.text is Use.REFUSED:
        raise InvalidRequest("text", f"is not used by the task {task.name}")
    elif not text.strip():
        raise InvalidRequest("text", "must not be blank")


def _check_regions(task: Task, regions: Sequence[Region]) -> None:
    if task.regions is Use.REFUSED and regions:
        raise InvalidRequest("regions", f"are not used by the task {task.name}")
    if task.regions is Use.REQUIRED and len(regions) != 1:
        raise InvalidRequest("regions", f"must have exactly one entry for the task {task.name}")
    if len(regions) > MAX_REGIONS:
        message = f"must have at most {MAX_REGIONS} entries, not {len(regions)}"
        raise InvalidRequest("regions", message)
    for number, region in enumerate(regions):
        _check_region(f"regions[{number}]", region, needs_phrase=task.text is Use.REQUIRED)


def _check_region(field: str, region: Region, *, needs_phrase: bool) -> None:
    if region.phrase is None:
        if needs_phrase:
            raise InvalidRequest(f"{field}.phrase", "is required: quote the words from `text`")
    elif not region.phrase.strip():
        raise InvalidRequest(f"{field}.phrase", "must not be blank")
    if not 1 <= len(region.boxes) <= MAX_BOXES_PER_REGION:
        message = f"must have 1 to {MAX_BOXES_PER_REGION} entries, not {len(region.boxes)}"
        raise InvalidRequest(f"{field}.boxes", message)


def _write_region(region: Region) -> str:
    phrase = DEFAULT_PHRASE if region.phrase is None else region.phrase.strip()
    return write_phrase(f" {phrase}") + write_object(region.boxes)


def _write_question(template: str, text: str, regions: Sequence[Region]) -> str:
    prompt = template.format(text=text)
    start_of_text = template.find("{text}")
    placed = zip(_place_all(text, regions), regions, strict=True)
    written: list[str] = []
    position = 0
    for (start, end), region in sorted(placed, key=lambda pair: pair[0]):
        start, end = start + start_of_text, end + start_of_text
        start -= prompt[start - 1] == " "  # the space before a phrase belongs inside its tag
        written += prompt[position:start], write_phrase(prompt[start:end])
        written.append(write_object(region.boxes))
        position = end
    return "".join([*written, prompt[position:]])


def _place_all(text: str, regions: Sequence[Region]) -> list[Span]:
    taken: list[Span] = []
    folded = fold(text)
    for number, region in enumerate(regions):
        phrase = (region.phrase or "").strip()
        taken.append(_place(f"regions[{number}].phrase", folded, phrase, taken))
    return taken


def _place(field: str, text: FoldedText, phrase: str, taken: Sequence[Span]) -> Span:
    span = next((span for span in find_whole_words(text, phrase) if span not in taken), None)
    if span is None:
        raise InvalidRequest(
            field, "does not occur in the text, or not often enough: quote whole words, same case"
        )
    if any(span[0] < end and start < span[1] for start, end in taken):
        raise InvalidRequest(field, "overlaps the phrase of another region in the text")
    return span
