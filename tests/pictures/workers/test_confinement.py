"""A hijacked decoder cannot use files, the network or programs."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.errors import RequestError
from app.pictures.decode import decode_picture
from app.pictures.marks import Mark
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from harness.formats import ALL_FILES
from harness.picture_files import other_pictures, tiff_pictures
from harness.pictures import picture_file

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="the system confines no process"),
    pytest.mark.filterwarnings("ignore:::PIL"),
]

PICTURE_PROCESS = "app.pictures.workers.process"

ATTEMPTS = """
import json, mmap, os, resource, signal, socket, subprocess, sys
from app.pictures.workers import confinement

def attempt(act):
    try:
        act()
    except OSError as error:
        return error.strerror
    except ValueError as error:
        return str(error)
    return "done"

def connect():
    with socket.socket() as client:
        client.connect(("127.0.0.1", int(sys.argv[2])))

inherited = socket.socket()
held = getattr(confinement, sys.argv[1])()
print(json.dumps({
    "held": bool(held),
    "read": attempt(lambda: open(confinement.__file__)),
    "write": attempt(lambda: open("planted", "w")),
    "list": attempt(lambda: os.listdir("/")),
    "remove": attempt(lambda: os.unlink("planted")),
    "exec": attempt(lambda: os.execv(sys.executable, [sys.executable, "--version"])),
    "connect": attempt(connect),
    "connect inherited": attempt(lambda: inherited.connect(("127.0.0.1", int(sys.argv[2])))),
    "datagram": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
    "signal": attempt(lambda: os.kill(os.getppid(), 0)),
    "more memory": attempt(lambda: resource.setrlimit(resource.RLIMIT_DATA, (1, 1))),
    "new code": attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)),
    "fork": attempt(lambda: os.fork() or os._exit(0)),
}))
"""
NOT_PERMITTED = "Operation not permitted"
DENIED = "Permission denied"
REFUSED_BY_LANDLOCK = ("read", "write", "list", "exec")


def outcomes(function: str, folder: Path) -> dict[str, str]:
    """Return the outcomes of all attempts in a process that confines itself first."""
    command = [sys.executable, "-c", ATTEMPTS, function, "9"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    found: dict[str, str] = json.loads(result.stdout)
    if not found.pop("held"):
        pytest.skip("the kernel has no such thing")
    return found


def test_with_seccomp_alone_every_attempt_fails(tmp_path: Path) -> None:
    """Kernels without Landlock are common."""
    (tmp_path / "planted").touch()
    found = outcomes("filter_calls", tmp_path)
    memory = found.pop("more memory")
    assert memory in (NOT_PERMITTED, "not allowed to raise maximum limit")
    assert set(found.values()) == {NOT_PERMITTED}


def test_with_landlock_alone_paths_and_tcp_are_denied(tmp_path: Path) -> None:
    """A container may forbid seccomp."""
    found = outcomes("restrict_paths", tmp_path)
    assert {name: found[name] for name in REFUSED_BY_LANDLOCK} == dict.fromkeys(
        REFUSED_BY_LANDLOCK, DENIED
    )


def test_a_picture_process_is_confined() -> None:
    """The kernel reports it for each thread, and the process reports it itself."""

    async def use() -> None:
        async with PicturePool(Settings(picture_processes=1)) as pool:
            abilities = pool.abilities
            # Services that other tests share are children of this process, too.
            children = psutil.Process().children()
            [child] = [child for child in children if PICTURE_PROCESS in child.cmdline()]
            for thread in child.threads():
                status = Path(f"/proc/{child.pid}/task/{thread.id}/status").read_text()
                assert ("Seccomp:\t2" in status) == abilities.seccomp
                assert "NoNewPrivs:\t1" in status
            assert len(child.threads()) == 1

    asyncio.run(use())


async def confined(pool: PicturePool, data: bytes) -> bytes | str:
    """Return the model's pixels from a picture process, or its error message."""
    try:
        return (await pool.decode(data)).pixels
    except RequestError as error:
        return str(error)


def unconfined(data: bytes) -> bytes | str:
    """Return the model's pixels from this process, or its error message."""
    try:
        return decode_picture(data, max_pixels=10**6).pixels
    except RequestError as error:
        return str(error)


def test_a_confined_process_reads_and_draws_like_an_unconfined_one() -> None:
    """The test covers every format, and every kind of label and file: nothing is loaded late.

    The boxes are equal, so that no place next to them remains for some of the labels.
    """
    files = [*ALL_FILES.values(), *(file.data for file in tiff_pictures(step=150))]
    files += [file.data for file in list(other_pictures())[::9]]
    labels = ["plain", "قطة", "猫", "แมว", "☺ 🐈", None]
    marks = [Mark(label, ((10.0, 10.0, 90.0, 90.0),) * 4, (0.5,) * 4) for label in labels]

    async def use() -> None:
        async with PicturePool(Settings(picture_processes=1, max_image_pixels=10**6)) as pool:
            for data in files:
                assert await confined(pool, data) == unconfined(data)
            for media_type in ("image/png", "image/jpeg", "image/webp"):
                assert await pool.draw(picture_file(), marks, media_type, "pixel")

    asyncio.run(use())
