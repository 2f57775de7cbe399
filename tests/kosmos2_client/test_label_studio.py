"""What the backend of Label Studio reads, fetches and refuses to fetch."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest

from kosmos2_client.errors import ConnectionFailed, Kosmos2ClientError
from kosmos2_client.label_studio.addresses import Addresses
from kosmos2_client.label_studio.config import read_label_config
from kosmos2_client.label_studio.fetching import Fetcher, FetchLimits
from kosmos2_client.label_studio.tokens import TokenSource

BASE = "https://labels.example:8443/studio"
ADDRESSES = Addresses(BASE, ["pictures.example", "storage.example:9000", "[2001:db8::1]:80"])
LEGACY = "legacy"
Handler = Callable[[httpx.Request], httpx.Response]


def config(
    labels: str, value: str = "$picture", to_name: str = "image", start: str = "<View>"
) -> str:
    return (
        f'{start}<Image name="image" value="{value}"/>'
        f'<RectangleLabels name="label" toName="{to_name}">{labels}</RectangleLabels></View>'
    )


def test_labels_have_prompts_and_the_names_that_annotations_use() -> None:
    found = read_label_config(
        config(
            '<Label value="cat"/><Label value="Dog" alias="dog"/>'
            '<Label value="vehicle" predicted_values="red car, lorry"/>'
        )
    )
    assert (found.from_name, found.to_name, found.data_key) == ("label", "image", "picture")
    assert dict(found.labels.prompts) == {
        "cat": ["cat"],
        "dog": ["Dog"],
        "vehicle": ["red car", "lorry"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<View/>", "no RectangleLabels"),
        (config('<Label value="a"/>', to_name="other"), "no RectangleLabels"),
        (config('<Label value="a"/>', value="picture"), "value="),
        (config('<Label value="a"/><Label value="a"/>'), "occurs twice"),
        (config(""), "at least one"),
        ("<View>", "no XML"),
        (config('<Label value="a"/>', start="<!DOCTYPE x []><View>"), "document type"),
        (config('<Label value="a"/>') + " " * 200_000, "too long"),
    ],
)
def test_a_configuration_without_rectangles_is_rejected(text: str, message: str) -> None:
    with pytest.raises(Kosmos2ClientError, match=message):
        read_label_config(text)


@pytest.mark.parametrize(
    ("value", "url", "sends_token"),
    [
        ("/data/upload/1/a.jpg", f"{BASE}/data/upload/1/a.jpg", True),
        ("/data/local-files/?d=a.jpg", f"{BASE}/data/local-files/?d=a.jpg", True),
        (f"{BASE}/data/upload/1/a.jpg", f"{BASE}/data/upload/1/a.jpg", True),
        ("https://LABELS.example:8443/data/a", "https://labels.example:8443/data/a", True),
        ("/storage-data/uploaded/?filepath=a", f"{BASE}/storage-data/uploaded/?filepath=a", True),
        ("//other.example/a.jpg", f"{BASE}//other.example/a.jpg", False),
        ("/@other.example/a.jpg", f"{BASE}/@other.example/a.jpg", False),
        ("/api/users/1/", f"{BASE}/api/users/1/", False),
        ("/data/%2E%2E/api/users/", f"{BASE}/data/%2E%2E/api/users/", False),
        ("https://pictures.example/a.jpg", "https://pictures.example/a.jpg", False),
        ("http://storage.example:9000/a.jpg", "http://storage.example:9000/a.jpg", False),
        ("http://[2001:db8::1]/a.jpg", "http://[2001:db8::1]/a.jpg", False),
        (
            "s3://bucket/a.jpg",
            f"{BASE}/tasks/5/presign/?fileuri={base64.urlsafe_b64encode(b's3://bucket/a.jpg').decode()}",
            True,
        ),
    ],
)
def test_pictures_are_fetched_from_label_studio_and_allowed_hosts(
    value: str, url: str, sends_token: bool
) -> None:
    address = ADDRESSES.of_picture(value, 5)
    assert (str(address.url), address.sends_token) == (url, sends_token)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        17,
        "picture.jpg",
        "../../etc/passwd",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "ftp://pictures.example/a.jpg",
        "https://other.example/a.jpg",
        "https://pictures.example:8443/a.jpg",
        "https://pictures.example.other.example/a.jpg",
        "https://pictures.example@other.example/a.jpg",
        "https://user@pictures.example/a.jpg",
        "http://labels.example:8443/a.jpg",
        "https://labels.example/a.jpg",
        "https://storage.example/a.jpg",
        "https://127.0.0.1/a.jpg",
        "https://[::1]/a.jpg",
        "https://xn--/a.jpg",
        "https:///a.jpg",
        "https://pictures.example:99999/a.jpg",
        "\\\\other.example\\a.jpg",
    ],
)
def test_no_other_address_is_fetched(value: Any) -> None:
    with pytest.raises(Kosmos2ClientError):
        ADDRESSES.of_picture(value, 5)


def fetch(handler: Handler, value: str, token: str | None = LEGACY, **limits: Any) -> bytes:
    async def run() -> bytes:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            tokens = TokenSource(token, ADDRESSES)
            return await Fetcher(client, ADDRESSES, tokens, FetchLimits(**limits)).fetch(value, 5)

    return asyncio.run(run())


def test_the_token_is_sent_to_label_studio_only() -> None:
    seen: dict[str, str | None] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        seen[request.url.host] = request.headers.get("Authorization")
        return httpx.Response(200, content=b"picture")

    assert fetch(handler, "/data/upload/1/a.jpg") == b"picture"
    assert fetch(handler, "https://pictures.example/a.jpg") == b"picture"
    assert seen == {"labels.example": "Token legacy", "pictures.example": None}


@pytest.mark.parametrize("target", ["https://pictures.example/b.jpg", "/b.jpg"])
def test_a_redirect_is_followed_without_the_token(target: str) -> None:
    headers = list[str | None]()

    def handler(request: httpx.Request) -> httpx.Response:
        headers.append(request.headers.get("Authorization"))
        if request.url.path.endswith("/b.jpg"):
            return httpx.Response(200, content=b"picture")
        return httpx.Response(302, headers={"Location": target})

    assert fetch(handler, "/data/upload/1/a.jpg") == b"picture"
    assert headers == ["Token legacy", None]


def answer(status: int = 200, content: Any = b"", **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, content=content, headers=named)


class EndlessStream(httpx.AsyncByteStream):
    """Sends a byte, then nothing more."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"1"
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (answer(302, Location="https://other.example/"), "other.example:443 is not allowed"),
        (answer(302, Location="http://169.254.169.254/"), "not allowed"),
        (answer(302, Location="file:///etc/passwd"), "only addresses of http"),
        (answer(302, Location="/again"), "more than 3 times"),
        (answer(404), "answers with 404"),
        (answer(200, b"x" * 11), "larger than 10 bytes"),
        (answer(200, b"x", Content_Encoding="gzip"), "compresses"),
        (lambda _: httpx.Response(200, stream=EndlessStream()), "longer than 0.05 s"),
    ],
)
def test_a_picture_beyond_the_limits_is_not_fetched(handler: Handler, message: str) -> None:
    with pytest.raises(Kosmos2ClientError, match=message):
        fetch(handler, "/data/upload/1/a.jpg", max_bytes=10, timeout_s=0.05)


