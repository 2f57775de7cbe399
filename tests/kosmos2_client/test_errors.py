"""Errors reach the caller whole, and each mistake of the caller has an error of this package."""

import asyncio
import copy

import pytest

from kosmos2_client import AsyncKosmos2, InvalidUrl, Kosmos2, Overloaded, RequestRejected
from kosmos2_client.errors import InvalidInput, ServiceProblem

URL = "http://127.0.0.1:8000"


@pytest.mark.parametrize("kind", [ServiceProblem, RequestRejected, Overloaded])
def test_a_pool_of_processes_can_return_an_error(kind: type[ServiceProblem]) -> None:
    """Otherwise the pool breaks, or waits without end."""
    error = kind(503, {"code": "overloaded", "detail": "full"}, 3.0)
    for copied in (copy.copy(error), copy.deepcopy(error)):  # both use the methods of pickle
        assert type(copied) is kind
        assert (str(copied), copied.retry_after_s) == ("503 overloaded: full", 3.0)
        assert copied.problem == error.problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "ftp://proxy:21"),
        ("NO_PROXY", "fe80::/10"),
        ("SSL_CERT_FILE", "/no/such/file"),
    ],
)
def test_an_environment_that_httpx_refuses_is_reported(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    for client in (Kosmos2, AsyncKosmos2):
        with pytest.raises(InvalidInput, match="environment cannot be used"):
            client(URL)


def test_a_text_that_no_form_can_hold_is_refused() -> None:
    """A terminal that does not use UTF-8 passes such texts."""

    async def ground() -> None:
        async with AsyncKosmos2(URL) as client:
            await client.ground(b"a picture", "grounded_vqa", text="caf\udce9")

    with pytest.raises(InvalidInput, match="lone surrogate"):
        asyncio.run(ground())
    with Kosmos2(URL) as client, pytest.raises(InvalidInput, match="lone surrogate"):
        client.ground(b"a picture", "grounded_vqa", text="caf\udce9")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://xn--/", "is invalid"),
        ("http://host/prefix?key=1", "must end with its path"),
        ("http://host/#part", "must end with its path"),
    ],
)
def test_a_url_that_cannot_be_a_base_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidUrl, match=message):
        Kosmos2(url)
