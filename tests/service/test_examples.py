"""The examples of the documentation run against a service and print the documented output."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from app.contract.examples import EXAMPLE_SCENE
from harness.requirements import require_programs
from harness.service import RunningService

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def load_python_example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("example", EXAMPLES / "ground.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_python_example_prints_a_caption_and_a_found_object(service: RunningService) -> None:
    printed = run(sys.executable, str(EXAMPLES / "ground.py"), service.url, str(EXAMPLE_SCENE))
    caption = load_python_example().ground(service.url, EXAMPLE_SCENE, task="brief_caption")
    first, *entities, last = printed.splitlines()
    assert first == caption["answer"]
    assert entities == [
        f"{entity['phrase']} {[box['xyxy_refined'] for box in entity['boxes']]}"
        for entity in caption["entities"]
    ]
    assert re.fullmatch(r"found two red circles \[0\.\d+(, 0\.\d+)*\]", last)


def test_the_python_example_raises_an_error_with_the_wrong_field(service: RunningService) -> None:
    example = load_python_example()
    with pytest.raises(RuntimeError, match="invalid_request: task"):
        example.ground(service.url, EXAMPLE_SCENE, task="dance")


def test_boxes_become_detections_of_supervision(service: RunningService) -> None:
    pytest.importorskip("supervision", reason="supervision is not a dependency of this project")
    example = load_python_example()
    answer = example.ground(service.url, EXAMPLE_SCENE, task="brief_caption")
    detections = example.to_detections(answer)
    assert len(detections) == sum(len(entity["boxes"]) for entity in answer["entities"])
    assert (detections.confidence > 0).all()


def test_the_javascript_example_prints_what_the_python_example_prints(
    service: RunningService,
) -> None:
    require_programs("node")
    printed = run("node", str(EXAMPLES / "ground.mjs"), service.url, str(EXAMPLE_SCENE))
    example = load_python_example()
    caption = example.ground(service.url, EXAMPLE_SCENE, task="brief_caption")
    assert printed.splitlines()[0] == caption["answer"]
    for entity in caption["entities"]:
        assert entity["phrase"] in printed
