"""Faults of clients: garbage, half requests, slow senders, bursts, bodies over the limit."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from reliability.attempts import Attempt, Manner
from reliability.faults import Target
from reliability.questions import Question, oversized_question

_NUM_CONNECTIONS = 20
_NUM_SLOW = 5
_NUM_OVERSIZED = 3
# Shorter than the time limits of the service, so that the client is the one that disconnects.
_STAY_S = 2.0
_HEAD = b"POST /v1/ground HTTP/1.1\r\nHost: here\r\n"
_HALVES = (
    b"",
    b"PO",
    _HEAD,
    _HEAD + b"Content-Length: 500\r\n\r\nhalf",
    _HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 500\r\n\r\n--x\r\n",
    _HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n",
)


async def send_garbage(target: Target) -> bool:
    """Send bytes that are not HTTP."""
    return await _connect_often(target, lambda: target.rng.randbytes(target.rng.randrange(1, 4096)))


async def send_half_requests(target: Target) -> bool:
    """Send requests that stop in the middle, and close their connections a little later."""
    return await _connect_often(target, lambda: target.rng.choice(_HALVES))


async def send_slow_bodies(target: Target) -> bool:
    """Send bodies more slowly than the service allows."""
    return await _send_at_once(target, target.probe, _NUM_SLOW, "sends_slowly")


async def send_burst(target: Target) -> bool:
    """Send more requests at once than the service accepts."""
    return await _send_at_once(target, target.probe, target.state.capacity * 3 // 2)


async def send_oversized_bodies(target: Target) -> bool:
    """Send bodies over the size limit."""
    return await _send_at_once(target, oversized_question(target.max_body_bytes), _NUM_OVERSIZED)


async def _send_at_once(
    target: Target, question: Question, count: int, manner: Manner = "patient"
) -> bool:
    async with asyncio.TaskGroup() as requests:
        for _ in range(count):
            name = f"crowd-{next(target.numbers)}"
            requests.create_task(target.send(Attempt(name, question, manner=manner)))
    return True


async def _connect_often(target: Target, content: Callable[[], bytes]) -> bool:
    async with asyncio.TaskGroup() as connections:
        for _ in range(_NUM_CONNECTIONS):
            connections.create_task(_send_and_disconnect(target.client.url, content()))
    return True


async def _send_and_disconnect(url: str, content: bytes) -> None:
    """Send bytes and disconnect; any answer is fine, because the bytes are not a request."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(content)
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(_STAY_S):
            await writer.drain()
            await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
