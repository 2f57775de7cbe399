"""The image, built for real, is small, has nothing that it does not need, and serves."""

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


def test_it_answers_from_a_root_file_system_that_it_cannot_write_to(report: Report) -> None:
    assert report.text == "An image of a red circle."


def test_it_does_not_run_as_root(report: Report) -> None:
    """As a number, which is all that Kubernetes can check."""
    assert report.user == "10001:10001"


def test_its_stop_signal_ends_it_well(report: Report) -> None:
    """It drains, and says by its exit code that nothing was lost."""
    assert report.exit_code == 0


def test_nothing_in_it_builds_or_fetches(report: Report) -> None:
    assert report.build_tools == []


def test_its_weights_are_the_embedded_ones(report: Report) -> None:
    """The published ones are mounted, or fetched at the start."""
    (name,) = report.weights
    assert name.endswith("app/demo/model.safetensors")
    assert report.weights[name] < EMBEDDED_WEIGHTS_BYTES


def test_it_is_no_larger_than_torch_makes_it(report: Report) -> None:
    """With a torch for the CPU; that for CUDA has several gigabytes of libraries."""
    has_cuda = any("nvidia" in folder for folder in report.folders)
    assert has_cuda or report.size_bytes < MAX_BYTES


def test_it_says_what_it_is(report: Report) -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in report.labels.items()
    }
    assert labels["version"] == project["version"]
    assert labels["description"] == project["description"]
    assert labels["licenses"] == project["license"]
    assert len(labels["revision"]) == 40
