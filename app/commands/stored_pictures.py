"""Names of pictures in an object store, read through the file systems of pyarrow."""

from collections.abc import Iterator
from dataclasses import dataclass

from pyarrow import ArrowInvalid, fs, parquet

from kosmos2_client.batch.names import NameSet
from kosmos2_client.batch.sources import InvalidSource, checked_paths
from kosmos2_client.folders import is_picture


@dataclass(frozen=True)
class StoredPictures:
    """Pictures in a folder of an object store, or in a Parquet file with a column of paths.

    Attributes:
        uri: such as `s3://bucket/photographs` or `gs://bucket/list.parquet`.
        path_column: paths are relative to the folder of the Parquet file.
    """

    uri: str
    path_column: str

    @property
    def root(self) -> str:
        """The URI of the folder to which names are relative."""
        uri = self.uri.rstrip("/")
        return uri.rpartition("/")[0] if self._is_list else uri

    @property
    def _is_list(self) -> bool:
        return self.uri.endswith(".parquet")

    def names(self, done: NameSet) -> Iterator[str]:
        """Yield the name of each picture once; see `Sources.names`.

        Raises:
            InvalidSource: the folder has no picture, the URI has an unknown scheme, or the Parquet
                file is invalid, lacks the column of paths or has an entry that is no path.
            OSError: the store cannot be read.
        """
        found = self._names_in_list() if self._is_list else self._names_in_folder()
        try:
            yield from (name for name in found if done.add(name))
        except ArrowInvalid as error:
            raise InvalidSource(f"{self.uri}: {error}") from None

    def _names_in_list(self) -> Iterator[str]:
        yield from checked_paths(self._entries(), self.uri, self.path_column)

    def _entries(self) -> Iterator[object]:
        filesystem, path = fs.FileSystem.from_uri(self.uri)
        with filesystem.open_input_file(path) as file:
            table = parquet.ParquetFile(file)
            if self.path_column not in table.schema_arrow.names:
                raise InvalidSource(f"{self.uri}: no column {self.path_column!r}")
            for batch in table.iter_batches(columns=[self.path_column]):
                yield from batch.column(0).to_pylist()

    def _names_in_folder(self) -> Iterator[str]:
        filesystem, path = fs.FileSystem.from_uri(self.root)
        infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
        names = [info.path.removeprefix(path).lstrip("/") for info in infos if info.is_file]
        pictures = [name for name in names if is_picture(name)]
        if not pictures:
            raise InvalidSource(f"{self.uri}: no pictures found")
        yield from pictures
