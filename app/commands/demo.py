"""`kosmos2 demo`: starts a service, sends the example scene with every task, and stops it."""

import os
import signal
import subprocess
import sys

import httpx

from app.commands.plain_text import describe
from app.contract.examples import EMBEDDED_EXAMPLES, EXAMPLE_SCENE, Example
from app.supervisor.ready_line import read_ready

_ANSWER_TIMEOUT_S = 120


def demonstrate() -> int:
    """Serve the embedded checkpoint on a free port and print the answer to each example.

    Returns:
        The service's exit code, or 1 if a request failed.
    """
    command = [sys.executable, "-m", "app.commands.cli", "serve", "--port", "0"]
    quiet = {**os.environ, "KOSMOS2_LOG_LEVEL": "warning"}
    with subprocess.Popen(  # noqa: S603 - our own module, no user input
        command, env=quiet, stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            url = read_ready(service.stdout or ())
            # Without a URL, the service has already printed the reason.
            shown = [_show(url, e) for e in EMBEDDED_EXAMPLES] if url else [False]
        finally:
            # Unlike SIGTERM, SIGINT skips the drain delay, which only load balancers need.
            service.send_signal(signal.SIGINT)
        exit_code = service.wait()
    return exit_code if all(shown) else 1


def _show(url: str, example: Example) -> bool:
    """Send a request and print it with its answer; return whether the request succeeded."""
    print(f"\n$ {example.curl(url, EXAMPLE_SCENE)}")
    response = httpx.post(
        f"{url}/v1/ground",
        files={"image": EXAMPLE_SCENE.read_bytes()},
        data=example.fields,
        timeout=_ANSWER_TIMEOUT_S,
    )
    print(describe(response.json()) if response.is_success else response.text)
    return response.is_success
