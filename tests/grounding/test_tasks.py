"""Each task writes the prompt of the model's training, and errors name the wrong field."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.grounding.markup import parse
from app.grounding.tasks import (
    MAX_BOXES_PER_REGION,
    MAX_REGIONS,
    TASKS,
    Region,
    Use,
    write_prompt,
)

SNOWMAN = "<object><patch_index_0044><patch_index_0863></object>"
FIRE = "<object><patch_index_0005><patch_index_0911></object>"


def prompt(task: str, *, text: str | None = None, regions: Any = (), grounding: bool = True) -> str:
    return write_prompt(TASKS[task], text=text, regions=regions, grounding=grounding)


def fire(phrase: str | None = "the fire") -> Region:
    return Region(phrase, ((5, 911),))


def test_the_tasks_are_the_seven_of_the_contract() -> None:
    """Requests may use no other names."""
    assert set(TASKS) == {
        "brief_caption",
        "detailed_caption",
        "phrase_grounding",
        "referring_expression_comprehension",
        "referring_expression_generation",
        "grounded_vqa",
        "raw",
    }
    assert all(name == task.name and task.description for name, task in TASKS.items())


def test_the_tasks_cannot_be_changed() -> None:
    """All requests share them."""
    with pytest.raises(TypeError):
        TASKS["mine"] = TASKS["raw"]  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        TASKS["raw"].template = ""  # type: ignore[misc]


@pytest.mark.parametrize(
    ("task", "fields", "written"),
    [
        ("brief_caption", {}, "<grounding> An image of"),
        ("detailed_caption", {}, "<grounding> Describe this image in detail:"),
        ("phrase_grounding", {"text": "a snowman"}, "<grounding><phrase> a snowman</phrase>"),
        (
            "referring_expression_comprehension",
            {"text": "a snowman next to a fire"},
            "<grounding><phrase> a snowman next to a fire</phrase>",
        ),
        (
            "referring_expression_generation",
            {"regions": [Region(None, ((44, 863),))]},
            f"<grounding><phrase> It</phrase>{SNOWMAN} is",
        ),
        (
            "grounded_vqa",
            {"text": "What is special about this image?"},
            "<grounding> Question: What is special about this image? Answer:",
        ),
        (
            "grounded_vqa",
            {"text": "Where is the fire next to?", "regions": [fire()]},
            f"<grounding> Question: Where is<phrase> the fire</phrase>{FIRE} next to? Answer:",
        ),
        ("raw", {"text": "<grounding>An image of"}, "<grounding>An image of"),
    ],
)
def test_the_prompts_of_the_model_card_are_written_exactly(
    task: str, fields: dict[str, Any], written: str
) -> None:
    """The published answers were generated from these prompts."""
    assert prompt(task, **fields) == written


@pytest.mark.parametrize(
    ("text", "regions", "written"),
    [
        ("the fire?", [fire()], f"<grounding> Question:<phrase> the fire</phrase>{FIRE}? Answer:"),
        ("Near the fire", [fire()], f" Near<phrase> the fire</phrase>{FIRE} Answer:"),
        ("Is (the fire) on?", [fire()], f" Is (<phrase>the fire</phrase>{FIRE}) on?"),
        ("the fireplace or the fire?", [fire()], f"fireplace or<phrase> the fire</phrase>{FIRE}?"),
        ("The fire or the fire?", [fire()], f"The fire or<phrase> the fire</phrase>{FIRE}?"),
        ("firefire fire", [fire("fire")], f" firefire<phrase> fire</phrase>{FIRE} Answer:"),
        ("a+b (a.b) a.b?", [fire("a.b")], f"a+b (<phrase>a.b</phrase>{FIRE}) a.b?"),
        ("Has {text} won?", [fire("{text}")], f"Has<phrase> {{text}}</phrase>{FIRE} won?"),
        ("is Answer ok?", [fire("Answer")], f"is<phrase> Answer</phrase>{FIRE} ok? Answer:"),
        (
            "a cat and a cat?",
            [Region("a cat", ((1, 34),)), Region("a cat", ((2, 35), (3, 36)))],
            "Question:<phrase> a cat</phrase><object><patch_index_0001><patch_index_0034></object>"
            " and<phrase> a cat</phrase><object><patch_index_0002><patch_index_0035>"
            "</delimiter_of_multi_objects/><patch_index_0003><patch_index_0036></object>? Answer:",
        ),
        (
            "the dog by the cat?",
            [Region("the cat", ((1, 34),)), Region("the dog", ((2, 35),))],
            "<phrase> the dog</phrase><object><patch_index_0002><patch_index_0035></object> by"
            "<phrase> the cat</phrase><object><patch_index_0001><patch_index_0034></object>?",
        ),
    ],
)
def test_a_region_gets_the_first_free_occurrence_of_its_phrase(
    text: str, regions: list[Region], written: str
) -> None:
    """Whole words, case-sensitive, in list order; the space before is moved into the tag."""
    assert written in prompt("grounded_vqa", text=text, regions=regions)


@pytest.mark.parametrize(
    ("text", "regions", "field", "message"),
    [
        ("Where?", [fire()], "regions[0].phrase", "does not occur"),
        ("Is The fire on?", [fire()], "regions[0].phrase", "does not occur"),
        ("the fires?", [fire()], "regions[0].phrase", "does not occur"),
        ("the fire_1?", [fire()], "regions[0].phrase", "does not occur"),
        ("the fire\u0301?", [fire()], "regions[0].phrase", "does not occur"),
        ("a \u0301b?", [fire("\u0301b")], "regions[0].phrase", "does not occur"),
        ("the fire?", [fire(), fire()], "regions[1].phrase", "does not occur"),
        ("the fire?", [fire(), fire("fire")], "regions[1].phrase", "overlaps"),
        ("a a a", [fire("a a"), fire("a a")], "regions[1].phrase", "overlaps"),
        ("the fire?", [fire(" ")], "regions[0].phrase", "blank"),
        ("the fire?", [fire(None)], "regions[0].phrase", "required"),
        ("the fire?", [Region("the fire", ())], "regions[0].boxes", "1 to 16 entries, not 0"),
        (
            "the fire?",
            [Region("the fire", ((1, 34),) * (MAX_BOXES_PER_REGION + 1))],
            "regions[0].boxes",
            "1 to 16 entries, not 17",
        ),
        ("x " * 17, [fire("x")] * (MAX_REGIONS + 1), "regions", "at most 16 entries, not 17"),
    ],
)
def test_a_region_without_an_occurrence_is_rejected(
    text: str, regions: list[Region], field: str, message: str
) -> None:
    """A box that is silently omitted would change the question."""
    with pytest.raises(InvalidRequest, match=message) as raised:
        prompt("grounded_vqa", text=text, regions=regions)
    assert [error.field for error in raised.value.errors] == [field]


def test_the_maximum_of_regions_and_boxes_is_accepted() -> None:
    """Sixteen regions with sixteen boxes each."""
    regions = [Region("x", ((1, 34),) * MAX_BOXES_PER_REGION)] * MAX_REGIONS
    written = prompt("grounded_vqa", text="x " * MAX_REGIONS, regions=regions)
    entities = parse(written).entities
    assert [len(entity.boxes) for entity in entities] == [MAX_BOXES_PER_REGION] * MAX_REGIONS


@pytest.mark.parametrize("task", TASKS)
def test_a_field_that_a_task_does_not_use_is_rejected_by_name(task: str) -> None:
    """Ignoring the field would hide a misunderstanding of the client."""
    record = TASKS[task]
    fields: dict[str, Any] = {
        "text": "Is the fire on?" if record.text is Use.REQUIRED else None,
        "regions": [fire()] if record.regions is Use.REQUIRED else [],
    }
    assert prompt(task, **fields)
    if record.text is Use.REFUSED:
        with pytest.raises(InvalidRequest, match=f"text: is not used by the task {task}"):
            prompt(task, **(fields | {"text": "a dog"}))
    if record.regions is Use.REFUSED:
        with pytest.raises(InvalidRequest, match=f"regions: are not used by the task {task}"):
            prompt(task, **(fields | {"regions": [fire()]}))


@pytest.mark.parametrize(
    "task", [name for name, task in TASKS.items() if task.text is Use.REQUIRED]
)
@pytest.mark.parametrize(("text", "message"), [(None, "is required"), (" \n\t", "be blank")])
def test_a_required_text_must_not_be_blank(task: str, text: str | None, message: str) -> None:
    """An empty question would still use a slot."""
    with pytest.raises(InvalidRequest, match=f"text: .*{message}"):
        prompt(task, text=text)


@pytest.mark.parametrize("regions", [[], [fire(), fire()]])
def test_a_referring_expression_is_generated_for_exactly_one_region(regions: list[Region]) -> None:
    """The prompt has room for only one."""
    with pytest.raises(InvalidRequest, match="regions: must have exactly one"):
        prompt("referring_expression_generation", regions=regions)


def test_a_region_to_describe_may_have_its_own_phrase() -> None:
    """The model card uses `It`, but the model understands other phrases."""
    written = prompt("referring_expression_generation", regions=[fire(" This thing ")])
    assert written == f"<grounding><phrase> This thing</phrase>{FIRE} is"
    with pytest.raises(InvalidRequest, match=r"regions\[0\].phrase: must not be blank"):
        prompt("referring_expression_generation", regions=[fire("")])


@pytest.mark.parametrize(
    ("task", "fields", "written"),
    [
        ("brief_caption", {}, "An image of"),
        ("detailed_caption", {}, "Describe this image in detail:"),
        ("grounded_vqa", {"text": "Why?"}, "Question: Why? Answer:"),
        (
            "grounded_vqa",
            {"text": "the fire?", "regions": [fire()]},
            f"Question:<phrase> the fire</phrase>{FIRE}? Answer:",
        ),
    ],
)
def test_captions_and_questions_work_without_boxes(
    task: str, fields: dict[str, Any], written: str
) -> None:
    """The prompt then lacks `<grounding>` and the space after it."""
    assert prompt(task, **fields, grounding=False) == written


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if not task.can_be_plain])
def test_a_task_about_boxes_requires_grounding(task: str) -> None:
    """Its prompt would be meaningless without tags."""
    text = "a dog" if TASKS[task].text is Use.REQUIRED else None
    regions = [fire()] if TASKS[task].regions is Use.REQUIRED else []
    with pytest.raises(InvalidRequest, match=f"grounding: cannot be false for the task {task}"):
        prompt(task, text=text, regions=regions, grounding=False)


@given(st.text("ab é.'\u0301", max_size=20), st.lists(st.text("ab é.'\u0301"), max_size=3))
def test_placing_regions_changes_no_word_of_the_question(text: str, phrases: list[str]) -> None:
    """Without its tags, the prompt equals the prompt without regions."""
    regions = [Region(phrase, ((1, 34),)) for phrase in phrases]
    try:
        written = prompt("grounded_vqa", text=text, regions=regions)
    except InvalidRequest:
        return
    assert parse(written).text == parse(prompt("grounded_vqa", text=text)).text
    assert len(parse(written).entities) == len(regions)
