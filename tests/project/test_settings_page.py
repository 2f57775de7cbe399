"""docs/settings.md is what `make settings` writes, and every setting on it is described."""

import re
from pathlib import Path

from app.settings import Settings
from scripts.settings_page import page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
ROW = re.compile(r"^\| `KOSMOS2_(\w+)` \|", re.MULTILINE)


def test_the_page_equals_what_the_script_writes() -> None:
    """If this fails, run `make settings`."""
    assert PAGE.read_text() == page()


def test_the_page_has_one_row_per_setting() -> None:
    names = [name.lower() for name in ROW.findall(PAGE.read_text())]
    assert names == list(Settings.model_fields)


def test_every_setting_has_a_description() -> None:
    """A row without a meaning helps no operator."""
    fields = Settings.model_fields.items()
    assert [name for name, field in fields if not field.description] == []
