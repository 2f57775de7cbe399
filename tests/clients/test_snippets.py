"""Every snippet of docs/clients.md runs, and shows what the picture contains."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.contract.examples import EXAMPLE_SCENE
from harness.requirements import require_programs
from harness.service import RunningService
from tests.clients.chat_clients import INFERENCE_SDK, KEY, NODE
from tests.clients.environments import node_folder, python_with
from tests.clients.matrix import PAGE

URL = "http://127.0.0.1:8000"
_SECTION = re.compile(r"## Clients of other projects\n(.*?)\n## ", re.DOTALL)
_BLOCK = re.compile(
    r"^### (?P<title>[^\n]+)$|^```(?P<language>\w+)\n(?P<text>.*?)^```", re.M | re.S
)
PACKAGES = {
    "OpenAI for Python": ["openai==3.57.0"],
    "huggingface_hub": ["huggingface_hub==2.4.0"],
    "LangChain": ["langchain-openai==1.7.4"],
    "Moondream": ["pillow"],
    "Roboflow": [INFERENCE_SDK],
}


@dataclass(frozen=True)
class Snippet:
    """A program of the page, and the heading above it."""

    title: str
    language: str
    text: str

    def with_service(self, url: str) -> str:
        """Return the program for a service that requires `KEY`."""
        return self.text.replace(URL, url).replace("your key", KEY)


def snippets() -> list[Snippet]:
    section = _SECTION.search(PAGE.read_text())
    assert section is not None
    found, title = [], ""
    for block in _BLOCK.finditer(section[1]):
        title = block["title"] or title
        if block["language"]:
            found.append(Snippet(title, block["language"], block["text"]))
    return found


def run_python(snippet: Snippet, program: str) -> list[str]:
    without = ["moondream==2.6.1"] if snippet.title == "Moondream" else []
    python = python_with(*PACKAGES[snippet.title], without_dependencies=without)
    return [str(python), "-c", program]


def run_node(snippet: Snippet, program: str) -> list[str]:
    folder = node_folder(NODE)
    file = folder / f"snippet_{snippet.title.replace(' ', '_')}.mjs"
    file.write_text(program)
    return ["node", str(file)]


def run_shell(_: Snippet, program: str) -> list[str]:
    require_programs("curl", "bash")
    return ["bash", "-euo", "pipefail", "-c", program]


RUNNERS: dict[str, Callable[[Snippet, str], list[str]]] = {
    "python": run_python,
    "js": run_node,
    "sh": run_shell,
}


def test_every_client_has_a_snippet() -> None:
    titles = {snippet.title for snippet in snippets()}
    assert titles >= PACKAGES.keys() | {"OpenAI for Node", "AI SDK", "SageMaker", "Vertex AI"}


@pytest.mark.parametrize(
    "snippet", snippets(), ids=[f"{s.title} {n}" for n, s in enumerate(snippets())]
)
def test_the_snippet_shows_the_picture(
    service: RunningService, guarded: RunningService, tmp_path: Path, snippet: Snippet
) -> None:
    """Shell commands need no key: platforms remove it, and bare pictures are shown without one."""
    shutil.copy(EXAMPLE_SCENE, tmp_path / "scene.jpg")
    url = (service if snippet.language == "sh" else guarded).url
    command = RUNNERS[snippet.language](snippet, snippet.with_service(url))
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "circle" in done.stdout or "blue" in done.stdout
