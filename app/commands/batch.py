"""`kosmos2 batch`: the batch of `kosmos2-client`, which needs no service here."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from app.commands.options import Device, Dtype, Model, Revision
from app.commands.ray_plan import Cluster
from app.errors import StartupError
from app.settings import Settings
from app.supervisor.termination import run_until_signal
from kosmos2_client.batch import options as shared
from kosmos2_client.batch.options import BatchOptions, InvalidOptions
from kosmos2_client.batch.run import DEFAULT_CONCURRENCY, BatchRun
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
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Run on a Ray cluster: auto or host:port on one of its nodes, or local (the "
            "default).",
        ),
    ] = None,
    ray_engines: Annotated[
        int | None, typer.Option(min=1, help="Engines on Ray. Default: as many as fit.")
    ] = None,
    ray_cores: Annotated[
        int, typer.Option(min=1, help="Cores of an engine on Ray without a GPU.")
    ] = 4,
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Run one request over folders of pictures; write one line of JSON per picture; resume.

    kosmos2 batch photographs/ --classes "red circle,blue square" --out run.jsonl

    The same command continues a run that was interrupted.

    The exit code is 1 if a picture of this run has an error.
    """
    # Late, because these import prometheus_client, which `serve` must configure before.
    from app.commands.own_engine import run_with_engine
    from app.commands.preparation import one_shot_settings_of, prepare
    from kosmos2_client.batch.options import read_api_key
    from kosmos2_client.commands.batch import run_with_service

    options = BatchOptions.from_mapping(context.params)
    run = options.to_run()  # wrong options are reported before a model is downloaded
    if ray is None:
        _refuse_stored(options.sources)
    if url is not None:
        key = read_api_key(api_key_file)
        raise typer.Exit(run_until_signal(run_with_service(run, url, key, timeout)))
    settings = one_shot_settings_of(model=model, revision=revision, device=device, dtype=dtype)
    if ray is not None:
        raise typer.Exit(_run_on_ray(options, run, settings, ray, ray_cores, ray_engines))
    checkpoint = prepare(settings, "batch")
    raise typer.Exit(run_until_signal(run_with_engine(run, settings, checkpoint)))


def _refuse_stored(sources: list[str]) -> None:
    """Refuse folders that only the file systems of Ray's extra can read."""
    stored = next(filter(_is_stored, sources), None)
    if stored is not None:
        raise InvalidOptions(f"{stored}: a folder in an object store needs --ray")


def _is_stored(source: str) -> bool:
    return "://" in source


def _run_on_ray(
    options: BatchOptions,
    run: BatchRun,
    settings: Settings,
    address: str,
    cores_per_engine: int,
    max_engines: int | None,
) -> int:
    """Run the pictures on a Ray cluster and return the exit code.

    Raises:
        StartupError: the extra `ray` is not installed.
    """
    cluster = Cluster(address, cores_per_engine, max_engines)
    try:
        from app.commands.preparation import prepare
        from app.commands.ray_batch import run_on_ray
        from app.commands.stored_pictures import StoredPictures
    except ImportError:
        raise StartupError("--ray needs pip install 'kosmos2-server[ray]'") from None
    if any(map(_is_stored, options.sources)):
        if len(options.sources) > 1:
            raise InvalidOptions("a folder in an object store must be the only source")
        run = replace(run, sources=StoredPictures(options.sources[0], options.path_column))
    prepare(settings, "batch")
    return run_on_ray(run, settings, cluster)
