"""An engine that answers known prompts with given tokens instead of those of its weights.

The file `script.json` next to the weights holds the prompts with their tokens. So a checkpoint of
random weights gives the answers that were recorded from the true ones, through the whole service.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.engine import process
from app.engine.choices import ChosenToken
from app.engine.runner import Runner
from app.ipc.run_directory import RunDirectory

MODULE = "harness.scripted_engine"
NAME = "script.json"


@dataclass(frozen=True)
class Line:
    """The tokens to answer to a prompt about a picture.

    Attributes:
        token_ids: the whole prompt.
        picture_sha256: of the 224×224×3 bytes, hexadecimal.
        new_token_ids: the answer, with the end token.
    """

    token_ids: tuple[int, ...]
    picture_sha256: str
    new_token_ids: tuple[int, ...]

    @classmethod
    def of(cls, token_ids: Iterable[int], pixels: bytes, new_token_ids: Iterable[int]) -> "Line":
        """Return a line for the pixels of a picture."""
        digest = hashlib.sha256(pixels).hexdigest()
        return cls(tuple(token_ids), digest, tuple(new_token_ids))


def write_script(directory: Path, lines: Iterable[Line]) -> None:
    """Write the script into the directory of a checkpoint."""
    (directory / NAME).write_text(json.dumps([asdict(line) for line in lines]))


class ScriptedRunner(Runner):
    """A runner that computes every pass, and then replaces the first token of each sequence."""

    script: dict[tuple[tuple[int, ...], str], list[int]]

    def _locate(self, chosen: list[ChosenToken]) -> list[ChosenToken]:
        return super()._locate([self._replaced(c) for c in chosen if c.number == 0])

    def _replaced(self, choice: ChosenToken) -> ChosenToken:
        """Return the next token of the script; a prompt without a line keeps its own tokens."""
        sequence = choice.sequence
        key = tuple(sequence.request.token_ids), sequence.request.picture_digest.hex()
        line = self.script.get(key)
        if line is None:
            return choice
        return replace(choice, token_id=line[len(sequence.new_token_ids)])


def _read_script(directory: Path) -> dict[tuple[tuple[int, ...], str], list[int]]:
    lines = json.loads((directory / NAME).read_text())
    return {
        (tuple(line["token_ids"]), line["picture_sha256"]): line["new_token_ids"] for line in lines
    }


if __name__ == "__main__":
    ScriptedRunner.script = _read_script(
        RunDirectory(Path(sys.argv[1])).read_checkpoint().directory
    )
    process.main(ScriptedRunner)
