"""Bodies of another type, encoding, form or size are rejected with their own errors."""

from collections.abc import Iterator

import httpx
import pytest

from harness.pictures import picture_file
from harness.problems import problem

PICTURE = picture_file()


def test_a_body_of_another_type_is_rejected(client: httpx.Client) -> None:
    response = client.post("/v1/ground", content=b"a=1", headers={"Content-Type": "text/plain"})
    assert problem(response)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x-own"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_a_compressed_body_has_its_own_error(client: httpx.Client, kind: str, coding: str) -> None:
    """Otherwise the error would state that the body is not JSON."""
    headers = {"Content-Type": kind, "Content-Encoding": coding}
    response = client.post("/v1/ground", content=b"\x1f\x8b", headers=headers)
    content = problem(response)
    assert (content["status"], content["code"]) == (415, "unsupported_content_encoding")
    assert "Content-Encoding" in content["detail"]
    assert response.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_the_content_encoding_identity_is_accepted(client: httpx.Client, coding: str) -> None:
    request = client.build_request(
        "POST", "/v1/ground", files={"image": PICTURE}, data={"task": "brief_caption"}
    )
    request.headers["Content-Encoding"] = coding
    assert client.send(request).status_code == 200


@pytest.mark.parametrize("boundary", ["", "; boundary=x"])
def test_a_body_that_does_not_match_its_type_is_rejected(
    client: httpx.Client, boundary: str
) -> None:
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    response = client.post("/v1/ground", content=b"no parts here", headers=headers)
    assert problem(response)["code"] == "malformed_body"


def test_a_body_without_a_length_is_rejected_at_the_limit(client: httpx.Client) -> None:
    """Its bytes are counted while they arrive."""

    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = client.post("/v1/ground", content=endless(), headers=headers)
    assert problem(response)["code"] == "payload_too_large"
