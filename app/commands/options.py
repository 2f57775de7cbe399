"""Options that several commands share, with their help texts."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(help="Directory or hub id of a checkpoint. Default: the embedded checkpoint."),
]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of the hub id. Default: its main branch.")
]
Device = Annotated[str | None, typer.Option(help="Device to run on: auto, cpu or cuda.")]
Dtype = Annotated[
    str | None, typer.Option(help="Dtype of the weights: auto, float32, bfloat16 or float16.")
]
Pictures = Annotated[list[Path], typer.Argument(help="Picture files.", exists=True, dir_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print each whole answer as a line of JSON.")]
SaveAnnotated = Annotated[
    Path | None,
    typer.Option(help="File for the picture with its boxes drawn, or folder for several."),
]
