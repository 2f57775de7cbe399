"""docs/mobile.md: its Kotlin program uploads a picture through its nginx, which adds the key."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.contract.examples import EXAMPLE_SCENE
from harness.deployment import free_address, is_answered, running
from harness.nginx import TEMPORARY_FOLDERS
from harness.requirements import require_programs
from harness.service import RunningService, running_service
from harness.waiting import eventually

PAGE = (Path(__file__).parents[2] / "docs" / "mobile.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
KEY, SESSION = "your-key", "a-session"


def block(language: str) -> str:
    """Return the first block of a language."""
    return next(text for name, text in BLOCKS if name == language)


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningService]:
    with running_service(api_keys=KEY) as running_one:
        yield running_one


@pytest.fixture(scope="module")
def backend(guarded: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page's nginx in front of a service that requires a key."""
    require_programs("nginx")
    folder, address = tmp_path_factory.mktemp("nginx"), free_address()
    own = "".join(f"{name}_temp_path {folder / name};\n" for name in TEMPORARY_FOLDERS)
    locations = block("nginx").replace("http://127.0.0.1:8000", guarded.url)
    file = folder / "nginx.conf"
    file.write_text(
        f"events {{}}\nhttp {{\n{own}access_log off;\n"
        f"server {{\nlisten {address};\nlocation = /readyz {{ proxy_pass {guarded.url}; }}\n"
        f"{locations}}}\n}}\n"
    )
    options = f"daemon off; user root; pid {folder / 'nginx.pid'}; error_log stderr;"
    command = ("nginx", "-e", "stderr", "-p", str(folder), "-c", str(file), "-g", options)
    with running(folder / "nginx.log", *command):
        assert eventually(lambda: is_answered(f"http://{address}/readyz"))
        yield f"http://{address}"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program of the page."""
    require_programs("kotlinc", "java")
    folder = tmp_path_factory.mktemp("kotlin")
    (folder / "Upload.kt").write_text(block("kotlin"))
    command = ("kotlinc", "Upload.kt", "-include-runtime", "-d", "upload.jar")
    subprocess.run(command, cwd=folder, check=True, timeout=600, capture_output=True)
    return folder / "upload.jar"


def upload(program: Path, url: str, session: str) -> subprocess.CompletedProcess[str]:
    command = ["java", "-jar", str(program), url, session, str(EXAMPLE_SCENE)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_kotlin_program_gets_an_answer_without_knowing_the_key(
    program: Path, backend: str
) -> None:
    assert KEY not in block("kotlin")
    done = upload(program, backend, SESSION)
    assert done.returncode == 0, done.stderr
    phrases = [entity["phrase"] for entity in json.loads(done.stdout)["entities"]]
    assert phrases == ["two red circles", "a blue square"]


def test_a_wrong_session_gets_no_answer(program: Path, backend: str) -> None:
    done = upload(program, backend, "another")
    assert done.returncode == 1
    assert "ServiceError" in done.stderr


def test_blocks_that_are_not_executed_are_marked() -> None:
    languages = [name for name, _ in BLOCKS]
    assert languages == ["nginx", "kotlin", "kotlin", "swift"]
    assert PAGE.count("ot executed here, because it needs") == 2
