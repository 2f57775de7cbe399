"""The JavaScript client under Node, against running services; its types, examples and package."""

import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.contract.examples import EXAMPLE_SCENE
from harness.requirements import require_programs
from harness.service import RunningService, running_service
from harness.waiting import eventually
from tests.clients.npm_packages import installed, run_installed
from tests.clients.programs import run

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "javascript"
BLOCKS = re.findall(
    r"^```js\n(.*?)^```", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
URL = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def small() -> Iterator[RunningService]:
    """A service with one slot, no queue and a key."""
    with running_service(slots=1, max_waiting=0, api_keys="the-key") as running:
        yield running


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a user: the packed client is installed, next to a picture."""
    require_programs("node", "npm")
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    [packed] = json.loads(
        run("npm", "pack", "--json", "--pack-destination", str(folder), cwd=CLIENT)
    )
    run("npm", "install", "--no-audit", "--no-fund", f"./{packed['filename']}", cwd=folder)
    shutil.copy(EXAMPLE_SCENE, folder / "picture.jpg")
    return folder


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The address of a socket that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def run_tests(folder: str, **environment: str) -> None:
    """Run a folder of tests with Node's own runner; all of them must pass."""
    require_programs("node")
    files = sorted(map(str, (CLIENT / "test" / folder).glob("*.test.js")))
    output = run("node", "--test", *files, cwd=CLIENT, **environment)
    assert int(re.findall(r"pass (\d+)", output)[-1]) > 5
    assert re.findall(r"(?:fail|skipped) (\d+)", output)[-2:] == ["0", "0"]


def test_its_parts_work_without_a_service() -> None:
    run_tests("offline")


def test_its_methods_work_with_a_service(service: RunningService, small: RunningService) -> None:
    run_tests("service", KOSMOS2_URL=service.url, KOSMOS2_SMALL_URL=small.url)


def test_breaking_out_of_a_stream_frees_the_slot(service: RunningService, project: Path) -> None:
    """The client closes the connection, so the service counts the request as cancelled."""
    name = 'kosmos2_requests_total{door="kosmos2",outcome="cancelled",task="detailed_caption"}'
    before = service.metric(name)
    fields = '{ task: "detailed_caption", temperature: 2, seed: 1, max_new_tokens: 400 }'
    program = (
        f'import {{ Kosmos2 }} from "@kosmos2/client"; const client = new Kosmos2("{service.url}");'
        f'for await (const event of client.groundStream("picture.jpg", {fields})) break;'
    )
    run("node", "--input-type=module", "--eval", program, cwd=project)
    assert eventually(lambda: service.metric(name) == before + 1)


def test_the_types_are_those_of_the_openapi_document(tmp_path: Path) -> None:
    """If this fails, run `make javascript`."""
    written = tmp_path / "openapi.d.ts"
    document = ROOT / "docs" / "openapi.json"
    packages = installed(CLIENT)
    run_installed(packages, "openapi-typescript", str(document), "-o", str(written), cwd=tmp_path)
    assert written.read_text() == (CLIENT / "types" / "openapi.d.ts").read_text()


def test_the_types_accept_a_program_and_reject_mistakes(project: Path) -> None:
    for name in ("tsconfig.json", "test/types.ts"):
        target = project / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(CLIENT / name, target)
    run_installed(installed(CLIENT), "tsc", "--project", "tsconfig.json", cwd=project)


def run_example(project: Path, number: int, service: RunningService) -> list[str]:
    """Run an example of the README in the user's project, and return the lines that it prints."""
    return run_module(project, BLOCKS[number].replace("your key", "the-key"), service.url)


def run_module(project: Path, source: str, url: str) -> list[str]:
    """Run a module in the user's project with the address of a service."""
    program = project / "example.js"
    program.write_text(source.replace(URL, url))
    return run("node", program.name, cwd=project).splitlines()


def test_the_readme_has_five_examples() -> None:
    assert len(BLOCKS) == 5


def test_the_first_example_prints_the_text_and_a_box_per_phrase(
    project: Path, service: RunningService
) -> None:
    text, *boxes = run_example(project, 0, service)
    assert text == "An image of two red circles and a blue square."
    found = [re.fullmatch(r"(\w+ \w+ \w+) \[( \d+\.\d+,?){4} \] 0\.\d+", line) for line in boxes]
    assert [match and match[1] for match in found] == [
        "two red circles", "two red circles", "a blue square",
    ]  # fmt: skip


def test_the_second_example_prints_the_stream(project: Path, service: RunningService) -> None:
    lines = run_example(project, 1, service)
    assert lines[0].endswith("← two red circles, boxes: 2")
    assert re.fullmatch(r"\d+ tokens", lines[-1])


def test_the_third_example_prints_the_predictions(project: Path, service: RunningService) -> None:
    names = [line.split(" 0.")[0] for line in run_example(project, 2, service)]
    assert sorted(names) == ["blue square", "red circle", "red circle"]


def test_the_fourth_example_answers_and_saves_a_picture(
    project: Path, service: RunningService
) -> None:
    [answer] = run_example(project, 3, service)
    assert "blue" in answer
    assert (project / "annotated.jpg").read_bytes().startswith(b"\xff\xd8")


def test_the_fifth_example_prints_the_wrong_field(project: Path, small: RunningService) -> None:
    [line] = run_example(project, 4, small)
    assert re.fullmatch(r"invalid_request text [0-9a-f]{32}", line)


def test_the_fifth_example_ends_at_its_time_limit(project: Path, silent_url: str) -> None:
    # Shortens every limit, because another one must not end the call first.
    in_milliseconds = re.sub(r"\b(\d+)_000\b", r"\1", BLOCKS[4])
    assert run_module(project, in_milliseconds, silent_url) == ["too slow"]


def test_the_fifth_example_ends_when_it_is_cancelled(project: Path, silent_url: str) -> None:
    interrupt = 'setTimeout(() => process.kill(process.pid, "SIGINT"), 100);\n'
    assert run_module(project, interrupt + BLOCKS[4], silent_url) == ["cancelled"]


def test_the_package_contains_the_modules_the_types_and_nothing_else() -> None:
    require_programs("npm")
    [packed] = json.loads(run("npm", "pack", "--json", "--dry-run", cwd=CLIENT))
    modules = [f"src/{file.name}" for file in (CLIENT / "src").iterdir()]
    expected = {"LICENSE", "README.md", "package.json", *modules}
    assert {file["path"] for file in packed["files"]} == expected | {
        "types/index.d.ts",
        "types/openapi.d.ts",
    }
    assert packed["name"] == "@kosmos2/client"


def test_the_package_has_no_dependencies() -> None:
    description = json.loads((CLIENT / "package.json").read_text())
    assert "dependencies" not in description
    imported = re.findall(
        r'from "([^"]+)"', "".join(file.read_text() for file in (CLIENT / "src").iterdir())
    )
    assert imported
    assert all(name.startswith("./") for name in imported)
