"""Warns of variables of the environment whose names start like a setting, but are not one."""

from collections.abc import Mapping
from difflib import get_close_matches

from app.settings import Settings
from app.telemetry.logs import get_logger


def warn_of_unknown_settings(environment: Mapping[str, str]) -> None:
    """Log each variable `KOSMOS2_…` that is no setting: a misspelled one has no effect."""
    for name, nearest in find_unknown_settings(environment).items():
        get_logger().warning("no such setting", variable=name, nearest=nearest)


def find_unknown_settings(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return each variable that is no setting, with the setting that has a similar name.

    >>> find_unknown_settings({"KOSMOS2_SLOTS": "8", "KOSMOS2_QUANTISE": "int8", "HOME": "/"})
    {'KOSMOS2_QUANTISE': 'KOSMOS2_QUANTIZE'}
    >>> find_unknown_settings({"KOSMOS2_FOO": "1"})
    {'KOSMOS2_FOO': None}
    """
    prefix = Settings.model_config["env_prefix"]
    settings = [name.upper() for name in Settings.model_fields]
    unknown = {}
    for variable in sorted(environment):
        name = variable.upper().removeprefix(prefix)
        if variable.upper().startswith(prefix) and name not in settings:
            nearest = get_close_matches(name, settings, n=1)
            unknown[variable] = prefix + nearest[0] if nearest else None
    return unknown
