"""`kosmos2-client batch`: sends pictures to a service and writes one line of JSON per picture."""

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

from kosmos2_client.async_client import AsyncKosmos2
from kosmos2_client.batch.labels import Labels
from kosmos2_client.batch.request import BatchRequest, ServiceAnswerer
from kosmos2_client.batch.run import DEFAULT_CONCURRENCY, BatchRun
from kosmos2_client.batch.runner import Limits
from kosmos2_client.batch.sources import PATH_COLUMN, Sources, root_of
from kosmos2_client.retries import RetryPolicy

_EPILOG = """\
example: kosmos2-client batch photographs/ --url http://127.0.0.1:8000 \
--classes "red circle,blue square" --out run.jsonl

The same command continues a run that was interrupted. The exit code is 1 if a picture has an error.
"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "batch",
        help="send pictures to a service, and write one line of JSON per picture",
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="folder, picture, pattern, or list of paths: "
        "text with one per line, JSONL, CSV or Parquet",
    )
    add("--url", required=True, help="base URL of the service")
    add("--out", required=True, type=Path, help="run file; an existing one is continued")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--classes", help="names of classes with commas in between, or a JSON list")
    wanted.add_argument(
        "--classes-file",
        type=Path,
        help='JSON {"label": ["prompt", ...]}, or text with a class per line',
    )
    wanted.add_argument("--task", help="a task of POST /v1/ground")
    add("--text", help="phrase or question of the task")
    add("--max-new-tokens", type=int, help="longest answer of the task, in tokens")
    add("--confidence", type=float, help="least confidence of a detection; default: the service's")
    add("--tiles", help="none, auto, or JSON with width, height and overlap")
    add(
        "--root",
        type=Path,
        help="paths of the run file are relative to it; default: the folder, "
        "if it is the only source, otherwise the current folder",
    )
    add(
        "--path-column", default=PATH_COLUMN, help="column of paths in lists (default: %(default)s)"
    )
    add(
        "--retry-errors",
        type=Path,
        metavar="RUN",
        help="run only the pictures that have an error in this run file",
    )
    add(
        "--concurrency",
        type=int,
        default=DEFAULT_CONCURRENCY,
        help="largest number of requests at once (default: %(default)s); the service limits it",
    )
    add(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="for one request (default: %(default)s)",
    )
    add(
        "--patience",
        type=float,
        default=Limits.patience_s,
        metavar="SECONDS",
        help="time without any answer after which the run stops (default: %(default)s)",
    )
    add(
        "--api-key-file",
        type=Path,
        help="file whose first word is the API key; default: the KOSMOS2_API_KEY variable",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the pictures and return the exit code; see `BatchRun.run`."""
    return asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> int:
    retries = RetryPolicy(timeout_s=arguments.timeout, max_retries=0)
    key = read_api_key(arguments.api_key_file)
    async with AsyncKosmos2(arguments.url, key, retries) as client:
        return await batch_run_of(arguments).run(ServiceAnswerer(client))


def batch_run_of(arguments: argparse.Namespace) -> BatchRun:
    """Return the run that the options describe.

    Raises:
        Kosmos2ClientError: the classes are invalid.
        OSError: the file of the classes cannot be read.
    """
    root = arguments.root or root_of(arguments.sources)
    sources = Sources(arguments.sources, root, arguments.path_column, arguments.retry_errors)
    limits = Limits(patience_s=arguments.patience)
    return BatchRun(sources, request_of(arguments), arguments.out, arguments.concurrency, limits)


def request_of(arguments: argparse.Namespace) -> BatchRequest:
    """Return the request for each picture.

    Raises:
        Kosmos2ClientError: the classes are invalid.
        OSError: the file of the classes cannot be read.
    """
    names = ("task", "text", "max_new_tokens", "confidence", "tiles")
    given = {name: getattr(arguments, name) for name in names}
    fields = {name: value for name, value in given.items() if value is not None}
    if arguments.classes_file is not None:
        return BatchRequest(Labels.read(arguments.classes_file), fields)
    if arguments.classes is not None:
        return BatchRequest(Labels.from_names(split_classes(arguments.classes)), fields)
    return BatchRequest(fields=fields)


def split_classes(text: str) -> list[str]:
    """Return the names of an option.

    >>> split_classes("red circle, blue square"), split_classes('["a, b"]')
    (['red circle', 'blue square'], ['a, b'])
    """
    if text.lstrip().startswith("["):
        names: list[str] = json.loads(text)
        return names
    return [name.strip() for name in text.split(",") if name.strip()]


def read_api_key(path: Path | None) -> str | None:
    """Return the API key of a file, or of the environment; `None` without one."""
    if path is None:
        return os.environ.get("KOSMOS2_API_KEY") or None
    words = path.read_text(encoding="utf-8").split()
    return words[0] if words else None
