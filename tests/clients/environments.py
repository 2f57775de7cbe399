"""Environments of released clients below `build/clients`, made once per set of requirements."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.requirements import require_programs

BUILD = Path(__file__).parents[2] / "build" / "clients"
INSTALL_TIMEOUT_S = 900
RunScript = Callable[..., Any]
"""Runs a script with arguments and returns the JSON that it prints."""


def python_with(*requirements: str, without_dependencies: Sequence[str] = ()) -> Path:
    """Return the interpreter of an environment with packages.

    Args:
        requirements: such as `openai==3.57.0`.
        without_dependencies: packages whose dependencies the client does not need.
    """

    def build(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        pip = [str(_python_of(folder)), "-m", "pip", "install", "--quiet"]
        pip.append("--disable-pip-version-check")
        for packages in ([*requirements], ["--no-deps", *without_dependencies]):
            if packages[-1] != "--no-deps":
                subprocess.run([*pip, *packages], check=True, timeout=INSTALL_TIMEOUT_S)

    return _python_of(_built("python", (*requirements, *without_dependencies), build))


def install(
    scripts: Path, *requirements: str, variables: Mapping[str, str] | None = None
) -> RunScript:
    """Return a runner of scripts in an environment with `requirements`; create it if necessary.

    Args:
        scripts: folder of the scripts.
        variables: added to the process's environment variables.
    """
    python = python_with(*requirements)

    def run(script: str, *arguments: str) -> Any:
        result = subprocess.run(
            [str(python), str(scripts / script), *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=dict(os.environ) | dict(variables or {}),
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def node_folder(source: Path) -> Path:
    """Return a copy of a folder of Node programs with the packages of its lock file."""
    require_programs("node", "npm")

    def build(folder: Path) -> None:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules"))
        command = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_TIMEOUT_S)

    folder = _built("node", ((source / "package-lock.json").read_text(),), build)
    for program in source.glob("*.mjs"):
        shutil.copy(program, folder)
    return folder


def _built(kind: str, requirements: Sequence[str], build: Callable[[Path], None]) -> Path:
    """Return the folder of an environment; a build that was interrupted is repeated."""
    facts = "\n".join((sys.version, *requirements))
    folder = BUILD / f"{kind}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    mark = folder.with_suffix(".complete")
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        build(folder)
        mark.touch()
    return folder


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
