"""API keys are stored as hashes, reread when their file changes, and counted in all processes."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from app.http.middleware.api_keys import ApiKey, KeyRing
from app.ipc.shared_state import SharedState
from app.settings import Settings


def test_without_keys_every_request_is_accepted() -> None:
    assert KeyRing(Settings()).is_open


def test_a_missing_file_rejects_every_key(tmp_path: Path) -> None:
    """An operator who sets a file wants to restrict access."""
    ring = KeyRing(Settings(api_keys_file=tmp_path / "keys"))
    assert not ring.is_open
    assert ring.find("") is None


@pytest.mark.parametrize(
    ("content", "event", "reason"),
    [
        (None, "API key file cannot be read", "FileNotFoundError"),
        (b"\xff\xfe", "API key file cannot be read", "UnicodeDecodeError"),
        (b"\n", "API key file has no key", None),
    ],
)
def test_a_file_without_keys_is_reported_at_the_start(
    tmp_path: Path, content: bytes | None, event: str, reason: str | None
) -> None:
    """Otherwise every request gets 401, and no log line shows why."""
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with capture_logs() as lines:
        KeyRing(Settings(api_keys_file=file))
    assert [(line["event"], line.get("reason")) for line in lines] == [(event, reason)]


def test_changes_of_the_file_apply_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("first\nsecond\n")
    ring = KeyRing(Settings(api_keys_file=file, api_keys=(SecretStr("fixed"),)))
    assert ring.find("first") == ApiKey.of("first")
    file.write_text("third\n")
    assert ring.find("first") is None
    assert ring.find("third") is not None
    assert ring.find("fixed") is not None


def test_the_first_key_is_read_after_a_byte_order_mark(tmp_path: Path) -> None:
    """Editors of Windows write one."""
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbfbatch:first\nsecond\n")
    found = KeyRing(Settings(api_keys_file=file)).find("first")
    assert found is not None
    assert found.is_batch_only


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xff\xfe", None])
def test_a_file_without_keys_rejects_every_key(tmp_path: Path, content: bytes | None) -> None:
    """The file is empty, not text, or a folder."""
    file = tmp_path / "keys"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    ring = KeyRing(Settings(api_keys_file=file))
    assert not ring.is_open
    assert ring.find("") is None


def test_a_changed_file_is_reread_even_if_its_time_stays_the_same(tmp_path: Path) -> None:
    """Tools that mount secrets may set any time."""
    file = tmp_path / "keys"
    file.write_text("first\n")
    os.utime(file, ns=(1, 1))
    ring = KeyRing(Settings(api_keys_file=file))
    assert ring.find("first") is not None
    file.write_text("another\n")
    os.utime(file, ns=(1, 1))
    assert ring.find("first") is None


@pytest.mark.parametrize("value", ["", " ", ",", ", ,"])
def test_a_setting_without_keys_is_rejected(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Otherwise the service would accept every request."""
    monkeypatch.setenv("KOSMOS2_API_KEYS", value)
    with pytest.raises(ValidationError, match="has no value"):
        Settings()


UNUSABLE = ["batch:", "batch: secret", "schlüssel", "a\x7fb"]


@pytest.mark.parametrize("value", UNUSABLE)
def test_a_setting_with_a_key_that_no_client_can_send_is_rejected(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """`Authorization: Bearer`, without a key, would be accepted for a key that is empty."""
    monkeypatch.setenv("KOSMOS2_API_KEYS", value)
    with pytest.raises(ValidationError, match="after batch:"):
        Settings()


@pytest.mark.parametrize("value", UNUSABLE)
def test_a_key_in_a_file_that_no_client_can_send_is_left_out(tmp_path: Path, value: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"first\n{value}\n")
    with capture_logs() as lines:
        ring = KeyRing(Settings(api_keys_file=file))
    assert [line["num_left_out"] for line in lines] == [1]
    assert ring.find("first") is not None
    assert ring.find("") is None


def test_the_text_of_a_key_is_in_no_representation() -> None:
    settings = Settings(api_keys=(SecretStr("a planted marker"),))
    assert "planted" not in repr(settings) + str(settings) + repr(ApiKey.of("a planted marker"))


def test_calls_are_counted_per_key_and_window_over_all_processes(tmp_path: Path) -> None:
    first, second = SharedState(tmp_path / "state"), SharedState(tmp_path / "state")
    assert [first.count_call(5, 1), second.count_call(5, 1), first.count_call(7, 1)] == [1, 2, 1]
    assert second.count_call(5, 2) == 1


def test_more_keys_than_cells_are_still_counted(tmp_path: Path) -> None:
    state = SharedState(tmp_path / "state")
    assert {state.count_call(key, 1) for key in range(1, 400)} == {1}
