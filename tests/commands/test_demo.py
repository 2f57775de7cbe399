"""`kosmos2 demo` shows the embedded checkpoint, and ignores settings in the environment."""

import os
import subprocess
import sys

import pytest

from app.contract.examples import EMBEDDED_EXAMPLES

SETTINGS = {
    "KOSMOS2_MODEL": "missing",
    "KOSMOS2_API_KEYS": "key",
    "HTTP_PROXY": "http://127.0.0.1:1",
}


@pytest.mark.processes
def test_settings_and_proxies_of_the_environment_do_not_matter() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.commands.cli", "demo"],
        env=os.environ | SETTINGS,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("$ curl") == len(EMBEDDED_EXAMPLES)
