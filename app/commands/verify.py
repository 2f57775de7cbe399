"""`kosmos2 verify`: the options of the command; `app/verify` does the work."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.settings import Settings


def verify(
    model: Annotated[
        str | None,
        typer.Argument(help="Directory or hub id of a checkpoint. Default: KOSMOS2_MODEL."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of the hub id.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="The recorded picture. Default: next to the weights, or the hub's."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Only this device: cpu or cuda.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Only this dtype: float32, bfloat16 or float16.")
    ] = None,
    refcoco: Annotated[
        Path | None,
        typer.Option(help="Annotations of a split of RefCOCO, such as refcoco_val.json."),
    ] = None,
    flickr30k: Annotated[
        Path | None,
        typer.Option(help="Ids of a split of Flickr30k Entities, such as test.txt."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Pictures of the datasets. Default: `images` next to the file."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Questions per dataset.")] = 500,
    record: Annotated[
        bool, typer.Option("--record", help="Record the answers next to the weights instead.")
    ] = False,
) -> None:
    """Compare a checkpoint on this machine with its recorded answers and with transformers.

    Every device and dtype answers alone, in a batch, over HTTP and as a stream. The exit code is 1
    if anything differs.

    kosmos2 verify microsoft/kosmos-2-patch14-224 --report report
    """
    from app.verify.command import VerifyOptions
    from app.verify.command import verify as run
    from app.verify.record import record as write

    named: dict[str, Any] = {"model": model, "revision": revision}
    settings = Settings(**{name: value for name, value in named.items() if value is not None})
    if record:
        print(f"recorded: {write(settings.model, settings.revision, picture)}")
        return
    options = VerifyOptions(
        model=settings.model,
        revision=settings.revision,
        report=report,
        picture=picture,
        device=device,
        dtype=dtype,
        refcoco=refcoco,
        flickr30k=flickr30k,
        images=images,
        limit=limit,
    )
    raise typer.Exit(run(options))
