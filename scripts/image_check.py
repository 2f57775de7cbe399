"""Builds the container image, runs its entry point, sends a request, and reports its contents.

    sudo python -m scripts.image_check

The image runs as under an orchestrator: with its own user, entry point and environment, a read-only
root file system, and memory at /tmp and at its volumes. The script prints one line of JSON; the
output of other programs is on standard error.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import psutil

from harness.deployment import free_address
from harness.waiting import eventually
from scripts.image_build import ROOT, build_image, buildah

SCENE = ROOT / "app" / "demo" / "scenes" / "red_circle.png"
START_TIMEOUT_S = 300
STANDARD_ERROR = 2
PROGRAMS = ("buildah", "debootstrap")
BUILD_TOOLS = ("cc", "gcc", "g++", "c++", "ld", "make", "pip", "pip3", "git", "curl", "wget")

# $1: the image's root; $2: its user; $3: its volumes, one per line; then its command.
_CONTAIN = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
for volume in /tmp $3; do mount -t tmpfs -o mode=1777 tmpfs "$1$volume"; done
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
root=$1 user=$2
shift 3
exec chroot --userspec="$user" "$root" /usr/bin/env --ignore-environment "$@"
"""


@dataclass(frozen=True)
class Report:
    """The findings.

    Attributes:
        size_bytes: of the image's files.
        folders: the largest ones, with their sizes in bytes.
        build_tools: programs that build or fetch others.
        weights: files of model weights, with their sizes in bytes.
        user: of the processes.
        ready_s: from the start to the first success of the image's own health check.
        text: the answer to a picture of a red circle.
        exit_code: after the image's stop signal.
        stop_s: from the stop signal to the exit.
    """

    size_bytes: int
    folders: dict[str, int]
    build_tools: list[str]
    weights: dict[str, int]
    user: str
    labels: dict[str, str]
    ready_s: float
    text: str
    exit_code: int
    stop_s: float


class Container:
    """A started image.

    Args:
        root: the folder with the image's files.
        config: the image's configuration in Docker's format.
        port: to listen on.
    """

    def __init__(self, root: Path, config: Mapping[str, Any], port: int) -> None:
        self._root, self._config = root, config
        self.url = f"http://127.0.0.1:{port}"
        self._environment = [*config["Env"], "KOSMOS2_HOST=127.0.0.1", f"KOSMOS2_PORT={port}"]
        self._runtime = self._start(*config["Entrypoint"], *config["Cmd"])

    def is_healthy(self) -> bool:
        """Return whether the image's own health check succeeds.

        Raises:
            RuntimeError: the image has exited.
        """
        if self._runtime.poll() is not None:
            raise RuntimeError(f"the image exited with {self._runtime.returncode}")
        check = self._start(*self._config["Healthcheck"]["Test"][1:], output=subprocess.DEVNULL)
        return check.wait() == 0

    def stop(self) -> int:
        """Send the image's stop signal to its process 1 and return the exit code."""
        # The runtime is `unshare`; its only child is process 1 of the image.
        (first,) = psutil.Process(self._runtime.pid).children()
        first.send_signal(signal.Signals[self._config["StopSignal"]])
        return self._runtime.wait()

    def kill(self) -> None:
        """Kill the image unless it has exited."""
        if self._runtime.poll() is None:
            self._runtime.kill()
            self._runtime.wait()

    def _start(self, *command: str, output: int = STANDARD_ERROR) -> subprocess.Popen[bytes]:
        volumes = "\n".join(self._config["Volumes"])
        contained = (str(self._root), self._config["User"], volumes, *self._environment, *command)
        namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        contain = (*namespaces, "sh", "-c", _CONTAIN, "sh")
        return subprocess.Popen([*contain, *contained], stdout=output, stderr=output)


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """Mount the image's files for the duration of the block."""
    container = buildah("from", "--pull-never", image)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)


def check_image() -> Report:
    """Build the image, run it, send a request and report the findings.

    Raises:
        subprocess.CalledProcessError: the build failed.
        RuntimeError: the image exited while it started.
        TimeoutError: the image did not become ready.
        httpx.HTTPError: the image did not answer.
    """
    image = build_image()
    config = json.loads(buildah("inspect", "--type=image", image))["Docker"]["config"]
    with mounted(image) as root:
        return Report(**_contents(root), **_behaviour(root, config), labels=config["Labels"])


def _contents(root: Path) -> dict[str, Any]:
    # An absolute link would refer to a file of this machine instead of the image.
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    sizes = {path: path.stat().st_size for path in files}
    folders: dict[str, int] = {}
    for path, size in sizes.items():
        for folder in path.relative_to(root).parents:
            folders[f"/{folder}"] = folders.get(f"/{folder}", 0) + size
    largest = sorted(folders, key=folders.__getitem__, reverse=True)[:30]
    return {
        "size_bytes": sum(sizes.values()),
        "folders": {folder: folders[folder] for folder in largest},
        "build_tools": sorted({p.name for p in files if p.name in BUILD_TOOLS and os.access(p, 1)}),
        "weights": {
            f"/{path.relative_to(root)}": size
            for path, size in sizes.items()
            if path.suffix in {".safetensors", ".pt", ".onnx", ".ckpt"}
        },
    }


def _behaviour(root: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    began = monotonic()
    container = Container(root, config, int(free_address().rpartition(":")[2]))
    try:
        if not eventually(container.is_healthy, START_TIMEOUT_S):
            raise TimeoutError("the image did not become ready")
        ready_s = monotonic() - began
        text = _send_request(container.url)
        stopping = monotonic()
        exit_code = container.stop()
        stop_s = monotonic() - stopping
    finally:
        container.kill()
    return {
        "user": config["User"],
        "ready_s": round(ready_s, 1),
        "text": text,
        "exit_code": exit_code,
        "stop_s": round(stop_s, 1),
    }


def _send_request(url: str) -> str:
    response = httpx.post(
        f"{url}/v1/ground",
        files={"image": SCENE.read_bytes()},
        data={"task": "brief_caption"},
        timeout=60,
    ).raise_for_status()
    text: str = response.json()["text"]
    return text


def main() -> None:
    """Print the report; name the programs that are missing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; apt install {' '.join(PROGRAMS)}")
    print(json.dumps(asdict(check_image())))


if __name__ == "__main__":
    main()
