"""Requests as .NET, Retrofit and Alamofire write them, byte by byte: they do not run here."""

import json
from collections.abc import Callable, Iterable
from http.client import HTTPResponse
from urllib.parse import urlsplit

from harness.wire import open_connection
from tests.clients.upload import Answer, Client, Upload

NET_BOUNDARY = "2f8b2f9c-6f3c-4a86-8d1c-0e7d1f2a3b4c"
OKHTTP_BOUNDARY = "7f1d4c0e-3c52-4d5f-9b59-4b0c2c1d9a3e"
ALAMOFIRE_BOUNDARY = "alamofire.boundary.5e0c2b1a9f3d7c64"

Parts = list[tuple[tuple[str, ...], bytes]]
"""The headers and the content of each part."""


def net_request(sent: Upload) -> bytes:
    """`HttpClient` with `MultipartFormDataContent`, `StringContent` and `ByteArrayContent`.

    It writes the boundary in quotes, names without quotes, and the file name twice.
    """
    parts: Parts = [
        (
            (
                "Content-Type: text/plain; charset=utf-8",
                f"Content-Disposition: form-data; name={name}",
            ),
            value.encode(),
        )
        for name, value in sent.fields.items()
    ]
    name = sent.picture.name
    disposition = (
        f"Content-Disposition: form-data; name=image; filename={name}; filename*=utf-8''{name}"
    )
    parts.append(((disposition,), sent.picture.read_bytes()))
    return request_of(
        f'multipart/form-data; boundary="{NET_BOUNDARY}"', body_of(NET_BOUNDARY, parts)
    )


def retrofit_request(sent: Upload) -> bytes:
    """Retrofit's `@Part` with a JSON converter, over OkHttp: texts are JSON, each with a length."""
    parts: Parts = []
    for name, value in sent.fields.items():
        content = json.dumps(value == "true" or value).encode()
        headers = (
            f'Content-Disposition: form-data; name="{name}"',
            "Content-Transfer-Encoding: binary",
            "Content-Type: application/json; charset=UTF-8",
            f"Content-Length: {len(content)}",
        )
        parts.append((headers, content))
    picture = sent.picture.read_bytes()
    headers = (
        f'Content-Disposition: form-data; name="image"; filename="{sent.picture.name}"',
        "Content-Type: image/*",
        f"Content-Length: {len(picture)}",
    )
    parts.append((headers, picture))
    return request_of(
        f"multipart/form-data; boundary={OKHTTP_BOUNDARY}",
        body_of(OKHTTP_BOUNDARY, parts),
        "Connection: Keep-Alive",
        "Accept-Encoding: gzip",
        "User-Agent: okhttp/4.12.0",
    )


def alamofire_request(sent: Upload) -> bytes:
    """Alamofire's `AF.upload(multipartFormData:)`, over `URLSession`."""
    parts: Parts = [
        ((f'Content-Disposition: form-data; name="{name}"',), value.encode())
        for name, value in sent.fields.items()
    ]
    headers = (
        f'Content-Disposition: form-data; name="image"; filename="{sent.picture.name}"',
        "Content-Type: image/png",
    )
    parts.insert(0, (headers, sent.picture.read_bytes()))
    return request_of(
        f"multipart/form-data; boundary={ALAMOFIRE_BOUNDARY}",
        body_of(ALAMOFIRE_BOUNDARY, parts),
        "Accept: */*",
        "Accept-Language: en;q=1.0",
        "Accept-Encoding: br;q=1.0, gzip;q=0.9, deflate;q=0.8",
        "User-Agent: App/1.0 (org.example.App; build:1; iOS 17.5.0) Alamofire/5.9.1",
        "Connection: keep-alive",
    )


def body_of(boundary: str, parts: Iterable[tuple[Iterable[str], bytes]]) -> bytes:
    body = b""
    for headers, content in parts:
        head = "".join(f"{header}\r\n" for header in headers)
        body += f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def request_of(content_type: str, body: bytes, *headers: str) -> bytes:
    lines = (
        "POST /v1/ground HTTP/1.1",
        "Host: {host}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sends(written: Callable[[Upload], bytes]) -> Client:
    def upload(url: str, sent: Upload) -> Answer:
        host = urlsplit(url).netloc.encode()
        with open_connection(url) as connection:
            connection.sendall(written(sent).replace(b"{host}", host, 1))
            response = HTTPResponse(connection)
            response.begin()
            return Answer(response.status, response.read().decode())

    return upload


IMITATED: dict[str, Client] = {
    ".NET HttpClient (imitated)": sends(net_request),
    "Retrofit with JSON (imitated)": sends(retrofit_request),
    "Alamofire (imitated)": sends(alamofire_request),
}
