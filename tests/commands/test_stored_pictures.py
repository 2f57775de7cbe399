"""Names of pictures in an object store; a folder of this machine stands for one."""

from pathlib import Path

import pytest

from kosmos2_client.batch.names import NameSet
from kosmos2_client.batch.sources import InvalidSource

pytest.importorskip("pyarrow", reason="pyarrow is only required by ray[data]")

import pyarrow
from pyarrow import parquet

from app.commands.stored_pictures import StoredPictures


def names_of(path: Path) -> list[str]:
    return sorted(StoredPictures(path.as_uri(), "path").names(NameSet()))


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/b.png", "notes.txt", "._a.jpg", ".thumbnails/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert names_of(tmp_path) == ["a.jpg", "sub/b.png"]


def test_a_store_or_a_list_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"no Parquet")
    for uri in ("unknown://bucket/photographs", (tmp_path / "list.parquet").as_uri()):
        with pytest.raises(InvalidSource, match=uri):
            list(StoredPictures(uri, "path").names(NameSet()))


def test_an_entry_of_a_list_that_is_no_path_is_reported(tmp_path: Path) -> None:
    table = pyarrow.table({"path": ["a.jpg", None]})
    parquet.write_table(table, tmp_path / "list.parquet")
    with pytest.raises(InvalidSource, match="entry 2: no text in column 'path'"):
        names_of(tmp_path / "list.parquet")
