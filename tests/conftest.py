"""Fixtures shared by several test folders."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from app.ipc.start_child import start_collecting
from app.settings import EMBEDDED_CHECKPOINT
from harness.requirements import IN_CI, skip_locally
from harness.service import RunningService, running_service

TESTS = Path(__file__).parent
FOLDERS_WITH_PROCESSES = {
    "clients",
    "commands",
    "deploy",
    "faults",
    "fuzz",
    "service",
    "supervisor",
}
MARKERS_WITH_PROCESSES = ("processes", "large", "weights")


class ProcessGuard:
    """An audit hook that lets only tests with a marker start processes."""

    is_on = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """Raise `AssertionError` if the running test must not start a process."""
        if self.is_on and event in {"subprocess.Popen", "os.fork", "os.posix_spawn"}:
            raise AssertionError("a test that starts a process needs the marker `processes`")


guard = ProcessGuard()
sys.addaudithook(guard)

# Searching the objects of imports for garbage takes seconds, and again when the process ends.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from now on, except the objects that exist already."""
    start_collecting()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that use processes, and deselect tests for CUDA on machines without it.

    Files whose tests use processes run first, since they take longest: short files at the end keep
    both workers of `make test` busy.
    """
    for item in items:
        if uses_processes(item):
            item.add_marker("processes")
    long_files = {item.path for item in items if item.get_closest_marker("processes")}
    items.sort(key=lambda item: item.path not in long_files)
    needing_cuda = [item for item in items if item.get_closest_marker("cuda")]
    if needing_cuda and not has_cuda():
        items[:] = [item for item in items if item not in needing_cuda]
        config.hook.pytest_deselected(items=needing_cuda)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the import of whole folders whose tests `make test-fast` deselects."""
    is_deselected = "not processes" in config.option.markexpr
    return True if is_deselected and is_in_folder_with_processes(collection_path) else None


def is_in_folder_with_processes(path: Path) -> bool:
    """Return whether all tests of the folder use processes."""
    folder, *_ = path.relative_to(TESTS).parts or ("",)
    return folder in FOLDERS_WITH_PROCESSES


def has_cuda() -> bool:
    """Return whether there is a CUDA device."""
    import torch

    return torch.cuda.is_available()


def uses_processes(item: pytest.Item) -> bool:
    """Return whether the folder or a fixture of a test implies that it uses processes."""
    fixtures = set(getattr(item, "fixturenames", ()))
    return is_in_folder_with_processes(item.path) or bool({"service", "hub"} & fixtures)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Enforce the markers of a test."""
    guard.is_on = not any(item.get_closest_marker(name) for name in MARKERS_WITH_PROCESSES)
    try:
        return (yield)
    finally:
        guard.is_on = False


# Tests on a busy machine may take long. CI draws the same examples in every run, so that a change
# does not fail because of an example that it has nothing to do with; other runs draw new ones.
settings.register_profile("project", deadline=None, derandomize=IN_CI)
settings.load_profile("project")
# For `make test-fast`; `make test` draws all examples.
settings.register_profile("quick", deadline=None, max_examples=8)

# By default, structlog spends seconds on the values of all variables of a traceback.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Exactness is tested in float32. Services in tests inherit this; tests for CUDA set their device.
os.environ["KOSMOS2_DEVICE"] = "cpu"
# One is enough for the few pictures of a test, and each takes a second of the processor to start.
os.environ["KOSMOS2_PICTURE_PROCESSES"] = "1"


@pytest.fixture(scope="session")
def shared_kosmos2() -> Path:
    """The published processor, the golden parses and the demo pictures, read in place."""
    directory = Path(__file__).parents[2] / "shared" / "kosmos2"
    if not directory.is_dir():
        skip_locally("the published processor's files, in ../shared/kosmos2")
    return directory


@pytest.fixture(scope="session")
def service() -> Iterator[RunningService]:
    """A service with the embedded checkpoint and limits that tests reach with little data."""
    with running_service(
        max_body_bytes=200_000, max_image_pixels=1_000_000, cors_origins="https://app.example"
    ) as running:
        yield running


@pytest.fixture(scope="session")
def reference_processor(shared_kosmos2: Path) -> Any:
    """The processor whose results this service must equal, with pictures decoded by Pillow."""
    from transformers import Kosmos2Processor

    return Kosmos2Processor.from_pretrained(shared_kosmos2 / "processor")


@pytest.fixture(scope="session")
def endless_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights, whose answers only end at their token limit."""
    from harness.checkpoints import tiny_config, write_random_checkpoint

    directory = tmp_path_factory.mktemp("checkpoints") / "endless_checkpoint"
    return write_random_checkpoint(directory, tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT)
