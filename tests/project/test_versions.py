"""Both packages of this repository have one version, and are installed together."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"
IMAGE_TAG = re.compile(r"kosmos2-server(?::|, newTag: )([\w.]+)-(?:cpu|cuda)\b")


def project(folder: Path) -> dict[str, Any]:
    """Return the table `project` of a package."""
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def test_the_client_has_the_version_of_the_server() -> None:
    """`kosmos2 batch` uses modules of the client that are not public."""
    version = project(ROOT)["version"]
    assert project(CLIENT)["version"] == version
    assert f"kosmos2-client=={version}" in project(ROOT)["dependencies"]


def test_the_other_packages_and_the_deployed_images_have_the_version_of_the_server() -> None:
    """A release must not deploy the images of the one before."""
    version = project(ROOT)["version"]
    package, description = (
        json.loads((ROOT / name).read_text())
        for name in ("clients/javascript/package.json", "docs/openapi.json")
    )
    manifests = (file.read_text() for file in (ROOT / "deploy" / "kubernetes").rglob("*.yaml"))
    tags = [tag for manifest in manifests for tag in IMAGE_TAG.findall(manifest)]
    assert (package["version"], description["info"]["version"]) == (version, version)
    assert tags == [version] * 4


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
