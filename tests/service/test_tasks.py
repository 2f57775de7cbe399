"""`GET /v1/tasks` and the page at `/docs`."""

import re
from urllib.parse import urljoin

import httpx

from app.contract.examples import EMBEDDED_EXAMPLES, EXAMPLE_SCENE, PUBLISHED_EXAMPLES
from app.grounding.tasks import TASKS


def test_every_task_is_listed_with_a_working_example(client: httpx.Client) -> None:
    tasks = client.get("/v1/tasks").json()
    assert [task["task"] for task in tasks] == list(TASKS)
    for task in tasks:
        files = {"image": EXAMPLE_SCENE.read_bytes()}
        response = client.post("/v1/ground", files=files, data=task["example"])
        assert response.status_code == 200, response.text


def test_both_checkpoints_have_examples_of_every_task() -> None:
    assert {example.task for example in EMBEDDED_EXAMPLES} == TASKS.keys()
    assert {example.task for example in PUBLISHED_EXAMPLES} == TASKS.keys()


def test_the_documentation_page_loads_nothing_from_another_host(
    client: httpx.Client,
) -> None:
    """It has to work behind a firewall, and must not reveal its readers to other hosts."""
    page = client.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) >= 3
    addresses = [urljoin("/docs", asset) for asset in assets]
    assert all(re.match(r"/(?!/)", address) for address in addresses)
    assert all(client.get(address).status_code == 200 for address in addresses)
