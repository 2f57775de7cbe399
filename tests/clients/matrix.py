"""The table of docs/clients.md that the test run writes: one row per call of a released client."""

import re
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
BEGIN, END = "<!-- matrix: written by `make test-clients` -->\n", "<!-- end -->\n"
_HEAD = "| client | version | call | streamed | asserted |\n|---|---|---|---|---|\n"
_TABLE = re.compile(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", re.DOTALL)

Row = tuple[str, str, str, str, str]


@dataclass
class Matrix:
    """The rows of the calls whose tests have passed so far."""

    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)

    def add(
        self, client: str, version: str, call: str, asserted: str, *, streamed: bool = False
    ) -> None:
        """Add a call after everything that `asserted` names has been asserted."""
        in_words = "yes" if streamed else "no"
        self.rows[client, call, in_words] = (client, version, call, in_words, asserted)

    def table(self) -> str:
        """Return the table, sorted, so that the order of the tests does not matter."""
        lines = (f"| {' | '.join(row)} |\n" for _, row in sorted(self.rows.items()))
        return _HEAD + "".join(lines)

    def write(self) -> None:
        """Write the table, unless this run left out a call that the page has."""
        text = PAGE.read_text()
        if set(rows_of(text)) <= {(*key,) for key in self.rows}:
            PAGE.write_text(_TABLE.sub(lambda _: self.table(), text))


def rows_of(text: str) -> list[tuple[str, str, str]]:
    """Return client, call and whether it is streamed, for each row of a page's table."""
    found = _TABLE.search(text)
    assert found is not None, "the page has no place for the table"
    lines = found[0].splitlines()[2:]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return [(client, call, streamed) for client, _, call, streamed, _ in cells]
