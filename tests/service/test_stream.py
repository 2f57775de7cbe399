"""`POST /v1/ground` with `stream=true`: the answer as Server-Sent Events."""

import base64
import io
import json
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.contract.examples import EXAMPLE_SCENE
from app.contract.response_models import EntityEvent, TokenEvent
from app.grounding.tasks import TASKS
from harness.events import Event, events_of, text_of
from harness.requirements import require_programs
from harness.service import RunningService
from tests.service.test_ground import FIELDS, PICTURE
from training.scenes import draw_scene
from training.world import plan_scene

SCENE = EXAMPLE_SCENE.read_bytes()
DOCUMENT = Path(__file__).parents[2] / "docs" / "streaming.md"


def ask(
    client: httpx.Client,
    image: bytes = SCENE,
    headers: dict[str, str] | None = None,
    **fields: str,
) -> httpx.Response:
    return client.post("/v1/ground", files={"image": image}, data=fields, headers=headers)


def stream(client: httpx.Client, image: bytes = SCENE, **fields: str) -> list[Event]:
    response = ask(client, image, stream="true", **fields)
    assert response.status_code == 200, response.text
    return list(events_of(response))


def without_ids_and_times(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of an answer that stay the same when the request is repeated."""
    usage = {**answer["usage"], "cached_tokens": None}
    return {**answer, "usage": usage, "id": None, "timings": None}


def check_events(events: list[Event]) -> None:
    """Check the invariants of every complete stream."""
    *parts, last = events
    answer = last.data
    assert last.name == "done", answer
    assert {event.name for event in parts} <= {"token", "entity"}
    assert text_of(parts) == answer["answer"]
    entities = [event.data for event in parts if event.name == "entity"]
    assert entities == [
        {"index": index, "entity": entity} for index, entity in enumerate(answer["entities"])
    ]
    length = answer["answer_start"]
    for event in parts:
        if event.name == "token":
            length += len(event.data["text"])
        elif not event.data["entity"]["from_prompt"]:
            assert length >= event.data["entity"]["span"][1]
            assert answer["text"][event.data["entity"]["span"][1] : length].strip() == ""


@pytest.mark.parametrize("task", TASKS)
def test_a_stream_has_the_same_answer_as_json(client: httpx.Client, task: str) -> None:
    """Its joined texts and its entities are those of `done`, which equals the JSON answer."""
    events = stream(client, task=task, **FIELDS[task])
    check_events(events)
    whole = ask(client, task=task, **FIELDS[task]).json()
    assert without_ids_and_times(events[-1].data) == without_ids_and_times(whole)
    for event in events[:-1]:
        model = TokenEvent if event.name == "token" else EntityEvent
        assert model.model_validate(event.data, strict=True).model_dump() == event.data


@pytest.mark.parametrize("max_new_tokens", range(1, 13))
def test_the_limit_may_end_an_answer_anywhere(client: httpx.Client, max_new_tokens: int) -> None:
    """Even in the middle of a phrase or an object."""
    events = stream(client, task="brief_caption", max_new_tokens=str(max_new_tokens))
    check_events(events)
    assert events[-1].data["finish_reason"] == "length"


def test_a_sampled_stream_can_be_repeated_with_its_seed(client: httpx.Client) -> None:
    fields = {"task": "detailed_caption", "temperature": "1.5"}
    events = stream(client, **fields)
    check_events(events)
    seed = str(events[-1].data["seed"])
    assert ask(client, seed=seed, **fields).json()["answer"] == events[-1].data["answer"]


def test_entities_of_the_prompt_are_the_first_events(client: httpx.Client) -> None:
    task = "referring_expression_generation"
    first, second, *_ = stream(client, task=task, **FIELDS[task])
    assert first.name == "entity"
    assert first.data["entity"]["from_prompt"] is True
    assert second.name == "token"


def test_text_arrives_in_many_parts(client: httpx.Client) -> None:
    """Otherwise streaming would have no use."""
    names = [event.name for event in stream(client, task="brief_caption")]
    assert names.count("token") > 5
    assert names.index("entity") < len(names) - 1 - names[::-1].index("token")


def test_headers_keep_proxies_from_caching_and_buffering(client: httpx.Client) -> None:
    response = ask(client, task="brief_caption", stream="true")
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["X-Request-ID"] == list(events_of(response))[-1].data["id"]


@pytest.mark.parametrize(
    ("accept", "field", "is_stream"),
    [
        ("text/event-stream", None, True),
        ("text/event-stream", "", True),
        ("text/event-stream", "false", False),
        ("text/event-stream, application/json;q=0.9", None, True),
        ("application/json, text/event-stream", None, False),
        ("application/json", "1", True),
        ("application/json", None, False),
        ("*/*", None, False),
        ("text/*", None, True),
        ("text/event-stream;q=0, */*", None, False),
        ("", "true", True),
    ],
)
def test_the_accept_header_selects_events_unless_the_field_is_sent(
    client: httpx.Client, accept: str, field: str | None, is_stream: bool
) -> None:
    fields = {"max_new_tokens": "1"} if field is None else {"max_new_tokens": "1", "stream": field}
    response = ask(client, PICTURE, {"Accept": accept}, task="brief_caption", **fields)
    kind = "text/event-stream" if is_stream else "application/json"
    assert response.headers["Content-Type"].partition(";")[0] == kind, response.text


def test_a_json_body_may_select_events(client: httpx.Client) -> None:
    body = {
        "image": {"base64": base64.b64encode(SCENE).decode()},
        "task": "brief_caption",
        "stream": True,
    }
    response = client.post("/v1/ground", json=body)
    check_events(list(events_of(response)))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"task": "dance"}, "invalid_request"),
        ({"task": "raw", "text": "</image>"}, "invalid_request"),
        ({"task": "brief_caption", "max_new_tokens": "1000"}, "invalid_request"),
        ({"task": "brief_caption", "stream": "maybe"}, "invalid_request"),
    ],
)
def test_a_failure_before_the_first_event_is_an_ordinary_error(
    client: httpx.Client, fields: dict[str, str], code: str
) -> None:
    """After the first event, the status could no longer be changed."""
    response = ask(client, **{"stream": "true"} | fields)
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == code


def test_an_invalid_picture_is_an_ordinary_error(client: httpx.Client) -> None:
    response = ask(client, b"no picture", task="brief_caption", stream="true")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_image")


@pytest.mark.parametrize(("limit", "outcome"), [("128", "completed"), ("2", "length")])
def test_a_stream_is_counted_once_by_its_outcome(
    client: httpx.Client, service: RunningService, limit: str, outcome: str
) -> None:
    def counts() -> dict[str, float]:
        return {
            name: service.metric(
                f'kosmos2_requests_total{{door="kosmos2",outcome="{name}",task="brief_caption"}}'
            )
            for name in ("completed", "length", "cancelled", "failed")
        }

    before = counts()
    stream(client, task="brief_caption", max_new_tokens=limit)
    assert counts() == before | {outcome: before[outcome] + 1}


def example_of(language: str) -> str:
    """Return the only example of the page in a language."""
    [code] = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(code)


def printed_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_python_example_prints_the_answer(service: RunningService, tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    given = f"url, picture = {service.url!r}, open({str(EXAMPLE_SCENE)!r}, 'rb').read()\n"
    example.write_text(given + example_of("python"))
    assert re.match(
        r"two red circles\[\[[\d., ]+\], \[[\d., ]+\]\]$",
        printed_by(sys.executable, str(example)),
        re.MULTILINE,
    )


def test_the_javascript_example_prints_the_answer(service: RunningService, tmp_path: Path) -> None:
    require_programs("node")
    example = tmp_path / "example.mjs"
    given = f"""
        import {{ readFileSync }} from "node:fs";
        const url = {json.dumps(service.url)};
        const picture = new Blob([readFileSync({json.dumps(str(EXAMPLE_SCENE))})]);
    """
    example.write_text(given + example_of("js"))
    assert re.search(r"^\[ \[ [\d., ]+ \] \]$", printed_by("node", str(example)), re.MULTILINE)


@pytest.mark.large
def test_the_texts_of_every_task_on_200_scenes_add_up_to_the_answer(client: httpx.Client) -> None:
    """The answers of the trained model about scenes of its own world."""
    rng = random.Random(20262)
    files = [scene_file(rng) for _ in range(200)]
    with ThreadPoolExecutor(4) as pool:
        for task in TASKS:
            ask_for = partial(stream, client, task=task, **FIELDS[task])
            for events in pool.map(ask_for, files):
                check_events(events)


def scene_file(rng: random.Random) -> bytes:
    """Return the picture of a random scene that the embedded checkpoint can describe."""
    file = io.BytesIO()
    draw_scene(plan_scene(rng), rng).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("text", ["Is 3<5? Where is the red circle?", "a <b> c: where is this?"])
def test_a_question_with_a_bracket_keeps_all_its_words(client: httpx.Client, text: str) -> None:
    """The answer repeats the question unchanged, with and without a stream."""
    events = stream(client, task="grounded_vqa", text=text)
    check_events(events)
    assert events[-1].data["text"].startswith(f"Question: {text} Answer:")
