"""The documents are correct: links, commands, settings, tasks, and the README's own request."""

import doctest
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.commands.cli import cli
from app.grounding.tasks import TASKS, Use
from harness.requirements import require_programs
from harness.service import running_service
from kosmos2_client import cli as client_cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
REQUESTS = (ROOT / "docs" / "requests.md").read_text()
FOLDERS = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
INSTALLED = {"build", "node_modules"}
"""Names of folders with files of other projects."""

DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(
        file
        for folder in FOLDERS
        for file in folder.rglob("*.md")
        if not INSTALLED & set(file.relative_to(ROOT).parts)
    ),
]

CLIENT = ROOT / "clients" / "python" / "src"
PACKAGES = (
    *(
        ROOT / name
        for name in ("app", "benchmarks", "harness", "reliability", "scripts", "training")
    ),
    CLIENT / "kosmos2_client",
)
MODULES_WITH_EXAMPLES = [
    ".".join(file.relative_to(package.parent).with_suffix("").parts)
    for package in PACKAGES
    for file in sorted(package.rglob("*.py"))
    if ">>> " in file.read_text()
]

ACTIONS = re.compile(r"\.\./\.\./actions/workflows/([\w-]+\.yml)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(
    r"(?:app|benchmarks|deploy|docs|harness|reliability|results|scripts|tests|training)/[\w./-]*"
)
CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
REQUEST = re.compile(r"^```sh\n(curl [^\n]+)\n```\n\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
TASK = re.compile(r"^\| `(\w+)` \| (.*?)\|", re.MULTILINE)


def code_lines(document: Path) -> Iterator[str]:
    """Yield every line in a code block of a document, and every code span."""
    for block, piece in CODE.findall(document.read_text()):
        yield from (block or piece).splitlines()


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def is_broken(document: Path, link: str) -> bool:
    """Return whether a link within this project has no target."""
    if re.match(r"\w+:", link):
        return False
    # Relative to a page on GitHub, this is the status of a workflow.
    if workflow := ACTIONS.match(link):
        return not (ROOT / ".github" / "workflows" / workflow[1]).is_file()
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    return not target.exists() or bool(anchor and anchor not in anchors(target))


def structure(value: Any) -> Any:
    """Return a value with types in place of values; the first element represents a list."""
    if isinstance(value, dict):
        return {key: structure(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [structure(inner) for inner in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_has_a_target(document: Path) -> None:
    """Links to other hosts are not followed, because tests make no connections."""
    assert [link for link in LINK.findall(document.read_text()) if is_broken(document, link)] == []


def test_every_file_in_the_documents_exists() -> None:
    """A path to a removed file misleads readers."""
    lines = [line for document in DOCUMENTS for line in code_lines(document)]
    named = {line for line in lines if PATH.fullmatch(line)}
    assert "app/commands/cli.py" in named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_part_of_the_package_is_in_the_architecture_page() -> None:
    """A reader of ARCHITECTURE.md must find every folder."""
    parts = {f"app/{path.name}/" for path in (ROOT / "app").iterdir() if path.is_dir()}
    parts |= {f"app/{path.name}" for path in (ROOT / "app").glob("*.py")}
    named = set(code_lines(ROOT / "ARCHITECTURE.md"))
    assert sorted(parts - named - {"app/__init__.py", "app/__pycache__/"}) == []


def test_every_make_target_in_the_documents_exists() -> None:
    """Readers copy the commands."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [line for document in DOCUMENTS for line in code_lines(document)]
    named = {name for line in lines for name in re.findall(r"\bmake ([a-z][a-z-]*)", line)}
    assert {"run", "test"} <= named <= targets


def test_every_command_and_option_in_the_documents_exists() -> None:
    """Readers copy the commands."""
    commands = {
        name: {"--help", *(option for parameter in command.params for option in parameter.opts)}
        for name, command in get_command(cli).commands.items()
    }
    lines = [line for document in DOCUMENTS for line in code_lines(document)]
    used = [use for line in lines for use in re.findall(r"(?:^|/)kosmos2 ([a-z]+)(.*)", line)]
    assert {"serve", "ground"} <= {name for name, _ in used} <= commands.keys()
    unknown = [
        (name, option)
        for name, rest in used
        for option in re.findall(r"--[a-z][a-z0-9-]*", rest)
        if option not in commands[name]
    ]
    assert unknown == []


def test_every_command_and_option_of_the_client_in_the_documents_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Readers copy the commands."""
    lines = [line for document in DOCUMENTS for line in code_lines(document)]
    command = re.compile(r"(?:^|/)kosmos2-client ([a-z-]+)(.*)")
    used = [use for line in lines for use in command.findall(line)]
    assert "batch" in {name for name, _ in used}
    for name, rest in used:
        with pytest.raises(SystemExit, match="0"):
            client_cli.main([name, "--help"])
        known = set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))
        assert set(re.findall(r"--[a-z][a-z0-9-]*", rest)) <= known, name


@pytest.mark.parametrize("module", MODULES_WITH_EXAMPLES)
def test_the_examples_in_docstrings_are_correct(module: str) -> None:
    """A wrong example is worse than no example."""
    if module == "benchmarks.openvino_model":
        pytest.importorskip("nncf", reason="of the extra `bench`")
    results = doctest.testmod(import_module(module))
    assert results.attempted > 0
    assert results.failed == 0


def test_the_tasks_in_the_readme_are_those_there_are() -> None:
    """All of them, with the fields that each takes."""
    table = README[README.index("## Tasks") : README.index("## Status")]
    told = {name: ("`text`" in needs, "`regions`" in needs) for name, needs in TASK.findall(table)}
    taken = {
        task.name: (task.text is not Use.REFUSED, task.regions is not Use.REFUSED)
        for task in TASKS.values()
    }
    assert told == taken


@pytest.fixture(scope="module")
def real_answer() -> dict[str, Any]:
    """Return the answer of a service to the curl of docs/requests.md."""
    require_programs("curl")
    curl, _ = documented_request()
    with running_service() as service:
        command = shlex.split(curl.replace("http://127.0.0.1:8000", service.url))
        done = subprocess.run([*command, "--silent"], cwd=ROOT, capture_output=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def documented_request() -> tuple[str, dict[str, Any]]:
    """Return the curl of docs/requests.md, and the answer below it."""
    (request,) = REQUEST.findall(REQUESTS)
    return request[0], json.loads(request[1])


@pytest.mark.processes
def test_the_documented_answer_has_the_fields_of_a_real_one(real_answer: dict[str, Any]) -> None:
    """Authors of clients copy its structure."""
    assert structure(documented_request()[1]) == structure(real_answer)


@pytest.mark.processes
def test_the_documented_answer_has_the_text_of_a_real_one(real_answer: dict[str, Any]) -> None:
    """If the embedded checkpoint changes, the page must change too."""
    _, documented = documented_request()
    assert documented["text"] == real_answer["text"]
    assert documented["markup"] == real_answer["markup"]
