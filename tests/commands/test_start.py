"""Errors at the start are reported in one line, with an exit code."""

import inspect
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import pytest
from typer.models import CommandInfo

from app.commands.cli import cli
from app.processors import count_processors
from harness.pictures import picture_file
from harness.processes import ENDINGS
from harness.waiting import eventually

SITE_CUSTOMIZE = """
import os, socket, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        address = arguments[1] if event == "socket.connect" else arguments[:2]
        with open(os.environ["CONNECTIONS"], "a") as log:
            print(event, repr(address), file=log)

sys.addaudithook(watch)
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.commands.cli", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "origins",
    [
        "https://app.example.com/path",
        "app.example.com",
        '["https://a.example"]',
        "https://*.a.example",
    ],
)
def test_an_origin_that_no_browser_sends_is_rejected(origins: str) -> None:
    """It would never match, without any error."""
    result = run("serve", "--port", "0", KOSMOS2_CORS_ORIGINS=origins)
    assert result.returncode == 64
    assert last_line(result).startswith(f"KOSMOS2_CORS_ORIGINS: {origins} is not an origin")


def test_a_rate_without_keys_is_rejected() -> None:
    """It would limit no request, without any error."""
    result = run("serve", "--port", "0", KOSMOS2_REQUESTS_PER_MINUTE="60")
    assert result.returncode == 78
    assert last_line(result).startswith("KOSMOS2_REQUESTS_PER_MINUTE limits each API key")


def test_the_error_of_a_used_port_suggests_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--port", str(port))
    assert result.returncode == 71
    assert f"PORT={port + 1}" in last_line(result)


def test_the_error_of_a_used_ops_port_names_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--port", "0", KOSMOS2_OPS_PORT=str(port))
    assert result.returncode == 71
    assert last_line(result).endswith(f"choose another: KOSMOS2_OPS_PORT={port + 1}")


def test_a_missing_path_is_reported() -> None:
    result = run("serve", "--port", "0", "--model", "/no/such/model")
    assert result.returncode == 65
    assert "no such directory" in last_line(result)


def test_a_model_of_another_kind_is_reported(endless_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(endless_checkpoint, tmp_path / "llama")
    config = json.loads((endless_checkpoint / "config.json").read_text()) | {"model_type": "llama"}
    (tmp_path / "llama" / "config.json").write_text(json.dumps(config))
    result = run("serve", "--port", "0", "--model", str(tmp_path / "llama"))
    assert result.returncode == 65
    assert "llama" in last_line(result)


# The file ends before its length, within it, within its header, and within its data.
@pytest.mark.parametrize("kept", [0, 7, 100, 100_000])
def test_truncated_weights_are_reported(
    endless_checkpoint: Path, tmp_path: Path, kept: int
) -> None:
    shutil.copytree(endless_checkpoint, tmp_path / "short")
    weights = tmp_path / "short" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    result = run("serve", "--port", "0", "--model", str(tmp_path / "short"))
    assert result.returncode == 65
    assert "model.safetensors" in last_line(result)


def test_a_missing_tensor_is_reported_by_its_name(endless_checkpoint: Path, tmp_path: Path) -> None:
    """The files are complete, but the model has fewer layers than its configuration."""
    shutil.copytree(endless_checkpoint, tmp_path / "smaller")
    config = json.loads((endless_checkpoint / "config.json").read_text())
    config["text_config"]["layers"] += 1
    (tmp_path / "smaller" / "config.json").write_text(json.dumps(config))
    result = run("serve", "--port", "0", "--model", str(tmp_path / "smaller"))
    assert result.returncode == 65
    assert "text_model.model.layers.3" in result.stderr


def test_a_plan_above_the_free_memory_is_rejected_before_loading(endless_checkpoint: Path) -> None:
    result = run(
        "serve",
        "--port",
        "0",
        "--model",
        str(endless_checkpoint),
        KOSMOS2_SLOTS="1024",
        KOSMOS2_PICTURE_CACHE_BYTES=str(10**16),
    )
    assert result.returncode == 71
    assert "GB are free" in result.stderr


def test_a_setting_out_of_range_is_reported() -> None:
    result = run("serve", KOSMOS2_MAX_SEQUENCE_LENGTH="5")
    assert result.returncode == 64
    assert last_line(result).startswith("KOSMOS2_MAX_SEQUENCE_LENGTH: ")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("task=dance", "task: input should be"),
        ("task=grounded_vqa", "text: is required by the task grounded_vqa"),
        ("classes=cat,cat", "classes[1]: occurs twice"),
    ],
)
def test_options_with_which_every_invocation_would_fail_are_reported(
    options: str, reason: str
) -> None:
    result = run("serve", "--port", "0", KOSMOS2_INVOCATION_OPTIONS=options)
    assert result.returncode == 78
    assert last_line(result).startswith(f"KOSMOS2_INVOCATION_OPTIONS={options}: {reason}")


def test_a_misspelled_setting_is_logged() -> None:
    """It has no effect, and its name may be that of a limit or a key."""
    result = run("info", KOSMOS2_API_KEY="secret", KOSMOS2_LOG_FORMAT="json")
    [warning] = [json.loads(line) for line in result.stderr.splitlines() if "no such" in line]
    assert (warning["variable"], warning["nearest"]) == ("KOSMOS2_API_KEY", "KOSMOS2_API_KEYS")
    assert "secret" not in result.stderr
    assert result.returncode == 0


def test_a_detection_that_does_not_fit_into_a_slot_is_reported(tmp_path: Path) -> None:
    (tmp_path / "scene.png").write_bytes(picture_file())
    arguments = ["detect", str(tmp_path / "scene.png"), "--classes", "star"]
    result = run(*arguments, KOSMOS2_MAX_SEQUENCE_LENGTH="80")
    assert result.returncode == 1
    assert "with 128 tokens for its boxes it exceeds the limit of 80" in result.stderr


def test_ground_answers_without_a_server_and_without_a_network(tmp_path: Path) -> None:
    """The embedded checkpoint needs no connection; the engine's socket is a file."""
    (tmp_path / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    (tmp_path / "scene.png").write_bytes(picture_file())
    connections = tmp_path / "connections"
    connections.touch()
    result = run(
        "ground", str(tmp_path / "scene.png"), "--task", "brief_caption", "--json",
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(Path.cwd())]),
        CONNECTIONS=str(connections),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["text"].startswith("An image of")
    assert "drawn shapes only" in result.stderr
    assert connections.read_text() == ""


