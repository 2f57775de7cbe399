"""Builds the container image with buildah: needs root, but no Docker engine and no registry.

debootstrap makes the base image of the Dockerfile from the same Debian release; the public image is
made in the same way. Images are stored in .cache/image. Three environment variables apply:
TORCH_INDEX_URL is passed to the Dockerfile, STORAGE_DRIVER selects how buildah stores images, and
BUILDAH_LAYERS=true keeps each step for the next build.
"""

import ast
import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
STORAGE = ROOT / ".cache" / "image"
IMAGE = "localhost/kosmos2-server"

_BASE = re.compile(r"^FROM (?P<name>debian:(?P<release>\w+)-slim) ", re.MULTILINE)
_SETTING = re.compile(r"^(?P<place>[^.]+)\.(?P<name>[\w-]+)=(?P<value>.+)$", re.MULTILINE)
_PATH = re.compile(r"(?<![\w/])/[\w./-]+|(?<=file://)/[\w./-]+")
# The settings that locate packages; pip's other settings belong to the machine.
_OF_INDEXES = (
    "cert", "client-cert", "extra-index-url", "find-links", "index-url", "no-index", "proxy",
    "trusted-host",
)  # fmt: skip


def buildah(*arguments: str) -> str:
    """Run buildah and return its output, without the trailing newline.

    Raises:
        subprocess.CalledProcessError: buildah failed; its messages are on standard error.
    """
    locations = (f"--root={STORAGE / 'storage'}", f"--runroot={STORAGE / 'run'}")
    done = subprocess.run(["buildah", *locations, *arguments], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


def build_image() -> str:
    """Build the Dockerfile with the package indexes of this machine; return the image's name."""
    _make_base()
    with TemporaryDirectory(prefix="kosmos2-pip-") as folder:
        secret = Path(folder) / "pip.conf"
        volumes = _write_pip_settings(secret)
        buildah(
            "build", "--format=docker", "--isolation=chroot", "--pull-never",
            f"--build-arg=VERSION={_version()}", f"--build-arg=REVISION={_revision()}",
            f"--build-arg=TORCH_INDEX_URL={os.environ.get('TORCH_INDEX_URL', '')}",
            f"--build-arg=HEIC={os.environ.get('HEIC', '')}",
            f"--secret=id=pip,src={secret}", *(f"--volume={volume}" for volume in volumes),
            f"--tag={IMAGE}", str(ROOT),
        )  # fmt: skip
    return IMAGE


def _make_base() -> None:
    """Make the Dockerfile's base image, unless an earlier build has made it."""
    base = _BASE.search((ROOT / "Dockerfile").read_text())
    if base is None:
        raise ValueError("the Dockerfile must start FROM debian:RELEASE-slim")
    name = f"docker.io/library/{base['name']}"
    if buildah("images", "--quiet", "--filter", f"reference={name}"):
        return
    STORAGE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=STORAGE, prefix="base-") as folder:
        subprocess.run(
            ["debootstrap", "--variant=minbase", base["release"], folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        subprocess.run(["chroot", folder, "apt-get", "clean"], check=True)
        container = buildah("from", "scratch")
        buildah("copy", "--quiet", container, folder, "/")
        buildah("commit", "--quiet", "--rm", "--format=docker", container, name)


def _write_pip_settings(file: Path) -> list[str]:
    """Write the settings that locate packages to `file`; return the volumes to mount for them.

    The whole folder of a path is mounted, because an index keeps its files next to its pages.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    )
    folders: list[Path] = []

    def moved(match: re.Match[str]) -> str:
        path = Path(match[0])
        if path.parent not in folders:
            folders.append(path.parent)
        return f"/mnt/pip/{folders.index(path.parent)}/{path.name}"

    settings = configparser.ConfigParser(interpolation=None)
    settings["global"] = {
        name: _PATH.sub(moved, value) for name, value in _pip_settings(done.stdout).items()
    }
    with file.open("w") as stream:
        settings.write(stream)
    return [f"{folder}:/mnt/pip/{number}:ro" for number, folder in enumerate(folders)]


def _pip_settings(listed: str) -> dict[str, str]:
    r"""Return the settings that locate packages from `pip config list`; the environment wins.

    >>> _pip_settings(":env:.cert='/a.pem'\nglobal.cert='/b.pem'\nglobal.timeout='9'")
    {'cert': '/a.pem'}
    """
    # The last entry of a name wins in the dictionary below.
    found = sorted(_SETTING.findall(listed), key=lambda setting: setting[0] == ":env:")
    return {name: ast.literal_eval(value) for _, name, value in found if name in _OF_INDEXES}


def _version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def _revision() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
