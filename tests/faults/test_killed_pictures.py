"""Picture processes that are killed: which errors count as errors of the picture."""

import asyncio
import signal
from contextlib import suppress

import psutil
import pytest

from app.errors import InvalidImage, Kosmos2Error, Unavailable
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from harness.pictures import picture_file
from harness.waiting import eventually

PICTURE = picture_file()


async def next_child(known: set[int]) -> psutil.Process:
    """Wait for a picture process that is not in `known`, and return it."""
    found: list[psutil.Process] = []

    def has_started() -> bool:
        found[:] = [child for child in psutil.Process().children() if child.pid not in known]
        return bool(found)

    assert await asyncio.to_thread(eventually, has_started)
    return found[0]


def end(child: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a suspended process, and let it act on it."""
    child.send_signal(number)
    # SIGKILL acts at once, so the process may have ended already.
    with suppress(psutil.NoSuchProcess):
        child.send_signal(signal.SIGCONT)


async def decode_while_killed(signals: list[signal.Signals]) -> None:
    """Decode a picture, and send a signal to each process in turn that decodes it."""
    before = {child.pid for child in psutil.Process().children()}
    async with PicturePool(Settings(picture_processes=1)) as pool:
        child = await next_child(before)
        child.suspend()  # so that the picture waits in its pipe
        decoding = asyncio.create_task(pool.decode(PICTURE))
        known = before | {child.pid}
        for number in signals[:-1]:
            end(child, number)
            child = await next_child(known)
            known.add(child.pid)
        end(child, signals[-1])
        try:
            assert (await decoding).width == 320
        finally:
            # The pool has started a new process, so the next picture is decoded in any case.
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
def test_the_signal_that_ends_two_processes_determines_the_error(
    signals: list[signal.Signals], error: type[Kosmos2Error]
) -> None:
    """Crashes of the decoder are errors of the picture; signals from outside are not."""
    with pytest.raises(error):
        asyncio.run(decode_while_killed(signals))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_picture_is_decoded_after_one_death_of_its_process(number: signal.Signals) -> None:
    """One death may have another cause, so the picture is tried once more."""
    asyncio.run(decode_while_killed([number]))
