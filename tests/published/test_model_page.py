"""Numbers of docs/model.md are computed, and the tests in docs/published-model.md exist."""

import random
import re
from pathlib import Path

import pytest

from app.grounding.boxes import box_to_patch_indices, patch_indices_to_box
from app.verify.accuracy import PAPER, iou

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "model.md").read_text()
NUM_SQUARES = 20_000


def overlaps_of(area: float) -> list[float]:
    """Return the IoU of squares at random positions with the boxes of their best cells."""
    rng, side = random.Random(0), area**0.5
    corners = [(rng.random() * (1 - side), rng.random() * (1 - side)) for _ in range(NUM_SQUARES)]
    boxes = [(x, y, x + side, y + side) for x, y in corners]
    return [iou(box, patch_indices_to_box(*box_to_patch_indices(box))) for box in boxes]


@pytest.mark.parametrize("area", [0.001, 0.0025, 0.005, 0.01, 0.05])
def test_the_table_of_small_objects_is_computed(area: float) -> None:
    overlaps = overlaps_of(area)
    mean = sum(overlaps) / NUM_SQUARES
    share = sum(overlap >= 0.5 for overlap in overlaps) / NUM_SQUARES
    row = f"| {100 * area:g} % | {224 * area**0.5:.0f} | {mean:.2f} | {share:.0%}".replace(
        "%", " %"
    )
    assert row.replace("  ", " ") in PAGE


def test_the_numbers_of_the_paper_are_those_of_verify() -> None:
    assert len(PAPER) == 9
    assert [
        f"{100 * share:.2f}" for share in PAPER.values() if f"{100 * share:.2f}" not in PAGE
    ] == []


def test_the_table_of_facts_names_tests_that_exist_and_all_tests_of_facts() -> None:
    table = (DOCS / "published-model.md").read_text()
    named = set(re.findall(r"^\| .* \| `(test_\w+)` \|$", table, re.MULTILINE))
    files = Path(__file__).parent.glob("test_*.py")
    tests = {
        file.name: set(re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE))
        for file in files
    }
    assert named - set.union(*tests.values()) == set()
    assert tests["test_facts.py"] - named == set()
