"""Where keys are set, nobody calls without one, and nobody calls too often."""

from collections.abc import Iterator

import httpx
import pytest

from tests.http.test_problems import problem
from tests.support.pictures import picture_file
from tests.support.service import RunningService, running_service

PICTURE = picture_file()


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningService]:
    with running_service(
        api_keys="opensesame, other-key", requests_per_minute=2, http_workers=2
    ) as running:
        yield running


def ask(service: RunningService, authorization: str | None) -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    files, data = {"image": PICTURE}, {"task": "brief_caption"}
    return httpx.post(
        f"{service.url}/v1/ground", files=files, data=data, headers=headers, timeout=60
    )


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic opensesame"])
def test_without_a_known_key_nobody_is_let_in(
    guarded: RunningService, authorization: str | None
) -> None:
    response = ask(guarded, authorization)
    assert problem(response)["code"] == "unauthorized"
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_health_and_metrics_need_no_key(guarded: RunningService) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/version"):
        assert httpx.get(guarded.url + path).status_code == 200


def test_a_key_over_its_rate_is_told_when_to_come_back(guarded: RunningService) -> None:
    """Whatever HTTP process it meets; a minute may end among the calls, so there are five."""
    responses = [ask(guarded, "bearer opensesame") for _ in range(5)]
    refused = [response for response in responses if response.status_code == 429]
    assert 1 <= len(refused) <= 3
    assert {response.status_code for response in responses} == {200, 429}
    assert problem(refused[0])["code"] == "rate_limited"
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 60
    assert ask(guarded, "Bearer other-key").status_code == 200


def test_no_key_stands_in_a_log() -> None:
    """A key is named by a short hash of it."""
    with running_service(api_keys="planted-marker") as service:
        assert ask(service, "Bearer planted-marker").status_code == 200
        assert ask(service, "Bearer planted-marker-too").status_code == 401
        service.stop()
        log = "\n".join(service.log)
    assert "planted" not in log
    assert '"key": "' in log
