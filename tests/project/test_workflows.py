"""The workflows for GitHub are valid, pin their actions, and cover the promised platforms."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import PUBLISHED_MODEL, PUBLISHED_REVISION

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
USES = re.compile(r"uses: (\S+)(.*)")
# A tag can be moved to other code, a commit cannot.
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def errors_in(schema: str, file: Path) -> str:
    """Return what check-jsonschema reports, empty for a valid file."""
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [program, "--builtin-schema", schema, file]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout if done.returncode else ""


def content_of(name: str) -> dict[Any, Any]:
    """Return a workflow. Its key `on` is `True`, because YAML 1.1 reads `on` as a boolean."""
    content: dict[Any, Any] = yaml.safe_load((GITHUB / "workflows" / f"{name}.yml").read_text())
    return content


def commands_in(workflow: dict[Any, Any]) -> str:
    """Return all shell commands of a workflow."""
    steps = (step for job in workflow["jobs"].values() for step in job.get("steps", []))
    return "\n".join(step.get("run", "") for step in steps)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_valid(file: Path) -> None:
    assert errors_in("vendor.github-workflows", file) == ""


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_cannot_run_for_hours(file: Path) -> None:
    """GitHub's own limit is six hours."""
    jobs = yaml.safe_load(file.read_text())["jobs"].values()
    assert all("timeout-minutes" in job for job in jobs if "steps" in job)


def test_an_unknown_key_in_a_workflow_is_found(tmp_path: Path) -> None:
    """A check that cannot fail checks nothing."""
    broken = tmp_path / "ci.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "runs-at:"))
    assert "runs-at" in errors_in("vendor.github-workflows", broken)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit(file: Path) -> None:
    """The comment names the version, for people and for tools that renew the pins."""
    uses = ["".join(match) for match in USES.findall(file.read_text())]
    assert uses
    assert [use for use in uses if not use.startswith("./") and not PINNED.fullmatch(use)] == []


def test_an_action_has_one_version_in_all_workflows() -> None:
    uses = {"".join(use) for file in WORKFLOWS for use in USES.findall(file.read_text())}
    assert len({use.partition("@")[0] for use in uses}) == len(uses)


def test_ci_covers_linux_on_x86_and_arm_and_macos() -> None:
    """With the oldest and the newest supported Python."""
    matrix = content_of("ci")["jobs"]["check"]["strategy"]["matrix"]
    assert matrix == {
        "os": ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15"],
        "python": ["3.11", "3.14"],
    }


def test_ci_runs_what_a_contributor_runs() -> None:
    commands = commands_in(content_of("ci"))
    assert {"test-clients", "check"} == set(re.findall(r"make ([a-z-]+)", commands))


def test_every_change_of_a_file_in_the_image_builds_the_image() -> None:
    paths = content_of("image")[True]["pull_request"]["paths"]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {line[1:] for line in ignored if line.startswith("!")}
    assert copied <= {path.removesuffix("/**") for path in paths}


def test_a_release_publishes_signed_images_with_an_sbom() -> None:
    jobs = content_of("release")["jobs"]
    image = jobs["image"]
    build = next(step for step in image["steps"] if step.get("id") == "build")
    assert jobs["check"]["uses"] == "./.github/workflows/ci.yml"
    assert {each["variant"] for each in image["strategy"]["matrix"]["include"]} == {"cpu", "cuda"}
    assert build["with"]["sbom"] is True
    assert "cosign sign --yes" in commands_in({"jobs": {"image": image}})
    assert jobs["publish"]["needs"] == ["wheel", "image"]


def test_verification_of_the_published_model_is_started_by_hand() -> None:
    """It downloads 6.7 GB, so no push may start it; it uses the commit that deployments pin."""
    workflow = content_of("verify")
    assert workflow[True].keys() == {"workflow_dispatch"}
    inputs = workflow[True]["workflow_dispatch"]["inputs"]
    assert inputs["revision"]["default"] == PUBLISHED_REVISION
    assert "make verify PYTHON=python" in commands_in(workflow)
    assert f"MODEL={PUBLISHED_MODEL}" in commands_in(workflow)


def test_the_notebook_verifies_the_pinned_commit() -> None:
    cells = json.loads((ROOT / "docs" / "verify.ipynb").read_text())["cells"]
    code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert f'MODEL = "{PUBLISHED_MODEL}"\nREVISION = "{PUBLISHED_REVISION}"\n' in code
    assert '!kosmos2 verify "$MODEL" --revision "$REVISION"' in code
    # The server requires the client, which no package index has.
    assert "pip install -q --constraint constraints.txt ./clients/python ." in code


@pytest.mark.parametrize("file", FORMS, ids=lambda path: path.name)
def test_an_issue_form_is_valid(file: Path) -> None:
    """GitHub ignores a form that it cannot read."""
    assert errors_in("vendor.github-issue-forms", file) == ""
