"""What the playground copies and saves: code that gets the same answer, JSON, a picture."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from app.contract.examples import EXAMPLE_SCENE
from harness.answers import are_same
from harness.requirements import require_programs
from tests.clients.playground_page import Playground


def copied(playground: Playground, language: str) -> str:
    """Return what the button copies."""
    playground(f"#copy-{language}").click()
    text: str = playground.page.evaluate("() => navigator.clipboard.readText()")
    assert playground("#code").text_content() == text
    return text


def test_a_page_without_a_clipboard_shows_the_code(answered: Playground) -> None:
    """Over plain HTTP, browsers give a page none."""
    answered.page.evaluate("() => Object.defineProperty(navigator, 'clipboard', {})")
    answered("#copy-curl:has-text('Copy as curl')").click()
    answered("#copy-curl:has-text('Shown below')").click()
    assert answered("#code").is_visible()
    answered("#copy-curl:has-text('Copy as curl')").wait_for()
    answered("#copy-curl:has-text('Copy as curl')").click()
    assert "/v1/ground" in answered("#code").text_content()


def test_the_copied_curl_gets_the_same_answer(answered: Playground) -> None:
    require_programs("curl")
    answered.choose_task("phrase_grounding")
    answered("#text").fill("a red circle's <b>")
    answered.run()
    command = shlex.split(copied(answered, "curl").replace("\\\n", ""))
    done = subprocess.run(
        [*command, "--silent"], cwd=EXAMPLE_SCENE.parent, capture_output=True, check=True
    )
    assert are_same(json.loads(done.stdout), answered.answer)


def test_the_copied_python_gets_the_same_answer(answered: Playground) -> None:
    answered.choose_task("detect")
    answered.run()
    program = copied(answered, "python").replace("print(", "import json; print(json.dumps(") + ")"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=EXAMPLE_SCENE.parent, capture_output=True, check=True
    )
    shown = [name.strip() for name in answered("#boxes .item .name").all_text_contents()]
    found = json.loads(done.stdout)["predictions"]
    assert sorted(one["class"] for one in found) == sorted(shown)


def test_the_copied_curl_reads_a_file_with_signs_in_its_name(
    playground: Playground, tmp_path: Path
) -> None:
    require_programs("curl")
    file = tmp_path / """it's a,b;type="x".jpg"""
    file.write_bytes(EXAMPLE_SCENE.read_bytes())
    playground("#file").set_input_files(file)
    playground.wait_until_answered()
    command = shlex.split(copied(playground, "curl").replace("\\\n", ""))
    done = subprocess.run([*command, "--silent"], cwd=tmp_path, capture_output=True, check=True)
    assert are_same(json.loads(done.stdout), playground.answer)


def test_the_copied_javascript_names_the_package_and_the_fields(answered: Playground) -> None:
    code = copied(answered, "javascript")
    assert code.startswith('import { Kosmos2 } from "@kosmos2/client";')
    assert '"task": "brief_caption"' in code
    assert f'client.ground("{EXAMPLE_SCENE.name}", fields)' in code


def test_the_answer_is_saved_as_json_and_as_a_picture(answered: Playground) -> None:
    with answered.page.expect_download() as download:
        answered("#save-json").click()
    assert json.loads(Path(download.value.path()).read_text()) == answered.answer
    with answered.page.expect_download() as download:
        answered("#save-picture").click()
    assert download.value.suggested_filename == "annotated.png"
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
