"""Each client uploads a picture and gets the boxes that a direct request gets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.answers import are_same
from harness.service import RunningService
from tests.clients.conftest import FIELDS, PICTURES
from tests.clients.imitated import IMITATED
from tests.clients.programs import PROGRAMS
from tests.clients.python_clients import PYTHON_CLIENTS
from tests.clients.upload import Client, Upload

CLIENTS: dict[str, Client] = PROGRAMS | PYTHON_CLIENTS | IMITATED
PICTURE, *_ = PICTURES


def test_the_direct_answers_differ_and_show_the_pictures(expected: Mapping[Path, Any]) -> None:
    """An answer to another client's request would be noticed."""
    assert [entity["phrase"] for entity in expected[PICTURE]["entities"]] == ["a red circle"]
    assert len({answer["text"] for answer in expected.values()}) == len(PICTURES)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_an_upload_gets_the_same_answer_as_a_direct_request(
    service: RunningService, expected: Mapping[Path, Any], client: Client
) -> None:
    answer = client(service.url, Upload(PICTURE, FIELDS))
    assert answer.status == 200, answer.text
    assert are_same(answer.content, expected[PICTURE])


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_stream_ends_with_the_same_answer(
    service: RunningService, expected: Mapping[Path, Any], client: Client
) -> None:
    answer = client(service.url, Upload(PICTURE, FIELDS | {"stream": "true"}))
    assert answer.status == 200, answer.text
    assert are_same(answer.streamed, expected[PICTURE])


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_client_can_read_the_detail_of_an_error(service: RunningService, client: Client) -> None:
    answer = client(service.url, Upload(PICTURE, {"task": "dance"}))
    assert answer.status == 422
    assert answer.content["detail"].startswith("task: input should be 'brief_caption'")
