"""The command line `kosmos2`: `serve`, `ground`, `detect`, `batch`, `info`, `demo` and others."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from socket import socket
from typing import Annotated

import typer
from pydantic import ValidationError

from app.commands.batch import batch
from app.commands.bench import bench
from app.commands.datasets import FORWARDED, evaluate, export
from app.commands.options import (
    AsJson,
    Device,
    Dtype,
    Model,
    Pictures,
    Revision,
    SaveAnnotated,
)
from app.commands.preparation import one_shot_settings_of, prepare, settings_of
from app.commands.ray_plan import with_ray_address
from app.commands.standard_streams import announce, discard_output, open_standard_streams
from app.commands.verify import verify
from app.contract.examples import EMBEDDED_EXAMPLES, EXAMPLE_SCENE
from app.errors import Kosmos2Error, StartupError
from app.grounding.tasks import TASKS
from app.settings import Settings
from app.supervisor.ready_line import Ready
from app.supervisor.termination import exit_on_signals
from kosmos2_client import Kosmos2ClientError
from kosmos2_client.texts import reason_of

cli = typer.Typer(
    help="Serve Kosmos-2: a picture and a task in, grounded text with boxes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@cli.command()
def serve(
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free port.")] = None,
    http_workers: Annotated[int | None, typer.Option(help="Number of HTTP processes.")] = None,
    slots: Annotated[int | None, typer.Option(help="Sequences decoded at the same time.")] = None,
) -> None:
    """Serve over HTTP until SIGTERM, Ctrl-C or the end of the terminal.

    Every setting can also be set as KOSMOS2_… in the environment; docs/settings.md lists them.
    """
    from app.ipc.run_directory import RunDirectory
    from app.supervisor.listener import listen

    settings = settings_of(
        model=model,
        revision=revision,
        device=device,
        dtype=dtype,
        host=host,
        port=port,
        http_workers=http_workers,
        slots=slots,
    )
    _check(settings)
    # Until the supervisor drains on it, SIGTERM ends the process at once, also during a download.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    listener = listen(settings.host, settings.port)
    ops = None
    if settings.ops_port is not None:
        ops = listen(settings.host, settings.ops_port, "KOSMOS2_OPS_PORT={0}")
    checkpoint = prepare(settings, "supervisor")
    ready = _ready_at(settings, listener, ops)

    async def run(run_directory: RunDirectory) -> int:
        # Here, because it imports prometheus_client, which must find the run directory.
        from app.supervisor.supervisor import Supervisor

        supervisor = Supervisor(settings, checkpoint, run_directory, listener, ops_listener=ops)
        return await supervisor.run(lambda: announce(ready))

    exit_on_signals()  # which removes the directory
    with RunDirectory.create(settings, checkpoint) as run_directory:
        exit_code = asyncio.run(run(run_directory))
    raise typer.Exit(exit_code)


def _check(settings: Settings) -> None:
    """Raise `StartupError` for settings that no single field shows to be wrong."""
    has_keys = settings.api_keys or settings.api_keys_file is not None
    if settings.requests_per_minute is not None and not has_keys:
        raise StartupError(
            "KOSMOS2_REQUESTS_PER_MINUTE limits each API key; set KOSMOS2_API_KEYS_FILE or "
            "KOSMOS2_API_KEYS as well"
        )
    if "invocation_options" in settings.model_fields_set:
        from app.contract.invocation_options import check_invocation_options

        check_invocation_options(settings.invocation_options)
    if settings.tracing:
        from app.telemetry.tracing import check_installed

        check_installed()


@cli.command()
def ground(
    pictures: Pictures,
    task: Annotated[str, typer.Option(help=f"Task, one of {', '.join(TASKS)}.")],
    text: Annotated[
        str | None, typer.Option(help="Phrase, expression, question or prompt.")
    ] = None,
    regions: Annotated[
        str | None, typer.Option(help="Regions as JSON, as in POST /v1/ground.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Largest number of tokens to generate.")
    ] = None,
    json: AsJson = False,
    save_annotated: SaveAnnotated = None,
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Run one task on each picture, without a server.

    kosmos2 ground scene.png --task phrase_grounding --text "a red circle"

    kosmos2 ground *.jpg --task brief_caption --json --save-annotated boxes/ > captions.jsonl
    """
    from app.commands.ground import ground_pictures
    from app.commands.pictures import output_of
    from app.contract.request_models import GroundBody
    from app.contract.text_fields import fields_of_texts
    from app.contract.validation import validate
    from app.grounding.prompts import check_fields

    settings = one_shot_settings_of(model=model, revision=revision, device=device, dtype=dtype)
    fields = {"task": task, "text": text, "regions": regions, "max_new_tokens": max_new_tokens}
    texts = {name: str(value) for name, value in fields.items() if value is not None}
    body = validate(GroundBody, fields_of_texts(texts), strict=False)
    check_fields(body.to_request(b""))  # before a model is downloaded
    output = output_of(as_json=json, save_annotated=save_annotated, pictures=pictures)
    raise typer.Exit(ground_pictures(settings, prepare(settings, "ground"), pictures, body, output))


