"""Clients that generators write from docs/openapi.json send pictures and read answers."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.contract.examples import EXAMPLE_SCENE
from harness.requirements import require_programs
from harness.service import RunningService
from tests.clients.environments import install, python_with
from tests.clients.matrix import PAGE

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
SCRIPTS = Path(__file__).parent / "generated"
FORMS_ONLY = re.compile(r"^## Generated clients\n.*?^```python\n(.*?)^```", re.M | re.S)
GENERATORS = ("openapi-python-client==0.29.1", "openapi-generator-cli==7.26.0")
REQUIREMENTS = ("httpx>=0.28", "attrs", "python-dateutil", "urllib3", "pydantic>=2.11")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the document, and with the one that the page makes of it."""
    path = tmp_path_factory.mktemp("generated")
    shutil.copy(DOCUMENT, path)
    program = FORMS_ONLY.search(PAGE.read_text())
    assert program is not None
    command = [str(python_with(*GENERATORS)), "-c", program[1]]
    subprocess.run(command, cwd=path, check=True, timeout=60)
    return path


def generate(program: str, *arguments: str, cwd: Path) -> None:
    command = [str(python_with(*GENERATORS).with_name(program)), "generate", *arguments]
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=300)


def check(service: RunningService, package: Path, script: str) -> None:
    """Call the service with a generated package, and check what it returns."""
    run = install(SCRIPTS, *REQUIREMENTS, variables={"PYTHONPATH": str(package)})
    facts = run(script, service.url, str(EXAMPLE_SCENE))
    assert facts["id"] == "an-id"
    assert 0 <= facts["seed"] < 2**63
    assert facts["boxes"]
    assert all(len(box) == 4 for box in facts["boxes"])
    assert set(facts["classes"]) == {"red circle"}


def test_openapi_python_client_reads_the_whole_document(
    service: RunningService, folder: Path
) -> None:
    generate("openapi-python-client", "--path", DOCUMENT.name, "--output-path", "one", cwd=folder)
    check(service, folder / "one", "openapi_python_client.py")


def test_openapi_generator_reads_the_document_with_forms_only(
    service: RunningService, folder: Path
) -> None:
    require_programs("java")
    arguments = ["-i", "forms.json", "-g", "python", "-o", "other"]
    generate("openapi-generator-cli", *arguments, cwd=folder)
    check(service, folder / "other", "openapi_generator.py")
