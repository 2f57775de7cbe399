"""The built image is small, contains only necessary files, and serves requests."""

import os
import tomllib

import pytest

from harness.deployment import DEPLOY
from harness.requirements import require_programs
from scripts.image_check import Report, check_image

pytestmark = pytest.mark.large
MAX_BYTES = 2_000_000_000
EMBEDDED_WEIGHTS_BYTES = 30_000_000


@pytest.fixture(scope="module")
def report() -> Report:
    require_programs("buildah", "debootstrap", "unshare")
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    return check_image()


def test_the_container_answers_with_a_read_only_root_file_system(report: Report) -> None:
    assert report.text == "An image of a red circle."


def test_the_container_does_not_run_as_root(report: Report) -> None:
    """The user is a number, because Kubernetes cannot check a name."""
    assert report.user == "10001:10001"


def test_the_stop_signal_drains_the_container(report: Report) -> None:
    """Exit code 0 means that no request was lost."""
    assert report.exit_code == 0


def test_the_image_contains_no_build_tools(report: Report) -> None:
    assert report.build_tools == []


def test_the_image_only_contains_the_embedded_weights(report: Report) -> None:
    """Published weights are mounted, or downloaded at the start."""
    (name,) = report.weights
    assert name.endswith("app/demo/model.safetensors")
    assert report.weights[name] < EMBEDDED_WEIGHTS_BYTES


def test_the_image_for_the_cpu_has_less_than_2_gigabytes(report: Report) -> None:
    """CUDA's libraries take several gigabytes more."""
    has_cuda = any("nvidia" in folder for folder in report.folders)
    assert has_cuda or report.size_bytes < MAX_BYTES


def test_the_labels_describe_the_image(report: Report) -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in report.labels.items()
    }
    assert labels["version"] == project["version"]
    assert labels["description"] == project["description"]
    assert labels["licenses"] == project["license"]
    assert len(labels["revision"]) == 40
