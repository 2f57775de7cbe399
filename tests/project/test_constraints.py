"""`constraints.txt` works for plain pip on any platform and pins every package."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[0-9][\w.!]*)")
# The packages that torch pins for the platform it is installed on.
OUR_CLIENT = "kosmos2-client"  # installed from this repository
OF_TORCH = re.compile(r"nvidia-.*|cuda-.*|triton.*")


def lines_of(text: str) -> list[str]:
    """Return the lines of a constraints file that are not comments."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def faults(text: str) -> list[str]:
    """Return the lines that are not plain pins, or that pin packages of one platform."""
    matches = {line: PIN.fullmatch(line) for line in lines_of(text)}
    return [
        line for line, match in matches.items() if not match or OF_TORCH.fullmatch(match["name"])
    ]


def pinned_names(text: str) -> set[str]:
    """Return the canonical names of the packages that a constraints file pins."""
    return {canonicalize_name(line.partition("==")[0]) for line in lines_of(text)}


@pytest.fixture(scope="module")
def constraints() -> str:
    return (ROOT / "constraints.txt").read_text()


@pytest.fixture(scope="module")
def direct() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = [Requirement(text) for text in chain(project["dependencies"], *extras)]
    return [each for each in declared if each.name != OUR_CLIENT]


def test_every_line_is_a_pin_for_all_platforms(constraints: str) -> None:
    """A local version or a driver's package would tie the file to one machine."""
    assert faults(constraints) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch==2.13.0+cpu",
        "nvidia-cudnn-cu13==9.1",
        "triton==3.5.0",
        "numpy>=2",
        "numpy",
        "numpy==2.*",
        "numpy==2.4.6 --hash=sha256:00",
        "numpy @ file:///wheels/numpy.whl",
        "-e .",
        "--extra-index-url https://example.org",
    ],
)
def test_a_line_that_is_not_a_plain_pin_is_reported(line: str) -> None:
    """The check above can fail."""
    assert faults(f"# a comment\n{line}\nrich==15.0.0\n") == [line]


def test_no_package_is_pinned_twice(constraints: str) -> None:
    """One of two pins would be wrong."""
    assert len(lines_of(constraints)) == len(pinned_names(constraints))


def test_every_direct_dependency_is_pinned(constraints: str, direct: list[Requirement]) -> None:
    """A dependency without a pin could change with every installation."""
    assert {canonicalize_name(each.name) for each in direct} <= pinned_names(constraints)


def test_every_pin_lies_within_the_range_of_pyproject(
    constraints: str, direct: list[Requirement]
) -> None:
    """Otherwise pip refuses to install."""
    pins = {
        canonicalize_name(n): v for n, v in (line.split("==") for line in lines_of(constraints))
    }
    outside = [
        str(each) for each in direct if pins[canonicalize_name(each.name)] not in each.specifier
    ]
    assert outside == []


def test_every_dependency_of_a_dependency_is_pinned(
    constraints: str, direct: list[Requirement]
) -> None:
    """The test covers this platform and this version of Python; an environment brings its pip."""
    pinned, seen, waiting = pinned_names(constraints), set[str](), list(direct)
    while waiting:
        each = waiting.pop()
        if str(each) not in seen:
            seen.add(str(each))
            waiting += needed_by(each)
    names = {canonicalize_name(Requirement(text).name) for text in seen} - {"pip"}
    assert {name for name in names if not OF_TORCH.fullmatch(name)} <= pinned


def needed_by(requirement: Requirement) -> list[Requirement]:
    """Return the requirements of an installed package here, including its requested extras."""
    try:
        needed = [Requirement(text) for text in requires(requirement.name) or []]
    except PackageNotFoundError:  # torch's own packages on machines without a GPU
        return []
    extras = requirement.extras or {""}
    return [
        each
        for each in needed
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    ]
