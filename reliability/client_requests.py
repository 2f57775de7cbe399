"""Requests as clients of many kinds write them, for the fuzzer to damage."""

import base64
import json
from collections.abc import Iterable

import httpx

_PartOf = tuple[tuple[str, ...], bytes]
"""The headers and the content of a part."""

# As curl and the HttpClient of Java offer HTTP/2.
_OFFER = {
    "Connection": "Upgrade, HTTP2-Settings",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
}


def client_requests(url: str, picture: bytes) -> dict[str, httpx.Request]:
    """Return requests to `/v1/ground` by name: part headers, JSON of all types, offers, chunks.

    Args:
        url: of the service, without a path.
        picture: a file, small enough for its words to be damaged more often than its bytes.
    """
    ground = f"{url}/v1/ground"
    form = _form(_parts(picture))
    form_type = {"Content-Type": 'multipart/form-data; boundary="B"'}
    text = json.dumps(_json_body(picture)).encode()
    json_type = {"Content-Type": "application/json; charset=utf-8"}
    return {
        "part headers": httpx.Request("POST", ground, headers=form_type, content=form),
        "JSON types": httpx.Request("POST", ground, headers=json_type, content=text),
        "offer with a form": httpx.Request(
            "POST", ground, headers=form_type | _OFFER, content=form
        ),
        "offer with JSON": httpx.Request("POST", ground, headers=json_type | _OFFER, content=text),
    }


def _parts(picture: bytes) -> list[_PartOf]:
    """Return parts with every header that the service reads, in the spellings of clients."""
    return [
        (
            (
                "Content-Type: text/plain; charset=utf-16le",
                "Content-Disposition: form-data; name=task",
            ),
            "referring_expression_generation".encode("utf-16le"),
        ),
        (
            (
                'Content-Disposition: form-data;\r\n\tname="max_new_tokens"',
                "Content-Type: application/json; charset=UTF-8",
                # As Retrofit writes the parts of a form.
                "Content-Length: 3",
            ),
            b"1.0",
        ),
        (
            (
                # As browsers and Node write a typed `Blob`.
                'Content-Disposition: form-data; name="regions"; filename="blob"',
                "Content-Type: application/json",
                "Content-Transfer-Encoding: quoted-printable",
            ),
            b'[{"boxes"=3A [[1, 2, =\r\n30, 31]]}]',
        ),
        (
            (
                "Content-Disposition: form-data; name=image; filename=a.png; "
                # .NET sends both names.
                "filename*=utf-8''%E2%82%AC.png",
                "Content-Transfer-Encoding: base64",
                "Content-Type: image/png",
            ),
            base64.encodebytes(picture),
        ),
    ]


def _form(parts: Iterable[_PartOf]) -> bytes:
    bodies = [
        "".join(f"{header}\r\n" for header in headers).encode() + b"\r\n" + content
        for headers, content in parts
    ]
    return b"--B\r\n" + b"\r\n--B\r\n".join(bodies) + b"\r\n--B--\r\n"


def _json_body(picture: bytes) -> dict[str, object]:
    code = base64.b64encode(picture).decode()
    return {
        "task": "grounded_vqa",
        "text": "Where is the \u732b\ud83d\udc08?",
        "regions": [{"phrase": "\u732b", "boxes": [[1.5, 2e0, 30, 31]]}],
        # JSON has one type of number; some clients write all of them as floats.
        "max_new_tokens": 1.0,
        "stream": False,
        "image": {"url": f"data:image/png;name=a%20b.png;charset=utf-8;base64,{code}"},
    }