@cli.command()
def detect(
    pictures: Pictures,
    classes: Annotated[
        str, typer.Option(help="Names with commas in between, or a JSON list of names.")
    ],
    confidence: Annotated[
        float | None, typer.Option(help="Least confidence. Default: the checkpoint's threshold.")
    ] = None,
    tiles: Annotated[
        str | None,
        typer.Option(help="none, auto, or JSON with width, height and overlap."),
    ] = None,
    json: AsJson = False,
    save_annotated: SaveAnnotated = None,
    model: Model = None,
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Find the objects of given classes in each picture, without a server.

    kosmos2 detect scene.png --classes "red circle,blue square" --save-annotated boxes.png
    """
    from app.commands.detect import detect_pictures
    from app.commands.pictures import output_of
    from app.contract.detect_models import DetectBody
    from app.contract.text_fields import fields_of_texts
    from app.contract.validation import validate

    settings = one_shot_settings_of(model=model, revision=revision, device=device, dtype=dtype)
    fields = {"classes": classes, "confidence": confidence, "tiles": tiles}
    texts = {name: str(value) for name, value in fields.items() if value is not None}
    body = validate(DetectBody, fields_of_texts(texts), strict=False)
    output = output_of(as_json=json, save_annotated=save_annotated, pictures=pictures)
    raise typer.Exit(detect_pictures(settings, prepare(settings, "detect"), pictures, body, output))


@cli.command()
def info(model: Model = None, revision: Revision = None) -> None:
    """Show versions, device, model, memory and limits, without loading the model.

    Settings are read from the environment, so this shows what `kosmos2 serve` would run.
    """
    from app.commands.info import print_information

    settings = settings_of(model=model, revision=revision)
    raise typer.Exit(print_information(settings, prepare(settings, "info")))


@cli.command()
def demo() -> None:
    """Serve the embedded checkpoint, print the answer of every task on an example scene, stop."""
    from app.commands.demo import demonstrate

    raise typer.Exit(demonstrate())


cli.command()(bench)
cli.command()(verify)
cli.command()(batch)
for forwarded in (export, evaluate):
    cli.command(context_settings=FORWARDED, add_help_option=False)(forwarded)


def _ready_at(settings: Settings, listener: socket, ops_listener: socket | None) -> Ready:
    url = _url_of(settings, listener)
    ops_url = None if ops_listener is None else _url_of(settings, ops_listener)
    example = EMBEDDED_EXAMPLES[0].curl(url, EXAMPLE_SCENE)
    return Ready(url, ops_url, example)


def _url_of(settings: Settings, listener: socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"


def main() -> None:
    """Run the command line; print errors of the project as one line and exit with their code."""
    open_standard_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may not use UTF-8
    try:
        try:
            exit_on_signals()
            cli(with_ray_address(sys.argv[1:]))
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # the reader, such as `head`, closed the pipe
            print(reason_of(error), file=sys.stderr)
        discard_output()
        sys.exit(1)
    except StartupError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except (Kosmos2Error, Kosmos2ClientError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except ValidationError as error:
        for mistake in error.errors(include_url=False):
            message = mistake["msg"].removeprefix("Value error, ")
            print(f"{_variable_of(mistake['loc'])}: {message}", file=sys.stderr)
        # EX_USAGE of sysexits.h; app/errors.py has the other codes.
        sys.exit(64)


def _variable_of(location: Sequence[int | str]) -> str:
    """Return the name of the variable of a setting, or of its part.

    >>> _variable_of(["cors_origins", 0])
    'KOSMOS2_CORS_ORIGINS.0'
    """
    name = ".".join(map(str, location))
    is_field = name.partition(".")[0] in Settings.model_fields
    return f"{Settings.model_config['env_prefix']}{name}".upper() if is_field else name


if __name__ == "__main__":
    main()
