"""A request that the service rejects while its body is still on the way, through each proxy.

The answer has to reach the client. A proxy that is reset by the service while it sends a body
reports 502 instead.
"""

from collections.abc import Iterator, Mapping

import pytest

from harness.full_service import full
from harness.proxies import HAPROXY, NGINX, PROXIES, running_proxies
from harness.requirements import require_programs
from harness.service import RunningService, running_service
from harness.wire import Reply, open_connection, receive, request, send_slowly

KEY = "Authorization: Bearer key"
FORM = "Content-Type: multipart/form-data; boundary=B"
MAX_BODY_BYTES = 200_000
SIZES = (1_000_000, 5_000_000, 15_000_000)
"""All within the limit of the proxies."""
SIZE_OVER_PROXIES = 30_000_000
DIRECT = "no proxy"


@pytest.fixture(scope="module")
def strict() -> Iterator[RunningService]:
    """A service with a key, a low limit, and room for one request."""
    with running_service(
        api_keys="key", max_body_bytes=MAX_BODY_BYTES, slots=1, max_waiting=0
    ) as running:
        yield running


@pytest.fixture(scope="module")
def urls(
    strict: RunningService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    require_programs("haproxy", "nginx")
    with running_proxies(strict.url, tmp_path_factory.mktemp("proxies")) as proxies:
        yield {DIRECT: strict.url, **proxies}


@pytest.fixture(params=[DIRECT, *PROXIES])
def url(request: pytest.FixtureRequest, urls: Mapping[str, str]) -> str:
    return urls[request.param]


def body_of(size: int) -> bytes:
    """Return a form whose picture has so many bytes."""
    head = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return head + bytes(size) + b"\r\n--B--\r\n"


def in_chunks(body: bytes) -> bytes:
    starts = range(0, len(body), 2**16)
    chunks = (body[start : start + 2**16] for start in starts)
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def upload(url: str, size: int, *headers: str, is_chunked: bool, reads_at_end: bool) -> Reply:
    """Send a form and return the answer.

    A client that reads at the end sends the whole body first, as most libraries do. Another one
    stops when an answer arrives.
    """
    body = in_chunks(body_of(size)) if is_chunked else body_of(size)
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
    with open_connection(url) as connection:
        connection.sendall(request("POST", "/v1/ground", FORM, length, *headers))
        if reads_at_end:
            connection.sendall(body)
        else:
            send_slowly(connection, body, pause_s=0.001, num_bytes=2**16)
        return receive(connection)


@pytest.mark.parametrize("reads_at_end", [False, True])
@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("headers", "status"), [((), 401), ((KEY,), 413)])
def test_an_early_refusal_arrives(
    url: str,
    headers: tuple[str, ...],
    status: int,
    size: int,
    is_chunked: bool,
    reads_at_end: bool,
) -> None:
    reply = upload(url, size, *headers, is_chunked=is_chunked, reads_at_end=reads_at_end)
    assert reply.status == status
    assert reply.content["status"] == status


@pytest.mark.parametrize("proxy", [HAPROXY, NGINX])
def test_the_limit_of_a_proxy_is_reported_as_that_of_the_service(
    urls: Mapping[str, str], proxy: str
) -> None:
    """The client stops when the answer arrives; the proxy need not read the rest."""
    reply = upload(urls[proxy], SIZE_OVER_PROXIES, is_chunked=False, reads_at_end=False)
    assert reply.status == 413
    assert reply.content["code"] == "payload_too_large"
    assert b"content-type: application/problem+json" in reply.head


@pytest.fixture
def full_service(strict: RunningService) -> Iterator[RunningService]:
    with full(strict, "key"):
        yield strict


@pytest.mark.parametrize("reads_at_end", [False, True])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_full_service_reports_it_while_the_client_uploads(
    full_service: RunningService, urls: Mapping[str, str], is_chunked: bool, reads_at_end: bool
) -> None:
    for name, url in urls.items():
        size = MAX_BODY_BYTES // 2
        reply = upload(url, size, KEY, is_chunked=is_chunked, reads_at_end=reads_at_end)
        assert reply.status == 503, name
        assert reply.content["code"] == "overloaded"