def test_an_invalid_request_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "scene.png").write_bytes(picture_file())
    result = run("ground", str(tmp_path / "scene.png"), "--task", "dance")
    assert result.returncode == 1
    assert last_line(result).startswith("task: ")


def test_a_drawing_that_cannot_be_saved_is_reported_before_a_checkpoint_is_opened(
    tmp_path: Path,
) -> None:
    """It may be a download of gigabytes."""
    (tmp_path / "scene.png").write_bytes(picture_file())
    options = ["--classes", "a", "--save-annotated", str(tmp_path / "boxes.gif")]
    result = run("detect", str(tmp_path / "scene.png"), *options, "--model", "/no/such/model")
    assert result.returncode == 1
    assert last_line(result).startswith("--save-annotated: must be a folder, or end in .png")


def test_info_shows_what_would_be_served(endless_checkpoint: Path) -> None:
    result = run("info", "--model", str(endless_checkpoint), KOSMOS2_SLOTS="7")
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert result.returncode == 0
    assert shown["model"] == "endless_checkpoint"
    assert shown["num_slots"] == "7"
    assert shown["device"] == "cpu"
    assert shown["max_sequence_length"] == "512"
    processors = count_processors()
    assert int(shown["machine_processors"]) == processors.machine
    assert int(shown["usable_processors"]) == processors.usable
    assert int(shown["threads"]) <= processors.usable


@pytest.mark.parametrize(
    "arguments",
    [
        ("batch", "{0}", "--classes", "a", "--out", "{0}/missing/run.jsonl"),
        ("batch", "{0}", "--classes-file", "{0}/missing", "--out", "{0}/run.jsonl"),
        ("bench", "--url", "http://127.0.0.1:9", "--api-key-file", "{0}/missing"),
    ],
)
def test_a_file_that_cannot_be_used_is_reported_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "scene.png").write_bytes(picture_file())
    result = run(*(argument.format(tmp_path) for argument in arguments))
    assert result.returncode == 1
    assert f"{tmp_path}/missing" in last_line(result)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_standard_output_is_reported_in_one_line() -> None:
    command = [sys.executable, "-m", "app.commands.cli", "--help"]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=180, check=False
        )
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)
    assert "No space left" in result.stderr


@pytest.mark.parametrize(("start", "number", "exit_code"), ENDINGS)
def test_a_signal_during_the_start_removes_all_files(
    tmp_path: Path, start: Callable[..., list[str]], number: signal.Signals, exit_code: int
) -> None:
    """An engine that starts without its parent would miss its files, and print a traceback."""
    (tmp_path / "scene.png").write_bytes(picture_file())
    files = Path(tempfile.mkdtemp(prefix="k-", dir="/tmp"))  # a short path, for the socket
    options = ["-m", "app.commands.cli", "ground", str(tmp_path / "scene.png")]
    with subprocess.Popen(
        start(*options, "--task", "brief_caption"),
        env=os.environ | {"TMPDIR": str(files)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert eventually(lambda: any(files.glob("*/settings.json")))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (exit_code, False)
    files.rmdir()  # fails if the folder is not empty


@pytest.mark.parametrize("command", cli.registered_commands, ids=attrgetter("callback.__name__"))
def test_paragraphs_of_help_texts_are_one_line(command: CommandInfo) -> None:
    """Typer prints the line ends within a paragraph, except those of the first one."""
    assert command.callback is not None
    _, *paragraphs = inspect.cleandoc(command.callback.__doc__ or "").split("\n\n")
    assert [text for text in paragraphs if "\n" in text] == []
