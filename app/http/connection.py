"""The connection of a request: what lasts as long as it, and what ends with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from app.errors import ClientLeft

T = TypeVar("T")


async def _lifetime() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


Lifetime = Annotated[AsyncExitStack, Depends(_lifetime, scope="request")]
"""Left when the last byte of the response has been sent, or with the error that prevented it."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Wait for `work`; cancel it as soon as the client has left.

    Raises:
        ClientLeft: it has.
    """
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_disconnected(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return task.result()
    finally:
        task.cancel()
        leaving.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
