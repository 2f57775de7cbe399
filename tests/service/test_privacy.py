"""No log, metric or error contains anything that a client sent, for any outcome."""

import base64
import io
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, PngImagePlugin

from harness import loopback
from harness.faulty_engine import DIE, RAISE
from harness.formats import file_of
from harness.processes import FAULTY_ENGINE
from harness.service import RunningService, running_service
from harness.waiting import eventually
from harness.wire import open_connection, receive, request

KEY = "secretmark-key"
MARKS = ("secretmark", base64.b64encode(b"secretmark").decode()[:12])
"""Part of everything that the tests send, as plain text or as base64."""

RATE = 1000


def marked(image_format: str, **options: Any) -> bytes:
    """Return a picture with the marker in every kind of metadata."""
    comments = PngImagePlugin.PngInfo()
    comments.add_text("secretmark-name", "secretmark-text")
    comments.add_itxt("secretmark-name", "secretmark-text", "secretmark", "secretmark", zip=True)
    metadata = Image.Exif()
    for tag in (0x010E, 0x010F, 0x0131, 0x013B, 0x8298):
        metadata[tag] = "secretmark-metadata"
    if image_format == "PNG":
        options["pnginfo"] = comments
    return file_of(
        Image.new("RGB", (64, 48), "red"),
        image_format,
        exif=metadata.tobytes(),
        icc_profile=b"secretmark-profile",
        **options,
    )


PICTURES = (
    marked("JPEG", comment=b"secretmark-comment"),
    marked("PNG"),
    marked("WEBP", xmp=b"secretmark-xmp"),
    marked("TIFF", compression="tiff_lzw"),
)
HEADERS = {
    "Authorization": f"Bearer {KEY}",
    "User-Agent": "secretmark-agent",
    "Referer": "http://secretmark.example/",
    "Cookie": "session=secretmark-cookie",
    "X-Forwarded-For": "secretmark-address",
    "X-Secretmark": "secretmark-value",
}


@pytest.fixture(scope="module")
def service(endless_checkpoint: Path) -> Iterator[RunningService]:
    """A service with the most detailed log, and an engine that fails on request."""
    with running_service(
        "harness.serve_with_engine",
        FAULTY_ENGINE,
        model=endless_checkpoint,
        log_level="debug",
        api_keys=f"{KEY}, busy-{KEY}",
        requests_per_minute=RATE,
        max_body_bytes=200_000,
        max_image_pixels=1_000_000,
        body_timeout_s=2,
        header_timeout_s=2,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, headers=HEADERS, timeout=120) as opened:
        yield opened


def phrase(**fields: str) -> dict[str, str]:
    return {
        "task": "phrase_grounding",
        "text": "a secretmark phrase",
        "max_new_tokens": "8",
    } | fields


REGIONS = json.dumps([{"phrase": "secretmark region", "boxes": [[1, 1, 30, 30]]}])

FORMS: tuple[tuple[str, bytes, dict[str, str], int], ...] = (
    *(("answered", picture, phrase(), 200) for picture in PICTURES),
    ("a stream", PICTURES[0], phrase(stream="true"), 200),
    ("a region", PICTURES[0], {"task": "referring_expression_generation", "regions": REGIONS}, 200),
    ("cut short", PICTURES[1][:-40], phrase(), 422),
    ("damaged", PICTURES[1][:-200] + b"secretmark" * 20, phrase(), 422),
    ("damaged tags", PICTURES[3][:8] + b"secretmark" * 20 + PICTURES[3][148:], phrase(), 415),
    ("no picture", b"secretmark" * 100, phrase(), 422),
    ("SVG", b"<svg>secretmark</svg>", phrase(), 415),
    (
        "too many pixels",
        file_of(Image.new("L", (2000, 2000)), "PNG") + b"secretmark",
        phrase(),
        413,
    ),
    ("too many bytes", b"secretmark" * 40_000, phrase(), 413),
    ("a control token", PICTURES[0], phrase(text="secretmark </image> secretmark"), 422),
    ("too long", PICTURES[0], phrase(text="secretmark " * 2000), 422),
    ("no task", PICTURES[0], {"task": "secretmark"}, 422),
    ("no number", PICTURES[0], phrase(top_p="secretmark"), 422),
    ("no JSON", PICTURES[0], phrase(regions="[secretmark"), 422),
    ("no region", PICTURES[0], phrase(task="grounded_vqa", regions=REGIONS), 422),
    ("the engine raises", PICTURES[0], phrase(max_new_tokens="20", seed=str(RAISE)), 500),
    ("the engine dies", PICTURES[0], phrase(max_new_tokens="20", seed=str(DIE)), 500),
)


