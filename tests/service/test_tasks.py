"""`GET /v1/tasks` and `/docs`: what a newcomer reads first."""

import re
from urllib.parse import urljoin

import httpx

from app.contract.examples import EMBEDDED_EXAMPLES, EXAMPLE_SCENE, PUBLISHED_EXAMPLES
from app.grounding.tasks import TASKS


def test_every_task_is_told_with_an_example_that_is_answered(client: httpx.Client) -> None:
    told = client.get("/v1/tasks").json()
    assert [task["task"] for task in told] == list(TASKS)
    for task in told:
        files = {"image": EXAMPLE_SCENE.read_bytes()}
        response = client.post("/v1/ground", files=files, data=task["example"])
        assert response.status_code == 200, response.text


def test_there_are_examples_of_every_task_for_both_checkpoints() -> None:
    assert {example.task for example in EMBEDDED_EXAMPLES} == TASKS.keys()
    assert {example.task for example in PUBLISHED_EXAMPLES} == TASKS.keys()


def test_the_page_of_the_description_loads_nothing_from_another_host(
    client: httpx.Client,
) -> None:
    """It has to work behind a firewall, and to tell nobody who reads it."""
    page = client.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) >= 3
    addresses = [urljoin("/docs", asset) for asset in assets]
    assert all(re.match(r"/(?!/)", address) for address in addresses)
    assert all(client.get(address).status_code == 200 for address in addresses)
