"""The released clients that chat: how each is run, and what it shows of an answer."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.contract.examples import EXAMPLE_SCENE
from tests.clients.environments import node_folder, python_with

SCRIPTS = Path(__file__).parent / "foreign"
NODE = SCRIPTS / "node"
KEY = "the-key"
INFERENCE_SDK = "inference-sdk==1.8.3"
TIMEOUT_S = 300


def version_in_lock(package: str) -> str:
    """Return the version of a Node package that the lock file pins."""
    lock = json.loads((NODE / "package-lock.json").read_text())
    version: str = lock["packages"][f"node_modules/{package}"]["version"]
    return version


@dataclass(frozen=True)
class ForeignClient:
    """A released client.

    Attributes:
        command: returns the program and the script that runs the client.
        shows_boxes: of whole answers and of streams, those in which a user can read the boxes.
        shows_usage: whether a stream ends with the numbers of tokens.
    """

    name: str
    version: str
    command: Callable[[], Sequence[str]]
    shows_boxes: Sequence[str] = ("whole", "stream")
    shows_usage: bool = True

    def start(self, mode: str, url: str) -> "subprocess.Popen[str]":
        """Start the script; its standard output is JSON."""
        command = [*self.command(), mode, url, KEY, str(EXAMPLE_SCENE)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, mode: str, url: str) -> Any:
        """Return what the script prints."""
        return result_of(self.start(mode, url))


def result_of(process: "subprocess.Popen[str]") -> Any:
    """Return the JSON that a script prints."""
    with process:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    return json.loads(output)


def _python(script: str, *requirements: str, **options: Any) -> Callable[[], Sequence[str]]:
    return lambda: (str(python_with(*requirements, **options)), str(SCRIPTS / script))


def _node(script: str) -> Callable[[], Sequence[str]]:
    return lambda: ("node", str(node_folder(NODE) / script))


OPENAI = ForeignClient("openai (Python)", "3.57.0", _python("openai_client.py", "openai==3.57.0"))
OPENAI_NODE = ForeignClient("openai (Node)", version_in_lock("openai"), _node("openai.mjs"))
AI_SDK = ForeignClient(
    "ai, @ai-sdk/openai-compatible",
    f"{version_in_lock('ai')}, {version_in_lock('@ai-sdk/openai-compatible')}",
    _node("ai.mjs"),
    shows_boxes=("whole",),
)
HUB = ForeignClient(
    "huggingface_hub",
    "2.4.0",
    _python("hub_client.py", "huggingface_hub==2.4.0"),
    shows_usage=False,
)
LANGCHAIN = ForeignClient(
    "langchain-openai",
    "1.7.4",
    _python("langchain_client.py", "langchain-openai==1.7.4"),
    shows_boxes=(),
)
MOONDREAM = ForeignClient(
    "moondream",
    "2.6.1",
    # The package requires an engine for its own models, which its client does not import.
    _python("moondream_client.py", "pillow", without_dependencies=["moondream==2.6.1"]),
)
CHAT_CLIENTS = (OPENAI, OPENAI_NODE, AI_SDK, HUB, LANGCHAIN)
