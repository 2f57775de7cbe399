"""Batch requests never keep interactive ones out, and a key can be confined to batch."""

from collections.abc import Iterator

import httpx
import pytest

from harness import loopback
from harness.pictures import picture_file
from harness.problems import problem
from harness.service import RunningService, running_service

PICTURE = picture_file()


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningService]:
    with running_service(api_keys="open-key, batch:night-key") as running:
        yield running


def send(service: RunningService, key: str, **fields: str) -> httpx.Response:
    data = {"task": "brief_caption", "max_new_tokens": "1"} | fields
    return loopback.post(
        f"{service.url}/v1/ground",
        files={"image": PICTURE},
        data=data,
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("open-key", {}),
        ("open-key", {"priority": "batch"}),
        ("open-key", {"priority": "interactive"}),
        ("night-key", {}),
        ("night-key", {"priority": "batch"}),
    ],
)
def test_a_key_may_send_its_priorities(
    guarded: RunningService, key: str, fields: dict[str, str]
) -> None:
    assert send(guarded, key, **fields).status_code == 200


def test_a_confined_key_may_not_send_interactive_requests(guarded: RunningService) -> None:
    content = problem(send(guarded, "night-key", priority="interactive"))
    assert (content["status"], content["errors"][0]["field"]) == (422, "priority")


def test_the_mark_before_a_key_is_not_part_of_it(guarded: RunningService) -> None:
    assert send(guarded, "batch:night-key").status_code == 401
