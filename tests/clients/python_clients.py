"""Clients in Python: requests, httpx, aiohttp and urllib3, each with four kinds of body."""

import asyncio
import base64
from typing import Any

import aiohttp
import requests
import urllib3

from harness import loopback
from tests.clients.upload import Answer, Client, Upload

TIMEOUT_S = 120
BODIES = ("file", "bytes without a file name", "JSON, base64", "JSON, data URI")
FILE, BYTES, BASE64, DATA_URI = BODIES


def json_of(sent: Upload, body: str) -> dict[str, Any]:
    code = base64.b64encode(sent.picture.read_bytes()).decode()
    image = {"base64": code} if body == BASE64 else {"url": f"data:image/png;base64,{code}"}
    fields = {name: value == "true" or value for name, value in sent.fields.items()}
    return fields | {"image": image}


def arguments_of(sent: Upload, body: str) -> dict[str, Any]:
    """Return the arguments that requests and httpx share for such a body."""
    if body not in (FILE, BYTES):
        return {"json": json_of(sent, body)}
    name = sent.picture.name if body == FILE else None
    return {"files": {"image": (name, sent.picture.read_bytes())}, "data": sent.fields}


def upload_with_requests(url: str, sent: Upload, body: str) -> Answer:
    arguments = arguments_of(sent, body)
    with requests.post(f"{url}/v1/ground", stream=True, timeout=TIMEOUT_S, **arguments) as response:
        return Answer(
            response.status_code, "".join(f"{line.decode()}\n" for line in response.iter_lines())
        )


def upload_with_httpx(url: str, sent: Upload, body: str) -> Answer:
    arguments = arguments_of(sent, body)
    target = f"{url}/v1/ground"
    with loopback.stream("POST", target, timeout=TIMEOUT_S, **arguments) as response:
        return Answer(response.status_code, "".join(f"{line}\n" for line in response.iter_lines()))


def upload_with_urllib3(url: str, sent: Upload, body: str) -> Answer:
    picture = sent.picture.read_bytes()
    arguments: dict[str, Any] = {"json": json_of(sent, body)}
    if body in (FILE, BYTES):
        image = (sent.picture.name, picture) if body == FILE else picture
        arguments = {"fields": {**sent.fields, "image": image}}
    with urllib3.PoolManager(timeout=TIMEOUT_S) as pool:
        response = pool.request("POST", f"{url}/v1/ground", preload_content=False, **arguments)
        text = b"".join(response.stream()).decode()
        return Answer(response.status, text)


def upload_with_aiohttp(url: str, sent: Upload, body: str) -> Answer:
    return asyncio.run(_upload_with_aiohttp(url, sent, body))


async def _upload_with_aiohttp(url: str, sent: Upload, body: str) -> Answer:
    arguments: dict[str, Any] = {"json": json_of(sent, body)}
    if body == FILE:
        form = aiohttp.FormData(dict(sent.fields))
        form.add_field("image", sent.picture.read_bytes(), filename=sent.picture.name)
        arguments = {"data": form}
    elif body == BYTES:
        arguments = {"data": _aiohttp_parts(sent)}
    timeout = aiohttp.ClientTimeout(TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{url}/v1/ground", **arguments) as response,
    ):
        lines = [line.decode() async for line in response.content]
        return Answer(response.status, "".join(lines))


def _aiohttp_parts(sent: Upload) -> aiohttp.MultipartWriter:
    """Return a form whose parts have a type and a length of their own, and no file name."""
    writer = aiohttp.MultipartWriter("form-data")
    writer.append(sent.picture.read_bytes()).set_content_disposition("form-data", name="image")
    for name, value in sent.fields.items():
        writer.append(value).set_content_disposition("form-data", name=name)
    return writer


LIBRARIES = {
    "requests": upload_with_requests,
    "httpx": upload_with_httpx,
    "aiohttp": upload_with_aiohttp,
    "urllib3": upload_with_urllib3,
}


def client_of(library: str, body: str) -> Client:
    return lambda url, sent: LIBRARIES[library](url, sent, body)


PYTHON_CLIENTS: dict[str, Client] = {
    f"{library}, {body}": client_of(library, body) for library in LIBRARIES for body in BODIES
}
