"""`Allow` of a 405 names every method that the path answers (RFC 9110, section 15.5.6)."""

import httpx
import pytest

ALLOWED = {
    "/livez": {"GET", "HEAD"},
    "/v1/tasks": {"GET", "HEAD"},
    "/docs": {"GET", "HEAD"},
    "/openapi.json": {"GET", "HEAD"},
    "/v1/ground": {"POST"},
}


@pytest.mark.parametrize("path", ALLOWED)
def test_allow_names_head_where_get_is_answered(client: httpx.Client, path: str) -> None:
    answered = client.request("DELETE", path)
    assert answered.status_code == 405
    assert set(answered.headers["Allow"].split(", ")) == ALLOWED[path]
    for method in ALLOWED[path] - {"POST"}:
        assert client.request(method, path).status_code == 200
