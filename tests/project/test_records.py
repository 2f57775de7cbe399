"""The index of decision records has each record, with its title and its status."""

import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "adr"
HEAD = re.compile(r"# ADR (?P<number>\d+): (?P<title>.+)\n\n- Status: (?P<status>[^#]+?)\n- Date: ")


def rows() -> Iterator[str]:
    """Yield the line of each record: its link and its status, without links to other records."""
    for record in sorted(FOLDER.glob("[0-9]*.md")):
        head = HEAD.match(record.read_text())
        assert head is not None, f"{record.name} has no title, status and date"
        status = re.sub(r"\[(ADR \d+)\]\([^)]*\)", r"\1", " ".join(head["status"].split()))
        yield f"| [{head['number']}. {head['title']}]({record.name}) | {status} |"


def test_the_index_has_every_record() -> None:
    """A record that is not in the index is not found."""
    index = (FOLDER / "README.md").read_text().splitlines()
    assert [line for line in index if line.startswith("| [")] == [*rows()]