def token_with(claims: Mapping[str, Any]) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.signature"


class TokenServer:
    """Label Studio's route that renews tokens, and a clock."""

    def __init__(self) -> None:
        self.now, self.requests = 1000.0, list[Any]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{BASE}/api/token/refresh/"
        self.requests.append(json.loads(request.read()))
        return httpx.Response(200, json={"access": token_with({"exp": self.now + 300})})


def headers_of(server: Handler, source: TokenSource) -> dict[str, str]:
    async def run() -> dict[str, str]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
            return await source.headers(client)

    return asyncio.run(run())


def test_a_personal_access_token_is_exchanged_before_it_ends() -> None:
    server, personal = TokenServer(), token_with({"token_type": "refresh"})
    source = TokenSource(personal, ADDRESSES, lambda: server.now)
    first = headers_of(server, source)
    assert first == {"Authorization": f"Bearer {token_with({'exp': 1300.0})}"}
    server.now += 260
    assert headers_of(server, source) == first
    server.now += 20
    assert headers_of(server, source) != first
    assert server.requests == [{"refresh": personal}] * 2


def test_other_tokens_are_sent_as_they_are() -> None:
    server, access = TokenServer(), token_with({"token_type": "access"})
    assert headers_of(server, TokenSource(None, ADDRESSES)) == {}
    assert headers_of(server, TokenSource("a.b.c", ADDRESSES)) == {"Authorization": "Token a.b.c"}
    assert headers_of(server, TokenSource(access, ADDRESSES)) == {
        "Authorization": f"Bearer {access}"
    }
    assert server.requests == []


def test_a_rejected_token_is_reported() -> None:
    personal = token_with({"token_type": "refresh"})
    with pytest.raises(Kosmos2ClientError, match="rejects the personal access token"):
        fetch(answer(401), "/data/upload/1/a.jpg", token=personal)


def test_a_host_that_does_not_answer_is_reported() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ConnectionFailed, match="cannot be fetched"):
        fetch(handler, "/data/upload/1/a.jpg")
