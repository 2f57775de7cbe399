"""Mistakes in the arithmetic that `kosmos2 verify` must find, planted in a copy of the package."""

import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """A mistake in one line of a file.

    Attributes:
        name: the row of the table in ADR 34.
        file: relative to the repository.
        right: the code, which occurs once in the file.
        found: start of a line of `kosmos2 verify` that reports the mistake.
    """

    name: str
    file: str
    right: str
    wrong: str
    found: str

    def plant(self, directory: Path) -> Path:
        """Copy the package without its weights into a directory, with the mistake; return it."""
        shutil.copytree(
            ROOT / "app",
            directory / "app",
            ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"),
        )
        file = directory / self.file
        file.write_text(self.mutated(file.read_text()))
        return directory

    def mutated(self, source: str) -> str:
        """Return the source with the mistake.

        Raises:
            ValueError: the right code does not occur exactly once.
        """
        if source.count(self.right) != 1:
            raise ValueError(f"{self.file} has {source.count(self.right)} times: {self.right}")
        return source.replace(self.right, self.wrong)


_ANSWERS = "alone, float32 on cpu: "
_LOGITS = "alone, float32 on cpu, logits: "

MUTATIONS = (
    Mutation(
        "query and key swapped in the loader",
        "app/model/parts.py",
        '("q_proj", "k_proj", "v_proj")',
        '("k_proj", "q_proj", "v_proj")',
        f"{_ANSWERS}0 of 10 answers equal",
    ),
    Mutation(
        "positions start at 1 instead of 2",
        "app/model/decoder.py",
        "_POSITIONS_AFTER_PADDING = 1",
        "_POSITIONS_AFTER_PADDING = 0",
        _LOGITS,
    ),
    Mutation(
        "embedding scale 1 % larger",
        "app/model/decoder.py",
        "math.sqrt(config.embed_dim)",
        "1.01 * math.sqrt(config.embed_dim)",
        _LOGITS,
    ),
    Mutation(
        "bilinear instead of bicubic filter",
        "app/pictures/decode.py",
        "Image.Resampling.BICUBIC",
        "Image.Resampling.BILINEAR",
        _LOGITS,
    ),
    Mutation(
        "JPEG round trip dropped",
        "app/pictures/decode.py",
        "if jpeg_round_trip:",
        "if False:",
        _LOGITS,
    ),
    Mutation(
        "n-gram ban skipped",
        "app/engine/sampling.py",
        "if max_ngram_size:",
        "if False:",
        f"{_ANSWERS}n_gram_ban: token ",
    ),
)
