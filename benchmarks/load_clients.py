"""Processor time of the load generator per request: aiohttp, which it uses, against httpx.

    python -m benchmarks.load_clients [--rounds N] [--requests N]

32 clients in a closed loop send a form with a picture of 12 kB to a server in another process that
answers at once. The clients alternate, so that other work on the machine slows each of them down.
The figures count processor time only; they are printed, not stored.
"""

import argparse
import asyncio
import json
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing.connection import Connection
from statistics import median

import aiohttp
import httpx

from app.bench.client import load_client
from app.bench.workload import LoadRequest

CONCURRENCY = 32
FIELDS = {"task": "phrase_grounding", "text": "a red circle"}
PICTURE = bytes(range(256)) * 48  # 12 kB
ANSWER = json.dumps({"text": "a red circle", "entities": [], "filler": "x" * 900}).encode()

SendOnce = Callable[[], Awaitable[None]]
OpenClient = Callable[[str], AbstractAsyncContextManager[SendOnce]]


async def _answer_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n"
    response = head.encode() + b"\r\n" + ANSWER
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            length = next(line for line in lines if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(response)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _serve(port_to: Connection) -> None:
    async def run() -> None:
        server = await asyncio.start_server(_answer_at_once, "127.0.0.1", 0)
        port_to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@asynccontextmanager
async def _open_load_client(url: str) -> AsyncIterator[SendOnce]:
    """Yield `app.bench`'s own client: aiohttp, the form encoded once."""
    request = LoadRequest(PICTURE, FIELDS)
    async with load_client(url) as client:

        async def send() -> None:
            assert (await client.send(request)).code is None  # noqa: S101

        yield send


@asynccontextmanager
async def _open_aiohttp_form(url: str) -> AsyncIterator[SendOnce]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send() -> None:
            form = aiohttp.FormData(FIELDS, default_to_multipart=True)
            form.add_field("image", PICTURE, filename="picture")
            async with session.post(f"{url}/v1/ground", data=form) as response:
                await response.json()

        yield send


def _httpx_client() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    # `trust_env` would read the environment, which may name a proxy.
    return httpx.AsyncClient(limits=limits, timeout=150, trust_env=False)


@asynccontextmanager
async def _open_httpx_form(url: str) -> AsyncIterator[SendOnce]:
    async with _httpx_client() as client:

        async def send() -> None:
            files = {"image": ("picture", PICTURE)}
            response = await client.post(f"{url}/v1/ground", data=FIELDS, files=files)
            response.raise_for_status().json()

        yield send


@asynccontextmanager
async def _open_httpx_bytes(url: str) -> AsyncIterator[SendOnce]:
    form = httpx.Request("POST", url, data=FIELDS, files={"image": ("picture", PICTURE)})
    body, headers = form.read(), {"Content-Type": form.headers["Content-Type"]}
    async with _httpx_client() as client:

        async def send() -> None:
            response = await client.post(f"{url}/v1/ground", content=body, headers=headers)
            response.raise_for_status().json()

        yield send


CLIENTS: dict[str, OpenClient] = {
    "httpx, form": _open_httpx_form,
    "httpx, form encoded once": _open_httpx_bytes,
    "aiohttp, form": _open_aiohttp_form,
    "aiohttp, form encoded once (app.bench)": _open_load_client,
}


async def _seconds_per_request(open_client: OpenClient, url: str, num_requests: int) -> float:
    async with open_client(url) as send:

        async def run_client(count: int) -> None:
            for _ in range(count):
                await send()

        async def run_all(count: int) -> None:
            await asyncio.gather(*(run_client(count) for _ in range(CONCURRENCY)))

        await run_all(2)  # opens the connections
        per_client = max(1, num_requests // CONCURRENCY)
        began = time.process_time()
        await run_all(per_client)
        return (time.process_time() - began) / (per_client * CONCURRENCY)


def main() -> None:
    """Measure each client in alternating rounds and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1600)
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    receiving, sending = spawn.Pipe(duplex=False)
    server = spawn.Process(target=_serve, args=(sending,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{receiving.recv()}"
    measured: dict[str, list[float]] = {name: [] for name in CLIENTS}
    for _ in range(arguments.rounds):
        for name, open_client in CLIENTS.items():
            seconds = asyncio.run(_seconds_per_request(open_client, url, arguments.requests))
            measured[name].append(seconds)
    server.terminate()
    reference = median(measured["aiohttp, form encoded once (app.bench)"])
    for name, seconds_of_rounds in measured.items():
        low, middle, high = (
            1000 * f(seconds_of_rounds)
            for f in (min, median, max)  # ms
        )
        ratio = middle / 1000 / reference
        print(f"{name:<40} {middle:.2f} ms ({low:.2f} to {high:.2f}), {ratio:.1f} times")


if __name__ == "__main__":
    main()
