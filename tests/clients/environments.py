"""Environments of their own for released clients, which need other versions than this project.

An environment is kept below `build/clients`, so that only its first test waits for its packages.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "build" / "clients"

RunScript = Callable[..., Any]
"""Runs a script with arguments and returns the JSON that it prints."""


def environment(*requirements: str) -> Path:
    """Return the interpreter of an environment with `requirements`; create it if necessary."""
    key = json.dumps([sys.version, *sorted(requirements)]).encode()
    folder = ENVIRONMENTS / hashlib.sha256(key).hexdigest()[:16]
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    complete = folder / "complete"
    if not complete.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True, timeout=900)
        complete.touch()
    return python


def install(
    scripts: Path, *requirements: str, variables: Mapping[str, str] | None = None
) -> RunScript:
    """Return a runner of scripts in an environment with `requirements`; create it if necessary.

    Args:
        scripts: folder of the scripts.
        variables: added to the process's environment variables.
    """
    python = environment(*requirements)

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
