"""Checks the body of an error."""

from typing import Any

import httpx

from app.http.problems import PROBLEM_JSON


def problem(response: httpx.Response) -> dict[str, Any]:
    """Check that a response is a problem, and return its content."""
    assert response.headers["content-type"] == PROBLEM_JSON
    content: dict[str, Any] = response.json()
    assert content["status"] == response.status_code
    assert content["request_id"] == response.headers["x-request-id"]
    assert {"type", "title", "detail", "code"} <= content.keys()
    return content
