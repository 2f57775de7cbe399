"""Writes docs/settings.md: every setting with its default, its range and its meaning.

    python -m scripts.settings_page > docs/settings.md

All of it is read from `app.settings.Settings`, so the page cannot differ from the code.
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from typer.main import get_command

from app.commands.cli import cli
from app.settings import Settings

_HEAD = """# Settings

Written by `make settings` from [app/settings.py](../app/settings.py).

Set each one as an environment variable. Those with an option can also be passed to
`kosmos2 serve`; the option wins. A value outside its range stops the start with exit code 64 and a
message that names the setting.

| variable | option | default | range | meaning |
|---|---|---|---|---|
"""

_NOTES = """
## Notes

- **Durations** end in `_S` and are seconds, **sizes** end in `_BYTES` and are bytes.
- **Lists** are separated by commas or spaces.
- **Defaults** apply to variables that are not set. An empty one stops the start,
  except `KOSMOS2_INVOCATION_OPTIONS`.
- `KOSMOS2_KEEP_ALIVE_S` must exceed the idle timeout of the load balancer
  ([table](operations.md#idle-connections)).
- `KOSMOS2_CORS_ORIGINS`: browsers of the listed origins may send any header.
- `KOSMOS2_TRACING`: [traces](operations.md#traces) describes the variables.
"""

_BOUNDS = (("gt", "> {}"), ("ge", "≥ {}"), ("lt", "< {}"), ("le", "≤ {}"))


def rows() -> Iterator[str]:
    """Yield one table row per setting, in the order of `Settings`."""
    options = _options()
    for name, field in Settings.model_fields.items():
        option = f"`{options[name]}`" if name in options else ""
        cells = (f"`KOSMOS2_{name.upper()}`", option, _default(name, field), _range(field))
        meaning = (field.description or "").replace("|", "\\|")
        yield f"| {' | '.join(cells)} | {meaning} |\n"


def page() -> str:
    """Return the whole page."""
    return "".join((_HEAD, *rows(), _NOTES))


def _options() -> dict[str, str]:
    """Return the option of `kosmos2 serve` for each setting that has one."""
    # Typer's group has no type for its commands.
    serve: Any = get_command(cli).commands["serve"]  # type: ignore[attr-defined]
    return {parameter.name: parameter.opts[0] for parameter in serve.params}


def _default(name: str, field: FieldInfo) -> str:
    """Return the default as an operator would write it, or "not set"."""
    # The default is an absolute path, which differs per installation.
    if name == "model":
        return "the embedded checkpoint"
    if field.default is None or field.default == ():
        return "not set"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{field.default:g}`" if isinstance(field.default, float) else f"`{field.default}`"


def _range(field: FieldInfo) -> str:
    """Return the allowed values or bounds, empty if any value of the type is allowed.

    >>> _range(Settings.model_fields["port"])
    '0 to 65,535'
    >>> _range(Settings.model_fields["quantize"])
    '`none`, `int8`'
    """
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    bounds: dict[str, float] = {
        name: getattr(part, name)
        for part in field.metadata
        for name, _ in _BOUNDS
        if hasattr(part, name)
    }
    if bounds.keys() == {"ge", "le"}:
        return f"{bounds['ge']:,} to {bounds['le']:,}"
    return ", ".join(text.format(f"{bounds[name]:,}") for name, text in _BOUNDS if name in bounds)


def main() -> None:
    """Print the page."""
    print(page(), end="")


if __name__ == "__main__":
    main()
