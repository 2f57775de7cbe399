"""`kosmos2 bench` on a service that requires API keys."""

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


def report_of(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON of the only line on standard output."""
    (line,) = result.stdout.splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


def test_a_closed_loop_prints_a_table_and_a_line_of_json(
    locked: RunningService, key_file: Path
) -> None:
    """The table is for people, the line for programs."""
    options = ("--url", locked.url, "--requests", "12", "--concurrency", "3")
    result = run(*options, "--api-key-file", str(key_file))
    report = report_of(result)
    assert result.returncode == 0
    assert "12 of 12 requests" in result.stderr
    assert (report["loop"], report["num_good"], report["errors"]) == ("closed, 3 clients", 12, {})
    assert report["latency_s"]["p50"] <= report["latency_s"]["p99"] <= report["seconds"]
    assert report["time_to_first_token_s"] is None


def test_an_open_loop_streams_and_uses_the_key_of_the_environment(locked: RunningService) -> None:
    """A key on the command line would appear in the list of processes."""
    options = ("--url", locked.url, "--rate", "5", "--requests", "6", "--stream")
    report = report_of(run(*options, KOSMOS2_API_KEY=KEY))
    assert (report["loop"], report["num_good"]) == ("open, 5 arrivals/s", 6)
    assert report["time_to_first_token_s"]["p99"] <= report["latency_s"]["p99"]


def test_a_load_fails_if_every_request_is_rejected(locked: RunningService) -> None:
    """It measured nothing."""
    result = run("--url", locked.url, "--requests", "2", "--concurrency", "1")
    assert result.returncode == 1
    assert report_of(result)["errors"] == {"unauthorized": 2}


def test_a_missing_service_is_reported_in_one_line() -> None:
    """No program listens at port 9 of the loopback address."""
    result = run("--url", "http://127.0.0.1:9", "--requests", "1")
    assert result.returncode == 1
    assert result.stderr.startswith("no Kosmos-2 service answers at http://127.0.0.1:9: ")


def test_an_invalid_url_is_reported_in_one_line() -> None:
    result = run("--url", "localhost:8000", "--requests", "1")
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line == "the URL must start with http:// or https://, not 'localhost:8000'"
