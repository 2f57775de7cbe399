"""Installs the packages of a lock file with npm, once per content of the file."""

import hashlib
import shutil
from pathlib import Path
from tempfile import mkdtemp

from harness.requirements import require_programs
from tests.clients.programs import run

CACHE = Path(__file__).parents[2] / ".cache" / "npm"
"""Outside of the source folders, because tests look through those."""
_FILES = ("package.json", "package-lock.json", ".npmrc")


def installed(source: Path) -> Path:
    """Return a folder with `node_modules` as the lock file in `source` names them."""
    require_programs("node", "npm")
    content = b"".join((source / name).read_bytes() for name in _FILES)
    target = CACHE / hashlib.sha256(content).hexdigest()[:16]
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(dir=CACHE))
        for name in _FILES:
            shutil.copy(source / name, folder)
        run("npm", "ci", "--no-audit", "--no-fund", cwd=folder)
        # In one step, so that an interrupted installation is not used later.
        folder.rename(target)
    return target


def run_installed(folder: Path, program: str, *arguments: str, cwd: Path) -> str:
    """Run a program of the packages in `folder`, and return what it prints."""
    return run(str(folder / "node_modules" / ".bin" / program), *arguments, cwd=cwd)