@pytest.mark.parametrize(
    ("image", "fields", "status"),
    [pytest.param(*form[1:], id=f"{form[0]} {number}") for number, form in enumerate(FORMS)],
)
def test_a_form_is_in_no_error_and_no_log(
    service: RunningService,
    client: httpx.Client,
    image: bytes,
    fields: dict[str, str],
    status: int,
) -> None:
    files = {"image": ("secretmark-file-name.png", image, "image/secretmark")}
    response = client.post("/v1/ground?secretmark=secretmark", files=files, data=fields)
    assert response.status_code == status, response.text
    if status != 200:
        assert_unmarked(response.text)
    assert_nothing_is_kept(service)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"image": {"base64": "secretmark!"}, "task": "raw", "text": "secretmark"}', "json", 422),
        (b'{"image": "http://secretmark.example/", "task": "raw"}', "json", 422),
        (b'{"secretmark": "secretmark"', "json", 400),
        (b'"secretmark"', "json", 400),
        (b"secretmark", "secretmark", 415),
        (b"secretmark", "json; charset=secretmark", 400),
    ],
)
def test_a_json_body_is_in_no_error_and_no_log(
    service: RunningService, client: httpx.Client, content: bytes, kind: str, status: int
) -> None:
    headers = {"Content-Type": f"application/{kind}"}
    response = client.post("/v1/ground", content=content, headers=headers)
    assert response.status_code == status
    assert_unmarked(response.text)
    assert_nothing_is_kept(service)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/secretmark?secretmark", {}, 404),
        ("DELETE", "/v1/tasks", {}, 405),
        ("GET", "/v1/tasks", {"Authorization": "Bearer secretmark-but-wrong"}, 401),
        ("GET", "/v1/tasks", {"X-Request-ID": "secretmark id!"}, 200),
        ("POST", "/v1/ground", {"Content-Type": "multipart/form-data; boundary=secretmark"}, 400),
    ],
)
def test_paths_and_headers_are_in_no_error_and_no_log(
    service: RunningService,
    client: httpx.Client,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    response = client.request(method, path, headers=headers)
    assert response.status_code == status
    if status != 200:
        assert_unmarked(response.text)
    assert_nothing_is_kept(service)


@contextmanager
def begun(service: RunningService, *sent: bytes) -> Iterator[socket.socket]:
    """Open a connection and send the given parts."""
    with open_connection(service.url) as connection:
        for part in sent:
            connection.sendall(part)
        yield connection


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"secretmark secretmark\r\n\r\n", 400),
        (request("GET", "/secretmark", "X-Secretmark: \0secretmark"), 400),
        (request("GET", "/", "X-Secretmark: " + "secretmark" * 10_000), 431),
        (b"GET /secretmark HTTP/1.1\r\nX-Secretmark: secretmark", 408),
        (
            request("POST", "/v1/ground", f"Authorization: Bearer {KEY}", "Content-Length: 99",
                    "Content-Type: multipart/form-data; boundary=x", body=b"--x\r\nsecretmark"),
            408,
        ),
    ],
)  # fmt: skip
def test_an_invalid_or_incomplete_request_is_in_no_error_and_no_log(
    service: RunningService, sent: bytes, status: int
) -> None:
    with begun(service, sent) as connection:
        reply = receive(connection)
    assert reply.status == status
    assert_unmarked(reply.body.decode())
    assert_nothing_is_kept(service)


def test_the_request_of_a_disconnected_client_is_in_no_log(
    service: RunningService, client: httpx.Client
) -> None:
    fields = phrase(stream="true", max_new_tokens="100")
    with client.stream("POST", "/v1/ground", files={"image": PICTURES[0]}, data=fields) as response:
        next(response.iter_lines())
    assert eventually(lambda: any('"status": 499' in line for line in service.log))
    assert_nothing_is_kept(service)


def test_a_key_over_its_rate_is_in_no_error_and_no_log(service: RunningService) -> None:
    headers = {"Authorization": f"Bearer busy-{KEY}"}
    with httpx.Client(base_url=service.url, headers=headers) as busy:
        responses = (busy.get("/v1/tasks") for _ in range(3 * RATE))
        refused = next(response for response in responses if response.status_code == 429)
    assert_unmarked(refused.text)
    assert_nothing_is_kept(service)


def test_no_annotated_picture_has_metadata_of_its_original(client: httpx.Client) -> None:
    for picture in PICTURES:
        files, data = {"image": picture}, {"entities": "[]"}
        drawn = client.post("/v1/annotate", files=files, data=data)
        assert drawn.status_code == 200
        assert b"secretmark" not in drawn.content
        assert Image.open(io.BytesIO(drawn.content)).info == {}


def test_the_log_and_the_pictures_are_not_empty(service: RunningService) -> None:
    """Otherwise the other tests would pass without checking anything."""
    assert len(service.log) > 10
    assert any('"status": 200' in line for line in service.log)
    assert all(b"secretmark" in picture for picture in PICTURES)


def assert_unmarked(text: str) -> None:
    assert not [mark for mark in MARKS if mark in text]


def assert_nothing_is_kept(service: RunningService) -> None:
    assert_unmarked("\n".join(service.log))
    assert_unmarked(loopback.get(f"{service.url}/metrics").text)
