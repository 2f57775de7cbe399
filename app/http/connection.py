"""Ties work and resources to the connection of a request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from app.errors import ClientDisconnected

T = TypeVar("T")


async def _lifetime() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


Lifetime = Annotated[AsyncExitStack, Depends(_lifetime, scope="request")]
"""A stack that closes after the last byte of the response, or with the error that prevented it."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Return the result of `work`; cancel `work` as soon as the client disconnects.

    Raises:
        ClientDisconnected: the client disconnected before `work` was done.
    """
    task = asyncio.ensure_future(work)
    disconnected = asyncio.ensure_future(_until_disconnected(request))
    try:
        await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        task.cancel()
        disconnected.cancel()
        # Wait until both have ended, so that nothing of the work outlives the request.
        await asyncio.gather(task, disconnected, return_exceptions=True)


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
