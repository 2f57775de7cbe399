"""`kosmos2 export` and `kosmos2 evaluate`: the commands of `kosmos2-client` with their options."""

import typer

FORWARDED = {"ignore_unknown_options": True, "allow_extra_args": True}
"""Settings of a command whose arguments the client parses, `--help` included."""


def export(context: typer.Context) -> None:
    """Write the answers of a batch as COCO, YOLO, Label Studio, CSV or Parquet."""
    _forward("export", context)


def evaluate(context: typer.Context) -> None:
    """Compare the answers of a batch with true boxes, and find thresholds."""
    _forward("evaluate", context)


def _forward(command: str, context: typer.Context) -> None:
    from kosmos2_client.cli import main

    raise typer.Exit(main([command, *context.args], program="kosmos2"))
