"""With API keys set, every request needs a key, and the rate per key is limited."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.http.routes.playground import PLAYGROUND_PATHS
from harness import loopback
from harness.pictures import picture_file
from harness.problems import problem
from harness.service import RunningService, running_service
from harness.waiting import eventually
from harness.wire import open_connection, receive, request
from reliability.keys import KEY, OPEN, ROUTES, guarded_paths, statuses_without_a_key

PICTURE = picture_file()


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningService]:
    with running_service(api_keys=f"{KEY}, other-key", http_workers=2, **ROUTES) as running:
        yield running


def ask(service: RunningService, authorization: str | None) -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    files, data = {"image": PICTURE}, {"task": "brief_caption", "max_new_tokens": "1"}
    return loopback.post(
        f"{service.url}/v1/ground", files=files, data=data, headers=headers, timeout=60
    )


def ask_tasks(service: RunningService, key: str) -> int:
    """Return the status of a request that needs no permit."""
    headers = {"Authorization": f"Bearer {key}"}
    return loopback.get(f"{service.url}/v1/tasks", headers=headers).status_code


def test_every_request_without_a_key_is_rejected(guarded: RunningService) -> None:
    """Paths in many spellings, with headers that almost are a key; `make keys` tries every method.

    Invalid HTTP is rejected with 400 before the key is checked.
    """
    statuses = statuses_without_a_key(guarded.url, ("GET", "POST"))
    assert statuses.keys() <= {400, 401}
    assert statuses[401] > 0.9 * statuses.total()


def test_moondreams_header_is_a_key_at_its_door(guarded: RunningService) -> None:
    headers = {"X-Moondream-Auth": KEY}
    response = loopback.post(f"{guarded.url}/moondream/caption", headers=headers, json={})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    elsewhere = loopback.get(f"{guarded.url}/v1/tasks", headers=headers)
    assert elsewhere.status_code == 401
    without = loopback.post(f"{guarded.url}/moondream/caption", json={})
    assert without.json()["detail"] == "send a valid API key: X-Moondream-Auth: <key>"


def test_every_door_accepts_a_key(guarded: RunningService) -> None:
    """The attack tries the same paths without one."""
    headers = {"Authorization": f"Bearer {KEY}"}
    paths = guarded_paths()
    assert {"/v1/chat/completions", "/v1/detect", "/invocations", "/vertex/predict"} <= set(paths)
    for path in paths:
        assert loopback.post(guarded.url + path, headers=headers).status_code != 401


def test_the_playground_needs_no_key_but_its_requests_do(guarded: RunningService) -> None:
    """Visitors type the key into the page."""
    for path in PLAYGROUND_PATHS:
        assert loopback.get(f"{guarded.url}{path}").status_code == 200
    assert loopback.get(f"{guarded.url}/playground/nowhere.js").status_code == 401
    assert ask(guarded, authorization=None).status_code == 401


def test_a_key_in_a_trailer_is_ignored(guarded: RunningService) -> None:
    """A trailer arrives after the key has been checked."""
    sent = request("POST", "/v1/tasks", "Transfer-Encoding: chunked", "Trailer: Authorization")
    with open_connection(guarded.url) as connection:
        connection.sendall(sent + f"0\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        assert receive(connection).status == 401


def test_every_request_of_a_connection_needs_a_key(guarded: RunningService) -> None:
    right, wrong = (
        request("GET", "/v1/tasks", f"Authorization: Bearer {key}") for key in (KEY, "wrong")
    )
    with open_connection(guarded.url) as connection:
        for sent, status in ((right, 200), (wrong, 401), (right, 200), (wrong, 401)):
            connection.sendall(sent)
            assert receive(connection).status == status


@pytest.mark.parametrize("key", [KEY, "other-key"])
@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
def test_a_known_key_is_accepted_in_every_spelling_of_bearer(
    guarded: RunningService, scheme: str, key: str
) -> None:
    sent = request("GET", "/v1/tasks", f"Authorization: {scheme}{key} ")
    with open_connection(guarded.url) as connection:
        connection.sendall(sent)
        assert receive(connection).status == 200


def test_a_rejected_request_learns_the_authentication_scheme(guarded: RunningService) -> None:
    response = ask(guarded, None)
    assert problem(response)["code"] == "unauthorized"
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", [*OPEN, "/openapi.json", "/docs", "/docs/assets/swagger-ui.css"])
def test_health_metrics_and_descriptions_need_no_key(guarded: RunningService, path: str) -> None:
    assert loopback.get(guarded.url + path).status_code == 200


def test_a_key_over_its_rate_gets_429_with_retry_after() -> None:
    """In any HTTP process. Five calls, because a minute may end between them."""
    with running_service(
        api_keys=f"{KEY}, other-key", http_workers=2, requests_per_minute=2
    ) as service:
        responses = [ask(service, f"bearer {KEY}") for _ in range(5)]
        refused = [response for response in responses if response.status_code == 429]
        assert 1 <= len(refused) <= 3
        assert {response.status_code for response in responses} == {200, 429}
        assert problem(refused[0])["code"] == "rate_limited"
        assert 1 <= int(refused[0].headers["Retry-After"]) <= 60
        assert ask(service, "Bearer other-key").status_code == 200


def test_keys_are_rotated_without_a_restart(tmp_path: Path) -> None:
    """The change applies to the next request in every HTTP process; a missing file rejects all."""
    file, renewed = tmp_path / "keys", tmp_path / "renewed"
    file.write_text("first-key\n")
    with running_service(api_keys_file=file, http_workers=2) as service:
        assert ask_tasks(service, "first-key") == 200
        renewed.write_text("second-key\nthird-key\n")
        renewed.replace(file)
        for _ in range(20):  # enough to reach both processes
            assert ask_tasks(service, "first-key") == 401
            assert ask_tasks(service, "second-key") == 200
        file.unlink()
        for _ in range(20):
            assert ask_tasks(service, "second-key") == 401
        file.write_bytes(b"\xff\xfe not a text")
        assert ask_tasks(service, "not") == 401
        file.write_text("first-key\n")
        assert ask_tasks(service, "first-key") == 200


def test_no_key_is_logged(guarded: RunningService) -> None:
    """The log names a key by a short hash."""
    num_lines = len(guarded.log)
    assert ask(guarded, f"Bearer {KEY}").status_code == 200
    assert ask(guarded, f"Bearer {KEY}-too").status_code == 401
    assert eventually(lambda: statuses_logged(guarded, num_lines) == {200, 401})
    log = "\n".join(guarded.log)
    assert KEY not in log
    assert '"key": "' in log


def statuses_logged(service: RunningService, num_lines: int) -> set[int]:
    """Return the statuses of the requests that were logged after the first `num_lines` lines."""
    lines = (json.loads(line) for line in service.log[num_lines:] if line.endswith("}"))
    return {line["status"] for line in lines if line["event"] == "request"}
