"""Every route and command returns the recorded answers, if the engine chooses those tokens."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.checkpoint.files import open_checkpoint
from app.commands.ground import ground_pictures
from app.commands.pictures import Output
from app.contract.request_models import GroundBody
from app.settings import Settings
from app.verify.prompts import Material
from app.verify.recording import RecordedAnswer, entities_of
from app.verify.service_side import ask_all
from harness.scripted_engine import MODULE, Line, write_script
from harness.service import running_service

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def lines(material: Material) -> list[Line]:
    """The recorded tokens; texts of the card are encoded."""
    lines = []
    for prompt, answer in zip(material.prompts, material.answers, strict=True):
        new = answer.new_token_ids
        if new is None:
            whole = material.tokenizer.encode_prompt(answer.markup)
            assert whole[: len(prompt.token_ids)] == list(prompt.token_ids)
            new = (*whole[len(prompt.token_ids) :], material.tokenizer.eos_id)
        lines.append(Line.of(prompt.token_ids, material.pictures[prompt.picture], new))
    return lines


@pytest.fixture(scope="module")
def client(lines: list[Line], published_layout: Path) -> Iterator[httpx.Client]:
    write_script(published_layout, lines)
    with (
        running_service("harness.serve_with_engine", MODULE, model=published_layout) as service,
        httpx.Client(base_url=service.url, timeout=120) as client,
    ):
        yield client


def facts_of(answer: dict[str, Any]) -> tuple[Any, ...]:
    """Return the text, the entities and the markup of an answer in JSON."""
    entities = entities_of(
        (entity["phrase"], entity["span"], [box["xyxy_normalized"] for box in entity["boxes"]])
        for entity in answer["entities"]
    )
    return answer["text"], entities, answer["markup"]


def recorded(answer: RecordedAnswer) -> tuple[Any, ...]:
    return answer.text, answer.entities, answer.markup


def test_forms_and_streams_return_the_recorded_answers(
    client: httpx.Client, material: Material, snowman: Path
) -> None:
    """Text, entities, boxes and markup of all ten; the parts of a stream agree with its end."""
    service = ask_all(client, material.answers, snowman.read_bytes())
    assert service.stream_errors == ()
    for given in (service.whole, service.streamed):
        facts = [(answer.text, answer.entities, answer.markup) for answer in given]
        assert facts == [recorded(answer) for answer in material.answers]


def test_json_bodies_and_annotations_return_the_recorded_answers(
    client: httpx.Client, material: Material, snowman: Path
) -> None:
    """One of each task by each route."""
    image = base64.b64encode(snowman.read_bytes()).decode()
    by_task = {answer.request["task"]: answer for answer in material.answers}
    for answer in by_task.values():
        body = answer.fields | {"image": {"base64": image}}
        for route in ("/v1/ground", "/v1/annotate"):
            response = client.post(route, json=body, headers={"Accept": "application/json"})
            given = response.raise_for_status().json()
            assert facts_of(given) == recorded(answer)


def test_the_drawing_shows_the_recorded_boxes(
    client: httpx.Client, material: Material, snowman: Path
) -> None:
    """The drawn answer equals a drawing of the recorded boxes, byte for byte."""
    answer = next(a for a in material.answers if a.name == "brief_caption")
    entities = [
        {"phrase": phrase, "boxes": [{"xyxy": box} for box in boxes]}
        for phrase, _, boxes in answer.entities
    ]
    image = base64.b64encode(snowman.read_bytes()).decode()
    plain = {"image": {"base64": image}, "show_scores": False, "boxes": "coarse"}
    drawn, expected = (
        client.post("/v1/annotate", json=plain | fields, headers={"Accept": "image/png"}).content
        for fields in (
            {"task": "brief_caption"},
            {"entities": entities, "box_format": "normalized"},
        )
    )
    assert drawn.startswith(b"\x89PNG")
    assert drawn == expected


def test_the_command_prints_the_recorded_answer(
    lines: list[Line],
    older_layout: Path,
    material: Material,
    snowman: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`kosmos2 ground --json`, with an engine of its own that loads the older layout."""
    write_script(older_layout, lines)
    answer = next(a for a in material.answers if a.name == "detailed_caption")
    settings, body = Settings(model=str(older_layout)), GroundBody(**answer.fields)
    checkpoint, output = open_checkpoint(settings.model), Output(as_json=True, drawings=None)
    exit_code = ground_pictures(settings, checkpoint, [snowman], body, output, MODULE)
    assert exit_code == 0
    assert facts_of(json.loads(capsys.readouterr().out)) == recorded(answer)
