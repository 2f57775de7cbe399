"""The service opens no outgoing connections: not for pictures, models or documentation."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import loopback
from harness.formats import file_of, landscape
from harness.service import RunningService, running_service
from reliability.keys import OPEN

# Every Python process imports `sitecustomize` first; this one records outgoing calls.
SITE_CUSTOMIZE = """
import os, sys

def write(text):
    handle = os.open({file!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, text.encode() + b"\\n")
    os.close(handle)

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        write(f"{{event}} {{arguments[1:] or arguments}}")

sys.addaudithook(watch)
write("watched " + " ".join(sys.orig_argv))
"""

ADDRESS = "http://127.0.0.1:9/picture.png"
XMP = f'<x:xmpmeta xmlns:x="{ADDRESS}"><image xlink:href="{ADDRESS}"/></x:xmpmeta>'.encode()


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the file in which every process started by this module records its calls."""
    directory = tmp_path_factory.mktemp("watched")
    file = directory / "calls"
    (directory / "sitecustomize.py").write_text(SITE_CUSTOMIZE.format(file=str(file)))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join([str(directory), os.getcwd()]))
        yield file


@pytest.fixture(scope="module")
def watched(calls: Path) -> Iterator[RunningService]:
    with running_service() as running:
        yield running


def recorded(calls: Path) -> list[str]:
    """Return the calls recorded so far."""
    return [line for line in calls.read_text().splitlines() if not line.startswith("watched")]


def test_an_outgoing_call_is_recorded(calls: Path) -> None:
    program = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert any("socket.connect (('127.0.0.1', 9),)" in line for line in recorded(calls))
    calls.write_text("")


def test_calls_of_every_process_are_recorded(watched: RunningService, calls: Path) -> None:
    text = calls.read_text()
    for module in (
        "app.commands.cli",
        "app.http.process",
        "app.pictures.workers",
        "app.engine.process",
    ):
        assert module in text


@pytest.mark.parametrize(
    "image",
    [
        ADDRESS,
        {"url": ADDRESS},
        {"url": ADDRESS.replace("http", "https")},
        {"url": "ftp://127.0.0.1:9/picture.png"},
        {"url": "file:///etc/hostname"},
        {"url": f"data:image/png;base64,@{ADDRESS}"},
        {"url": f"data:{ADDRESS};base64,aGk="},
        {"base64": ADDRESS},
    ],
)
def test_no_address_of_a_picture_is_called(
    watched: RunningService, calls: Path, image: object
) -> None:
    body = {"image": image, "task": "brief_caption"}
    assert loopback.post(f"{watched.url}/v1/ground", json=body).status_code == 422
    assert recorded(calls) == []


@pytest.mark.parametrize(
    ("picture", "status"),
    [
        (f'<svg xmlns:xlink="x"><image xlink:href="{ADDRESS}"/></svg>'.encode(), 415),
        (f"#EXTM3U\n{ADDRESS}\n".encode(), 422),
        (file_of(landscape(), "WEBP", xmp=XMP), 200),
        (file_of(landscape(), "JPEG", xmp=XMP), 200),
    ],
)
def test_no_address_in_a_picture_is_called(
    watched: RunningService, calls: Path, picture: bytes, status: int
) -> None:
    data = {"task": "phrase_grounding", "text": ADDRESS, "max_new_tokens": "2"}
    headers = {"Referer": ADDRESS, "Host": "127.0.0.1:9", "Forwarded": f"for={ADDRESS}"}
    response = loopback.post(
        f"{watched.url}/v1/ground", files={"image": picture}, data=data, headers=headers, timeout=60
    )
    assert response.status_code == status
    assert recorded(calls) == []


@pytest.mark.parametrize("path", [*OPEN, "/docs", "/openapi.json", "/v1/tasks"])
def test_no_page_causes_an_outgoing_call(watched: RunningService, calls: Path, path: str) -> None:
    assert loopback.get(watched.url + path).status_code == 200
    assert recorded(calls) == []
