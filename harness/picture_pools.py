"""Runs tests with a pool of picture processes, and finds those processes."""

import asyncio
from collections.abc import Awaitable, Callable

import psutil

from app.pictures.workers import process
from app.pictures.workers.pool import PicturePool
from app.settings import Settings


def with_pool(
    use: Callable[[PicturePool], Awaitable[None]], num_processes: int = 1, max_pixels: int = 10**7
) -> None:
    """Run a test function with a pool of processes."""

    async def run() -> None:
        settings = Settings(picture_processes=num_processes, max_image_pixels=max_pixels)
        async with PicturePool(settings) as pool:
            await use(pool)

    asyncio.run(run())


def children() -> list[psutil.Process]:
    """Return the running picture processes, without other programs that tests share."""
    return [child for child in psutil.Process().children() if opens_pictures(child)]


def opens_pictures(child: psutil.Process) -> bool:
    """Return whether a process is a picture process, by its command line."""
    try:
        return process.__name__ in child.cmdline()
    except psutil.NoSuchProcess:  # the process has just exited
        return False
