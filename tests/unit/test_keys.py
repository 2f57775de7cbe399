"""Keys: known by their hashes, read again when their file changes, counted in all processes."""

from pathlib import Path

from pydantic import SecretStr

from app.http.keys import ApiKey, KeyRing
from app.settings import Settings
from app.shared_page import SharedPage


def test_without_keys_anybody_may_call() -> None:
    assert KeyRing(Settings()).is_open


def test_a_file_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    """An operator who names a file wants keys."""
    ring = KeyRing(Settings(api_keys_file=tmp_path / "keys"))
    assert not ring.is_open
    assert ring.find("") is None


def test_keys_of_a_file_change_with_it(tmp_path: Path) -> None:
    """Rotated without a restart."""
    file = tmp_path / "keys"
    file.write_text("first\nsecond\n")
    ring = KeyRing(Settings(api_keys_file=file, api_keys=(SecretStr("fixed"),)))
    assert ring.find("first") == ApiKey.of("first")
    file.write_text("third\n")
    assert ring.find("first") is None
    assert ring.find("third") is not None
    assert ring.find("fixed") is not None


def test_a_key_is_nowhere_in_what_is_shown_of_it() -> None:
    settings = Settings(api_keys=(SecretStr("a planted marker"),))
    assert "planted" not in repr(settings) + str(settings) + repr(ApiKey.of("a planted marker"))


def test_calls_are_counted_by_key_and_window_in_all_processes(tmp_path: Path) -> None:
    first, second = SharedPage(tmp_path / "page"), SharedPage(tmp_path / "page")
    assert [first.count_call(5, 1), second.count_call(5, 1), first.count_call(7, 1)] == [1, 2, 1]
    assert second.count_call(5, 2) == 1


def test_more_keys_than_there_are_cells_are_still_counted(tmp_path: Path) -> None:
    page = SharedPage(tmp_path / "page")
    assert {page.count_call(key, 1) for key in range(1, 400)} == {1}
