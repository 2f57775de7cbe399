"""A picture is not blamed for what befalls the processes that open it."""

import asyncio
import signal

import psutil
import pytest

from app.errors import InvalidImage, Kosmos2Error, Unavailable
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from harness.pictures import picture_file
from harness.waiting import eventually

PICTURE = picture_file()


async def next_child(known: set[int]) -> psutil.Process:
    """A picture process that was not there before, as soon as it is."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        found[:] = [child for child in psutil.Process().children() if child.pid not in known]
        return bool(found)

    assert await asyncio.to_thread(eventually, is_there)
    return found[0]


async def decode_while_killed(signals: list[signal.Signals]) -> None:
    """Decode a picture; one process after the other that has it gets a signal."""
    before = {child.pid for child in psutil.Process().children()}
    async with PicturePool(Settings(picture_processes=1)) as pool:
        child = await next_child(before)
        child.suspend()  # so that the picture waits in its pipe
        decoding = asyncio.create_task(pool.decode(PICTURE))
        known = before | {child.pid}
        for number in signals[:-1]:
            child.send_signal(number)
            child.send_signal(signal.SIGCONT)
            child = await next_child(known)
            known.add(child.pid)
        child.send_signal(signals[-1])
        child.send_signal(signal.SIGCONT)
        try:
            assert (await decoding).width == 320
        finally:
            assert (await pool.decode(PICTURE)).width == 320


@pytest.mark.parametrize(
    ("signals", "error"),
    [
        ([signal.SIGKILL, signal.SIGKILL], Unavailable),
        ([signal.SIGTERM, signal.SIGTERM], Unavailable),
        ([signal.SIGSEGV, signal.SIGSEGV], InvalidImage),
        ([signal.SIGBUS, signal.SIGABRT], InvalidImage),
        ([signal.SIGXCPU], InvalidImage),
    ],
)
def test_who_killed_the_process_decides_what_is_said_of_the_picture(
    signals: list[signal.Signals], error: type[Kosmos2Error]
) -> None:
    """Its decoder's own failures are; what came from outside says: try again. None goes on."""
    with pytest.raises(error):
        asyncio.run(decode_while_killed(signals))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_one_death_costs_a_picture_nothing(number: signal.Signals) -> None:
    """The fault may be another's."""
    asyncio.run(decode_while_killed([number]))
