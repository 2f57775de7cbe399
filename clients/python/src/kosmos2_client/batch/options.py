"""The options that `kosmos2-client batch` and `kosmos2 batch` share, and the run they describe."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from kosmos2_client.batch.labels import Labels
from kosmos2_client.batch.request import BatchRequest
from kosmos2_client.batch.run import DEFAULT_CONCURRENCY, BatchRun
from kosmos2_client.batch.runner import Limits
from kosmos2_client.batch.sources import PATH_COLUMN, Sources, root_of
from kosmos2_client.errors import InvalidInput, Kosmos2ClientError
from kosmos2_client.texts import read_text

_REQUEST_FIELDS = ("task", "text", "max_new_tokens", "confidence", "tiles")

SOURCES_HELP = (
    "Folder with all its subfolders, picture, pattern, or list of paths: text with one per line, "
    "JSONL, CSV or Parquet."
)
OUT_HELP = "Run file, one line of JSON per picture. An existing one is continued."
ROOT_HELP = (
    "Paths of the run file are relative to it. Default: the folder, if it is the only source, "
    "otherwise the current folder."
)
PATH_COLUMN_HELP = "Column of the paths in JSONL, CSV and Parquet."
RETRY_ERRORS_HELP = "Run only the pictures that have an error in this run file."
CLASSES_HELP = "Names of classes with commas in between, or a JSON list of names."
CLASSES_FILE_HELP = (
    'JSON {"label": ["prompt", ...], ...}, or text with one class per line; more than 64 are '
    "allowed."
)
TASK_HELP = "A task of POST /v1/ground, instead of classes."
TEXT_HELP = "Phrase, expression, question or prompt of the task."
MAX_NEW_TOKENS_HELP = "Longest answer of the task, in tokens."
CONFIDENCE_HELP = "Least confidence of a detection. Default: the checkpoint's threshold."
TILES_HELP = "none, auto, or JSON with width, height and overlap."
CONCURRENCY_HELP = "Largest number of requests at once; fewer if the service is full."
PATIENCE_HELP = "Seconds without any answer, after which the run stops."
API_KEY_HELP = "File whose first word is the API key. Default: the KOSMOS2_API_KEY variable."


class InvalidOptions(Kosmos2ClientError):
    """The options contradict each other, or one of them cannot be read."""


@dataclass(frozen=True)
class BatchOptions:
    """Options of a run; the help texts above describe them."""

    sources: list[str]
    out: Path
    classes: str | None = None
    classes_file: Path | None = None
    task: str | None = None
    text: str | None = None
    max_new_tokens: int | None = None
    confidence: float | None = None
    tiles: str | None = None
    root: Path | None = None
    path_column: str = PATH_COLUMN
    retry_errors: Path | None = None
    concurrency: int = DEFAULT_CONCURRENCY
    patience: float = Limits.patience_s

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Return the options among the values of a command line."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})

    def to_run(self) -> BatchRun:
        """Return the run.

        Raises:
            Kosmos2ClientError: the options are invalid.
            OSError: the file of the classes cannot be read.
        """
        if self.concurrency < 1:
            raise InvalidOptions("--concurrency must be at least 1")
        if not self.patience > 0:  # also for NaN
            raise InvalidOptions("--patience must be more than 0")
        if self.retry_errors is not None and self.retry_errors.resolve() == self.out.resolve():
            raise InvalidOptions("--out must be another file than that of --retry-errors")
        root = root_of(self.sources) if self.root is None else self.root
        return BatchRun(
            Sources(self.sources, root, self.path_column, self.retry_errors),
            self._request(),
            self.out,
            self.concurrency,
            Limits(patience_s=self.patience),
        )

    def _request(self) -> BatchRequest:
        wanted = [self.classes, self.classes_file, self.task]
        if sum(option is not None for option in wanted) != 1:
            raise InvalidOptions("exactly one of --classes, --classes-file and --task is required")
        given = {name: getattr(self, name) for name in _REQUEST_FIELDS}
        request_fields = {name: value for name, value in given.items() if value is not None}
        return BatchRequest(self._labels(), request_fields)

    def _labels(self) -> Labels | None:
        if self.classes_file is not None:
            return Labels.read(self.classes_file)
        return None if self.classes is None else Labels.from_names(split_classes(self.classes))


def split_classes(text: str) -> list[str]:
    """Return the names of an option.

    >>> split_classes("red circle, blue square"), split_classes('["a, b"]')
    (['red circle', 'blue square'], ['a, b'])

    Raises:
        InvalidOptions: it starts like JSON, but is not a list of names.
    """
    if not text.lstrip().startswith("["):
        return [name.strip() for name in text.split(",") if name.strip()]
    try:
        names: list[str] = json.loads(text)
    except ValueError as error:
        raise InvalidOptions(f"--classes is no JSON list: {error}") from None
    if not all(isinstance(name, str) for name in names):
        raise InvalidOptions("--classes must be a JSON list of names")
    return names


def read_api_key(path: Path | None) -> str | None:
    """Return the API key of a file, or of `KOSMOS2_API_KEY`; `None` if neither is given.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: it is not UTF-8, or has no key.
    """
    # There is no option for the key itself: the list of processes would show it to every user.
    if path is None:
        return os.environ.get("KOSMOS2_API_KEY") or None
    words = read_text(path).split()
    if not words:
        raise InvalidInput(f"{path}: has no API key")
    return words[0]
