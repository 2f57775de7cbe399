"""Builds the container image with buildah: no Docker engine, no registry of images, but root.

What stands in for the Dockerfile's base is made by debootstrap from the same Debian release; the
public image is made in the same way. Images lie under .cache/image. Of the environment,
TORCH_INDEX_URL is handed to the Dockerfile, STORAGE_DRIVER says how buildah stores images, and
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
# Where pip finds packages; its other settings belong to the machine.
_OF_INDEXES = (
    "cert", "client-cert", "extra-index-url", "find-links", "index-url", "no-index", "proxy",
    "trusted-host",
)  # fmt: skip


def buildah(*arguments: str) -> str:
    """Run buildah; its output, without the line's end.

    Raises:
        subprocess.CalledProcessError: it failed; what it said is on standard error.
    """
    places = (f"--root={STORAGE / 'storage'}", f"--runroot={STORAGE / 'run'}")
    done = subprocess.run(["buildah", *places, *arguments], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


def build_image() -> str:
    """Build the Dockerfile with what pip is configured to use here; the image's name."""
    _make_base()
    with TemporaryDirectory(prefix="kosmos2-pip-") as folder:
        secret = Path(folder) / "pip.conf"
        volumes = _write_pip_settings(secret)
        buildah(
            "build", "--format=docker", "--isolation=chroot", "--pull-never",
            f"--build-arg=VERSION={_version()}", f"--build-arg=REVISION={_revision()}",
            f"--build-arg=TORCH_INDEX_URL={os.environ.get('TORCH_INDEX_URL', '')}",
            f"--secret=id=pip,src={secret}", *(f"--volume={volume}" for volume in volumes),
            f"--tag={IMAGE}", str(ROOT),
        )  # fmt: skip
    return IMAGE


def _make_base() -> None:
    """An image of the Dockerfile's base, unless there is one from an earlier build."""
    base = _BASE.search((ROOT / "Dockerfile").read_text())
    if base is None:
        raise ValueError("the Dockerfile's base is none that debootstrap could make")
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
    """Write where pip finds packages here; what of this machine has to be mounted for that.

    A path is mounted by its folder, since an index keeps its files beside its pages.
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
    r"""Of what `pip config list` tells, where packages are found; the environment comes first.

    >>> _pip_settings(":env:.cert='/a.pem'\nglobal.cert='/b.pem'\nglobal.timeout='9'")
    {'cert': '/a.pem'}
    """
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
