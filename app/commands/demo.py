"""`kosmos2 demo`: starts a service, sends the example scene with every task, and stops it."""

import os

import httpx

from app.commands.plain_text import describe
from app.contract.examples import EMBEDDED_EXAMPLES, EXAMPLE_SCENE, Example
from app.settings import without_settings
from app.supervisor.child_service import child_service
from app.supervisor.ready_line import read_ready

_ANSWER_TIMEOUT_S = 120


def demonstrate() -> int:
    """Serve the embedded checkpoint on a free port and print the answer to each example.

    Returns:
        The service's exit code, or 1 if a request failed.
    """
    environment = without_settings(os.environ) | {"KOSMOS2_LOG_LEVEL": "warning"}
    with child_service(environment) as service:
        url = read_ready(service.stdout or ())
        # Without a URL, the service has already printed the reason.
        shown = [_show(url, e) for e in EMBEDDED_EXAMPLES] if url else [False]
    return service.returncode if all(shown) else 1


def _show(url: str, example: Example) -> bool:
    """Send a request and print it with its answer; return whether the request succeeded."""
    print(f"\n$ {example.curl(url, EXAMPLE_SCENE)}")
    response = httpx.post(
        f"{url}/v1/ground",
        files={"image": EXAMPLE_SCENE.read_bytes()},
        data=example.fields,
        timeout=_ANSWER_TIMEOUT_S,
        trust_env=False,  # the environment may name a proxy
    )
    print(describe(response.json()) if response.is_success else response.text)
    return response.is_success
