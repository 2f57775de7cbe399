"""Calls methods of both clients in the same way, with a script and a time."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from harness.scripted_service import FakeTime, Script
from kosmos2_client import AsyncKosmos2, Kosmos2

URL = "http://service/prefix/"

Use = Callable[..., Any]
"""Calls a method of a client with a script and a time, and returns what it returns."""


def use_sync(script: Script, time: FakeTime, method: str, *args: Any, **options: Any) -> Any:
    retries = options.pop("retries", None)
    transport = httpx.MockTransport(script)
    with Kosmos2(
        URL, "key", retries, transport=transport, clock=time.clock, sleep=time.advance
    ) as client:
        result = getattr(client, method)(*args, **options)
        return list(result) if method in {"ground_stream", "map_folder"} else result


def use_async(script: Script, time: FakeTime, method: str, *args: Any, **options: Any) -> Any:
    retries = options.pop("retries", None)

    async def sleep(seconds: float) -> None:
        time.advance(seconds)

    async def run() -> Any:
        transport = httpx.MockTransport(script)
        async with AsyncKosmos2(
            URL, "key", retries, transport=transport, clock=time.clock, sleep=sleep
        ) as client:
            result = getattr(client, method)(*args, **options)
            if method in {"ground_stream", "map_folder"}:
                return [item async for item in result]
            return await result

    return asyncio.run(run())
