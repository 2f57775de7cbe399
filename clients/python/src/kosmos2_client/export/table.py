"""Writes CSV and Parquet: one row per prediction, or one row for a picture without any.

A picture in which nothing was found has a row without a class, and a picture without an answer has
a row with an error, so that both can be distinguished. Both formats are UTF-8: a replacement
character stands for bytes of a path that are not.
"""

import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TextIO

from kosmos2_client.conversions.rows import COLUMNS, Row, error_row, rows
from kosmos2_client.errors import InvalidInput
from kosmos2_client.export.dataset import Dataset
from kosmos2_client.export.output import new_file, replacing

_ROWS_PER_GROUP = 50_000
"""Rows that Parquet keeps in memory."""


def write_csv(dataset: Dataset, out: Path) -> int:
    """Write CSV with a header, and return the number of boxes; absent values are empty."""
    number = 0
    with new_file(out, newline="") as file:
        writer = csv.DictWriter(_UnixLines(file), COLUMNS)
        writer.writeheader()
        for row in _rows(dataset):
            writer.writerow(row)
            number += row["class"] is not None
    return number


def write_parquet(dataset: Dataset, out: Path) -> int:
    """Write Parquet, and return the number of boxes; absent values are null.

    Raises:
        InvalidInput: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InvalidInput("Parquet needs pyarrow: pip install 'kosmos2-client[parquet]'") from None
    types = {str: pa.string(), int: pa.int32(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    number, remaining = 0, _rows(dataset)
    with replacing(out) as partial, pq.ParquetWriter(partial, schema) as writer:
        while group := list(islice(remaining, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))
            number += sum(row["class"] is not None for row in group)
    return number


class _UnixLines:
    r"""A file of rows that end with `\n`.

    Before Python 3.13, csv quotes a `\r` in a value only if rows end with `\r\n`.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        """Write one row."""
        self._file.write(row.removesuffix("\r\n") + "\n")


def _rows(dataset: Dataset) -> Iterator[Row]:
    class_ids = dataset.class_ids(first=0)
    for picture in dataset.pictures():
        yield from rows(replace(picture, path=_as_unicode(picture.path)), class_ids)
    for line in dataset.errors():
        yield error_row(replace(line, path=_as_unicode(line.path)))


def _as_unicode(path: str) -> str:
    """Return a path with replacement characters for bytes that are no UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
