"""Both packages of this repository have one version, and are installed together."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"


def project(folder: Path) -> dict[str, Any]:
    """Return the table `project` of a package."""
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def test_the_client_has_the_version_of_the_server() -> None:
    """`kosmos2 batch` uses modules of the client that are not public."""
    version = project(ROOT)["version"]
    assert project(CLIENT)["version"] == version
    assert f"kosmos2-client=={version}" in project(ROOT)["dependencies"]


def test_the_client_requires_httpx_only_and_a_python_of_the_server() -> None:
    assert [re.split(r"\W", name)[0] for name in project(CLIENT)["dependencies"]] == ["httpx"]
    assert project(ROOT)["requires-python"].startswith(project(CLIENT)["requires-python"])


def test_make_the_image_and_the_release_install_both_packages() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert makefile.count('--editable clients/python --editable ".[dev,') == 2
    assert makefile.count('--editable ".') == 2
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--target /opt/kosmos2/application . ./clients/python" in dockerfile
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert "--wheel-dir dist . ./clients/python" in release


def test_the_client_has_the_license_of_the_server() -> None:
    """A package contains its own copy."""
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
