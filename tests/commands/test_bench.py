"""`kosmos2 bench`: a load on a service that asks for keys."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.service import RunningService, running_service

KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def locked() -> Iterator[RunningService]:
    with running_service(api_keys=KEY) as running:
        yield running


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "key"
    file.write_text(f"{KEY}\n")
    return file


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.commands.cli", "bench", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one line on standard output."""
    (line,) = done.stdout.splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


def test_a_closed_loop_ends_in_a_table_and_a_line_of_json(
    locked: RunningService, key_file: Path
) -> None:
    """The table is for people, the line for programs."""
    options = ("--url", locked.url, "--requests", "12", "--concurrency", "3")
    done = run(*options, "--api-key-file", str(key_file))
    report = report_of(done)
    assert done.returncode == 0
    assert "12 of 12 requests" in done.stderr
    assert (report["loop"], report["num_good"], report["errors"]) == ("closed, 3 clients", 12, {})
    assert report["latency_s"]["p50"] <= report["latency_s"]["p99"] <= report["seconds"]
    assert report["time_to_first_token_s"] is None


def test_an_open_loop_streams_and_takes_the_key_of_the_environment(locked: RunningService) -> None:
    """A key on the command line would stand in the list of processes."""
    options = ("--url", locked.url, "--rate", "5", "--requests", "6", "--stream")
    report = report_of(run(*options, KOSMOS2_API_KEY=KEY))
    assert (report["loop"], report["num_good"]) == ("open, 5 arrivals/s", 6)
    assert report["time_to_first_token_s"]["p99"] <= report["latency_s"]["p99"]


def test_a_load_that_is_refused_throughout_fails(locked: RunningService) -> None:
    """It has measured nothing."""
    done = run("--url", locked.url, "--requests", "2", "--concurrency", "1")
    assert done.returncode == 1
    assert report_of(done)["errors"] == {"unauthorized": 2}


def test_where_no_service_answers_a_line_says_so() -> None:
    """Port 9 of the loopback is nobody's."""
    done = run("--url", "http://127.0.0.1:9", "--requests", "1")
    assert done.returncode == 1
    assert done.stderr.startswith("no Kosmos-2 service answers at http://127.0.0.1:9: ")
