"""Writes docs/errors.md: every row of the error table, with a request that causes it.

    python -m scripts.error_table > docs/errors.md

The requests are sent to real services with the embedded checkpoint and with limits that are small
enough to reach.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from app.settings import EMBEDDED_CHECKPOINT
from harness.checkpoints import tiny_config, write_random_checkpoint
from harness.pictures import picture_file
from harness.service import RunningService, running_service
from harness.waiting import eventually
from harness.wire import open_connection, receive, request

Answer = tuple[int, str, str]  # status, relevant headers, body
Row = tuple[str, str, Callable[[RunningService], httpx.Response]]

PICTURE = picture_file()
KEY = {"Authorization": "Bearer demonstration"}
ASKED = {"task": "brief_caption"}
UNFINISHED = request(
    "POST", "/v1/ground", "Authorization: Bearer demonstration", "Content-Length: 500",
    "Content-Type: multipart/form-data; boundary=x", body=b"--x",
)  # fmt: skip
JPEG_XL = b"\xff\x0a" + bytes(20)


def post(
    path: str = "/v1/ground", image: bytes = PICTURE, **options: object
) -> Callable[[RunningService], httpx.Response]:
    """Return a sender of a form with a picture and a task; `options` override its parts."""
    data = options.pop("data", ASKED)
    headers = KEY | options.pop("headers", {})  # type: ignore[operator]

    def send(service: RunningService) -> httpx.Response:
        files = {"image": image}
        return httpx.post(service.url + path, files=files, data=data, headers=headers, timeout=180)  # type: ignore[arg-type]

    return send


def send_raw(content: bytes, kind: str) -> Callable[[RunningService], httpx.Response]:
    """Return a sender of a body with any content type."""
    return lambda service: httpx.post(
        f"{service.url}/v1/ground",
        content=content,
        headers=KEY | {"Content-Type": kind},
        timeout=60,
    )


def chat(**fields: object) -> Callable[[RunningService], httpx.Response]:
    """Return a sender of a chat about a picture; `fields` override its parts."""
    url = f"data:image/png;base64,{b64encode(PICTURE).decode()}"
    body = {"model": "any", "messages": message_with(url)} | fields
    return lambda service: httpx.post(
        f"{service.url}/v1/chat/completions", json=body, headers=KEY, timeout=60
    )


def message_with(url: str) -> list[dict[str, object]]:
    """Return the messages of a chat about the picture at a URL."""
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


def get(path: str) -> Callable[[RunningService], httpx.Response]:
    """Return a sender of a GET request."""
    return lambda service: httpx.get(service.url + path, headers=KEY, timeout=60)


def send_bytes(sent: bytes) -> Callable[[RunningService], httpx.Response]:
    """Return a sender of raw bytes that no HTTP client would send."""

    def send(service: RunningService) -> httpx.Response:
        with open_connection(service.url) as connection:
            connection.sendall(sent)
            reply = receive(connection)
        return httpx.Response(reply.status, content=reply.body)

    return send


def call_often(service: RunningService) -> httpx.Response:
    """Send more requests than a key is allowed per minute; return the first 429."""
    headers = {"Authorization": "Bearer eager"}
    # More than 60, because a new minute may begin in between and start another count.
    calls = (httpx.get(f"{service.url}/v1/tasks", headers=headers, timeout=60) for _ in range(200))
    return next(response for response in calls if response.status_code == 429)


def while_busy(service: RunningService) -> httpx.Response:
    """Return the answer to a second request, with one slot and an empty queue limit."""
    with ThreadPoolExecutor() as pool:
        long = {"task": "brief_caption", "max_new_tokens": "200"}
        first = pool.submit(post(data=long), service)
        # Otherwise the second request could overtake the first.
        eventually(lambda: service.metric("kosmos2_num_requests_running") == 1)
        second = post()(service)
        first.result()
    return second


def while_draining(service: RunningService) -> httpx.Response:
    """Return the answer to a request that takes longer than the grace period."""
    with ThreadPoolExecutor() as pool:
        long = {"task": "brief_caption", "max_new_tokens": "200"}
        first = pool.submit(post(data=long), service)
        eventually(lambda: service.metric("kosmos2_num_requests_running") == 1)
        service.stop()
        return first.result()


ROWS: tuple[Row, ...] = (
    ("no parts in a form", "body does not match its type",
     send_raw(b"no parts", "multipart/form-data; boundary=x")),
    ("two lengths of one body", "bytes are not HTTP",
     send_bytes(b"GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")),
    ("`Authorization: Bearer wrong`", "no or wrong key",
     post(headers={"Authorization": "Bearer wrong"})),
    ("`GET /nowhere`", "no such path", get("/nowhere")),
    ("`GET /v1/models/another`", "no such model", get("/v1/models/another")),
    ("`GET /v1/ground`", "no such method", get("/v1/ground")),
    ("`Accept: text/html`", "no such representation", post(headers={"Accept": "text/html"})),
    ("headers that stop in the middle", "headers not complete in time",
     send_bytes(b"GET /livez HTTP/1.1\r\nHost: ")),
    ("a body that stops in the middle", "body not complete in time", send_bytes(UNFINISHED)),
    ("40,000 bytes in a header", "headers over the limit",
     send_bytes(b"GET /livez HTTP/1.1\r\nX: " + b"a" * 40_000)),
    ("300,000 bytes where 200,000 are allowed", "bytes over the limit", post(image=bytes(300_000))),
    ("1001×1000 pixels where 1,000,000 are allowed", "pixels over the limit",
     post(image=picture_file((1001, 1000), "JPEG"))),
    ("`Content-Type: text/plain`", "request type", send_raw(b"x", "text/plain")),
    ("`Content-Encoding: gzip`", "compressed body", post(headers={"Content-Encoding": "gzip"})),
    ("a JPEG XL picture", "picture format known but not accepted", post(image=JPEG_XL)),
    ("`task=dance`, `top_p=2`", "wrong field", post(data={"task": "dance", "top_p": "2"})),
    ("`text=a ＜pad＞`", "control token",
     post(data={"task": "phrase_grounding", "text": "a ＜pad＞"})),
    ("`max_new_tokens=600`", "too long", post(data=ASKED | {"max_new_tokens": "600"})),
    ("`regions=[{\"boxes\": [[9, 1, 5, 5]]}]`", "bad box",
     post(data={"task": "referring_expression_generation",
                "regions": json.dumps([{"boxes": [[9, 1, 5, 5]]}])})),
    ("64 classes, `tiles={\"width\": 32, \"height\": 32}`", "too many classes and tiles",
     post("/v1/detect", data={"classes": ",".join(map(str, range(64))),
                              "tiles": json.dumps({"width": 32, "height": 32})})),
    ("`/v1/chat/completions`: a picture at `https://a.example/b.png`", "URL of a picture",
     chat(messages=message_with("https://a.example/b.png"))),
    ("`/v1/chat/completions`: `n=2`", "value of OpenAI's that is not supported", chat(n=2)),
    ("`/v1/chat/completions`: `response_format` with the type `grammar`",
     "response format that is not supported", chat(response_format={"type": "grammar"})),
    ("a PNG without its end", "not a picture, or truncated", post(image=PICTURE[:-100])),
    ("more than 60 calls in a minute, where 60 are allowed", "one key over its rate", call_often),
    ("a second request, one slot and no waiting place", "queue full", while_busy),
    ("`X-Request-Timeout: 0.000001`", "deadline passed",
     post(headers={"X-Request-Timeout": "0.000001"})),
    ("a request that outlives the grace period", "draining", while_draining),
)  # fmt: skip


def rows() -> Iterator[str]:
    """Yield the rows of the table, each from a real answer."""
    with TemporaryDirectory() as directory:
        # A random model answers up to its token limit, so one request keeps the only slot busy.
        endless = write_random_checkpoint(
            Path(directory) / "endless", tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT
        )
        with running_service(
            model=endless, slots=1, max_waiting=0, api_keys="demonstration,eager",
            requests_per_minute=60, max_body_bytes=200_000, max_image_pixels=1_000_000,
            header_timeout_s=1, body_timeout_s=1, grace_period_s=0,
        ) as service:  # fmt: skip
            for request, what, send in ROWS:
                response = send(service)
                # The id differs in every run, and the page would, too.
                shown = response.json()
                shown |= {"request_id": "…"} if "request_id" in shown else {}
                # That of a key counts the seconds until the next minute.
                is_rate = response.status_code == 429
                retry = "…" if is_rate else response.headers.get("retry-after")
                after = f"<br>`Retry-After: {retry}`" if retry else ""
                # A vertical bar would end the cell.
                body = json.dumps(shown, ensure_ascii=False).replace("|", "\\|")
                yield f"| {what} | {request} | {response.status_code}{after} | `{body}` |"


def main() -> None:
    """Print the page."""
    print("# Errors\n")
    print("Written by `python -m scripts.error_table` from the answers of running services.\n")
    print("| what | request | status | answer |\n|---|---|---|---|")
    for row in rows():
        print(row)
    print(
        "\nTwo more errors cannot be caused from outside, so tests inject them: `engine_failure` "
        "(500), when the engine fails on a request that runs alone "
        "(`tests/faults/test_poison.py`), and `internal_error` (500), when our own code fails "
        "(`tests/http/middleware/test_request_context.py`)."
    )


if __name__ == "__main__":
    main()
