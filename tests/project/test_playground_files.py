"""The files of the playground: one source for the client, no other host, small, complete."""

import gzip
import re
import tomllib
from pathlib import Path

import pytest

from app.grounding.tasks import TASKS, Use

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "app" / "playground"
FILES = sorted(file for file in FOLDER.rglob("*") if file.is_file())
SOURCE = ROOT / "clients" / "javascript" / "src"
TASKS_JS = (FOLDER / "modules" / "tasks.js").read_text()
# The goal for the page without its examples.
MAX_BYTES = 100_000
IMPORT = re.compile(r'^(?:import|export|\}).* from "([^"]+)";', re.MULTILINE)
TASK = re.compile(r'\{\s*name: "(\w+)",(.*?)\n  \}', re.DOTALL)


def test_the_served_client_is_a_copy_of_the_package() -> None:
    """If this fails, run `make javascript`."""
    served = {file.name: file.read_bytes() for file in (FOLDER / "client").iterdir()}
    assert served == {file.name: file.read_bytes() for file in SOURCE.iterdir()}


def test_the_page_offers_every_task_with_its_fields() -> None:
    """The page lists them itself, because `/v1/tasks` may need a key."""
    offered = {
        name: ("text: " in fields, re.findall(r'region: "(\w+)"', fields))
        for name, fields in TASK.findall(TASKS_JS)
    }
    del offered["detect"]  # a route of its own
    expected = {
        task.name: (
            task.text is not Use.REFUSED,
            [] if task.regions is Use.REFUSED else [task.regions.value],
        )
        for task in TASKS.values()
    }
    assert offered == expected


def test_the_words_before_an_answer_are_those_of_the_prompt() -> None:
    """The page shows them while the answer streams, and must not change them at the end."""
    prompts = dict(re.findall(r'"(\w+)",.*?prompt: \(.*?\) => (.*?),\n', TASKS_JS, re.DOTALL))
    for name in ("brief_caption", "detailed_caption"):
        assert prompts[name] == f'"{TASKS[name].prompt_template(grounding=False)}"'
    question = TASKS["grounded_vqa"].prompt_template(grounding=False)
    assert prompts["grounded_vqa"] == f"`{question}`".replace("{", "${")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_names_no_other_host_and_parses_no_html(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text
    assert "innerHTML" not in text
    assert not re.search(r"\bstyle=|\son\w+=\"", text)


def test_every_import_names_a_file() -> None:
    modules = [file for file in FILES if file.suffix == ".js"]
    imports = [
        file.parent / address for file in modules for address in IMPORT.findall(file.read_text())
    ]
    assert len(imports) > len(modules)
    assert [path for path in imports if not path.is_file()] == []


def test_the_page_is_small_on_the_wire() -> None:
    assert sum(len(gzip.compress(file.read_bytes())) for file in FILES) < MAX_BYTES


def test_the_wheel_contains_every_file() -> None:
    package_data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = package_data["package-data"]["app"]
    found = {file for pattern in patterns for file in (ROOT / "app").glob(pattern)}
    assert set(FILES) <= found
