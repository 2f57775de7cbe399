"""`kosmos2-client batch`: sends pictures to a service and writes one line of JSON per picture."""

import argparse
import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kosmos2_client.async_client import AsyncKosmos2
from kosmos2_client.batch import options as shared
from kosmos2_client.batch.options import BatchOptions, InvalidOptions, read_api_key
from kosmos2_client.batch.request import ServiceAnswerer
from kosmos2_client.batch.run import BatchRun
from kosmos2_client.retries import RetryPolicy

_EPILOG = """\
example:
  kosmos2-client batch photographs/ --url http://127.0.0.1:8000 --classes "cat,dog" --out run.jsonl

The same command continues a run that was interrupted.
The exit code is 1 if a picture of this run has an error.
"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "batch",
        help="send pictures to a service, and write one line of JSON per picture",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,  # wraps no command of the epilog
        argument_default=argparse.SUPPRESS,  # the defaults are those of `BatchOptions`
    )
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help=shared.SOURCES_HELP)
    add("--url", required=True, help="Base URL of the service.")
    add("--out", required=True, type=Path, help=shared.OUT_HELP)
    add("--classes", help=shared.CLASSES_HELP)
    add("--classes-file", type=Path, help=shared.CLASSES_FILE_HELP)
    add("--task", help=shared.TASK_HELP)
    add("--text", help=shared.TEXT_HELP)
    add("--max-new-tokens", type=int, help=shared.MAX_NEW_TOKENS_HELP)
    add("--confidence", type=float, help=shared.CONFIDENCE_HELP)
    add("--tiles", help=shared.TILES_HELP)
    add("--root", type=Path, help=shared.ROOT_HELP)
    add("--path-column", help=f"{shared.PATH_COLUMN_HELP} Default: {BatchOptions.path_column}.")
    add("--retry-errors", type=Path, metavar="RUN", help=shared.RETRY_ERRORS_HELP)
    most = f"Default: {BatchOptions.concurrency}."
    add("--concurrency", type=int, help=f"{shared.CONCURRENCY_HELP} {most}")
    longest = f"Default: {BatchOptions.patience:.0f}."
    add("--patience", type=float, metavar="SECONDS", help=f"{shared.PATIENCE_HELP} {longest}")
    add("--timeout", type=float, default=120.0, help="Seconds for one request. Default: 120.")
    add("--api-key-file", type=Path, default=None, help=shared.API_KEY_HELP)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the pictures and return the exit code; see `BatchRun.run`."""
    batch = BatchOptions.from_mapping(vars(arguments)).to_run()
    key = read_api_key(arguments.api_key_file)
    return asyncio.run(run_with_service(batch, arguments.url, key, arguments.timeout))


async def run_with_service(batch: BatchRun, url: str, api_key: str | None, timeout_s: float) -> int:
    """Run the pictures with a running service and return the exit code; see `BatchRun.run`.

    Args:
        timeout_s: for one request.

    Raises:
        InvalidOptions: the timeout is not positive.
    """
    if not timeout_s > 0:  # also for NaN
        raise InvalidOptions("--timeout must be more than 0")
    _forget_missing_sniffio()
    retries = RetryPolicy(timeout_s=timeout_s, max_retries=0)
    async with AsyncKosmos2(url, api_key, retries) as client:
        return await batch.run(ServiceAnswerer(client))


def _forget_missing_sniffio() -> None:
    """Make the import of a missing `sniffio` fail at once.

    httpcore tries it several times per request. Each time Python searches all folders for it, which
    took an eighth of this command's processor time.
    """
    if "sniffio" not in sys.modules and find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]
