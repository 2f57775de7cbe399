"""`kosmos2 batch`: the batch of `kosmos2-client`, which needs no service here."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.commands.options import Device, Dtype, Model, Revision
from kosmos2_client.batch import options as shared
from kosmos2_client.batch.options import BatchOptions
from kosmos2_client.batch.run import DEFAULT_CONCURRENCY
from kosmos2_client.batch.runner import Limits
from kosmos2_client.batch.sources import PATH_COLUMN


def batch(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(help=shared.SOURCES_HELP)],
    out: Annotated[Path, typer.Option(help=shared.OUT_HELP)],
    classes: Annotated[str | None, typer.Option(help=shared.CLASSES_HELP)] = None,
    classes_file: Annotated[Path | None, typer.Option(help=shared.CLASSES_FILE_HELP)] = None,
    task: Annotated[str | None, typer.Option(help=shared.TASK_HELP)] = None,
    text: Annotated[str | None, typer.Option(help=shared.TEXT_HELP)] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help=shared.MAX_NEW_TOKENS_HELP)] = None,
    confidence: Annotated[float | None, typer.Option(help=shared.CONFIDENCE_HELP)] = None,
    tiles: Annotated[str | None, typer.Option(help=shared.TILES_HELP)] = None,
    root: Annotated[Path | None, typer.Option(help=shared.ROOT_HELP)] = None,
    path_column: Annotated[str, typer.Option(help=shared.PATH_COLUMN_HELP)] = PATH_COLUMN,
    retry_errors: Annotated[Path | None, typer.Option(help=shared.RETRY_ERRORS_HELP)] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help=shared.CONCURRENCY_HELP)
    ] = DEFAULT_CONCURRENCY,
    timeout: Annotated[float, typer.Option(help="Seconds for one request of --url.")] = 120.0,
    patience: Annotated[float, typer.Option(help=shared.PATIENCE_HELP)] = Limits.patience_s,
    url: Annotated[
        str | None, typer.Option(help="URL of a running service, to start no engine here.")
    ] = None,
    api_key_file: Annotated[Path | None, typer.Option(help=shared.API_KEY_HELP)] = None,
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Run one request over folders of pictures; write one line of JSON per picture; resume.

    kosmos2 batch photographs/ --classes "red circle,blue square" --out run.jsonl

    The same command continues a run that was interrupted. The exit code is 1 if a picture has an
    error.
    """
    # Late, because these import prometheus_client, which `serve` must configure before.
    from app.commands.own_engine import run_with_engine
    from app.commands.preparation import one_shot_settings_of, open_with_notices
    from app.telemetry.logs import configure_logs
    from kosmos2_client.batch.options import read_api_key
    from kosmos2_client.commands.batch import run_with_service

    run = BatchOptions.from_mapping(context.params).to_run()
    if url is not None:
        running = run_with_service(run, url, read_api_key(api_key_file), timeout)
    else:
        settings = one_shot_settings_of(model=model, revision=revision, device=device, dtype=dtype)
        configure_logs(settings.log_level, "batch", settings.log_format)
        running = run_with_engine(run, settings, open_with_notices(settings))
    raise typer.Exit(asyncio.run(running))
