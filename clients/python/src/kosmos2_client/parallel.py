"""Applies a function to many items, some at the same time, in threads or in tasks."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def in_threads(
    function: Callable[[A], B], items: Iterable[A], concurrency: int
) -> Generator[tuple[A, B], None, None]:
    """Yield items and results as they complete; items are read when a thread is free.

    Raises:
        Exception: the first one of `function`; calls that run already end first.
    """
    waiting, running = iter(items), dict[Future[B], A]()
    with ThreadPoolExecutor(concurrency) as threads:
        while True:
            for item in islice(waiting, concurrency - len(running)):
                running[threads.submit(function, item)] = item
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


async def in_tasks(
    function: Callable[[A], Awaitable[B]], items: Iterable[A], concurrency: int
) -> AsyncGenerator[tuple[A, B], None]:
    """Yield items and results as they complete; items are read when a task has ended.

    Raises:
        ValueError: the concurrency is below 1.
        Exception: the first one of `function`; it cancels the other calls.
    """
    if concurrency < 1:
        raise ValueError("the concurrency must be at least 1")
    waiting, running = iter(items), dict[asyncio.Future[B], A]()
    try:
        while True:
            for item in islice(waiting, concurrency - len(running)):
                running[asyncio.ensure_future(function(item))] = item
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()
        await asyncio.gather(*running, return_exceptions=True)
