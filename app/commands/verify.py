"""`kosmos2 verify`: the options of the command; `app/verify` does the work."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.commands.preparation import settings_of

VerifiedModel = Annotated[
    str | None,
    typer.Argument(help="Directory or hub id of a checkpoint. Default: KOSMOS2_MODEL."),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the hub id.")]
ReportFolder = Annotated[Path | None, typer.Option(help="Folder for report.html and report.json.")]
RecordedPicture = Annotated[
    Path | None,
    typer.Option(
        help="The recorded picture. Default: next to the weights, or the hub's.",
        exists=True,
        dir_okay=False,
    ),
]
OnlyDevice = Annotated[Literal["cpu", "cuda"] | None, typer.Option(help="Only this device.")]
OnlyDtype = Annotated[
    Literal["float32", "bfloat16", "float16"] | None, typer.Option(help="Only this dtype.")
]
Refcoco = Annotated[
    Path | None,
    typer.Option(
        help="Annotations of a split of RefCOCO, such as refcoco_val.json.",
        exists=True,
        dir_okay=False,
    ),
]
Flickr30k = Annotated[
    Path | None,
    typer.Option(
        help="Ids of a split of Flickr30k Entities, such as test.txt.", exists=True, dir_okay=False
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Pictures of the datasets. Default: `images` next to the file.",
        exists=True,
        file_okay=False,
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Questions per dataset.")]
Record = Annotated[
    bool, typer.Option("--record", help="Record the answers next to the weights instead.")
]


def verify(
    model: VerifiedModel = None,
    revision: Revision = None,
    report: ReportFolder = None,
    picture: RecordedPicture = None,
    device: OnlyDevice = None,
    dtype: OnlyDtype = None,
    refcoco: Refcoco = None,
    flickr30k: Flickr30k = None,
    images: Images = None,
    limit: Limit = 500,
    record: Record = False,
) -> None:
    """Compare a checkpoint on this machine with its recorded answers and with transformers.

    Every device and dtype answers alone, in a batch, over HTTP and as a stream.

    The exit code is 1 if anything differs.

    kosmos2 verify microsoft/kosmos-2-patch14-224 --report report
    """
    from app.verify.command import VerifyOptions
    from app.verify.command import verify as run
    from app.verify.record import record as write

    settings = settings_of(model=model, revision=revision)
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
