"""`make pictures`: files of every kind, read by our decoder and by the oracle.

    python -m reliability.pictures [--step 1] [--before COMMIT] [--out FOLDER]

Ends with code 1 when the decoder shows another picture than the oracle, refuses a file without
naming its kind, or refuses what the decoder of an earlier commit read correctly.
"""

import argparse
import io
import itertools
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import RequestError, UnsupportedImageFormat
from app.pictures.decode import decode_picture
from harness.oracle import shown_by
from harness.picture_files import PictureFile, other_pictures, tiff_pictures
from reliability.results import publish

LOSSLESS_TOLERANCE, LOSSY_TOLERANCE = 2, 8
"""Of 255, at the pixel that differs most."""

EQUAL, REFUSED, UNNAMED, WRONG, UNREAD = (
    "equal",
    "refused by name",
    "refused without a name",
    "wrong",
    "not read by the oracle",
)
_MAX_PIXELS = 10**6
_DECODE_ALL = """
import sys, numpy as np
from pathlib import Path
from app.pictures.decode import decode_picture
for path in sorted(Path(sys.argv[1]).glob("*.file")):
    try:
        picture = decode_picture(path.read_bytes(), max_pixels=10**6)
    except Exception:
        continue
    np.save(path.with_suffix(".npy"), np.asarray(picture.upright))
"""


@dataclass(frozen=True)
class Verdict:
    """What came of one file.

    Attributes:
        words: one of the constants above.
        shown: by the oracle; `None` if it does not read the file.
    """

    file: PictureFile
    words: str
    shown: NDArray[np.float64] | None

    def allows(self, pixels: NDArray[Any]) -> bool:
        """Return whether pixels, (H, W, 3) of 8 bits, are what the oracle sees."""
        if self.shown is None or pixels.shape != self.shown.shape:
            return False
        tolerance = LOSSY_TOLERANCE if self.file.is_lossy else LOSSLESS_TOLERANCE
        return bool(np.abs(pixels - self.shown).max() <= tolerance)


def judge(file: PictureFile) -> Verdict:
    """Compare our decoder with the oracle."""
    shown = _shown(file)
    try:
        upright = decode_picture(file.data, max_pixels=_MAX_PIXELS).upright
    except UnsupportedImageFormat:
        return Verdict(file, REFUSED, shown)
    except RequestError:
        return Verdict(file, UNNAMED, shown)
    if shown is None:
        return Verdict(file, UNREAD, None)
    is_equal = Verdict(file, EQUAL, shown).allows(np.asarray(upright))
    return Verdict(file, EQUAL if is_equal else WRONG, shown)


def _shown(file: PictureFile) -> NDArray[np.float64] | None:
    try:
        return shown_by(file)
    except (ValueError, RuntimeError):  # which the oracle's libraries raise for what they lack
        return None


def _refused_now(verdicts: Sequence[Verdict], commit: str) -> Iterator[str]:
    """The files that the decoder of a commit read correctly, and ours refuses."""
    refused = [verdict for verdict in verdicts if verdict.words in (REFUSED, UNNAMED)]
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "archive", commit, "app"]
        archive = subprocess.run(command, capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(folder, filter="data")
        files = Path(folder, "files")
        files.mkdir()
        for number, verdict in enumerate(refused):
            (files / f"{number:05}.file").write_bytes(verdict.file.data)
        subprocess.run([sys.executable, "-c", _DECODE_ALL, files], cwd=folder, check=True)
        for path in sorted(files.glob("*.npy")):
            verdict = refused[int(path.stem)]
            if verdict.allows(np.load(path)):
                yield verdict.file.name


def compare(step: int, before: str | None) -> dict[str, Any]:
    """Judge all files but TIFF, and of TIFF every `step`-th layout.

    Args:
        step: 1 for all of them.
        before: a commit whose decoder must not have read more.
    """
    files = itertools.chain(tiff_pictures(step), other_pictures())
    verdicts = [judge(file) for file in files]
    formats = Counter((verdict.file.format, verdict.words) for verdict in verdicts)
    report: dict[str, Any] = {"tool": "pictures", "files": len(verdicts)}
    for words in (EQUAL, REFUSED, UNNAMED, WRONG, UNREAD):
        report[words] = sum(verdict.words == words for verdict in verdicts)
    report["by format"] = {f"{name}, {words}": n for (name, words), n in sorted(formats.items())}
    for words in (WRONG, UNNAMED, UNREAD):
        report[f"names: {words}"] = [each.file.name for each in verdicts if each.words == words]
    if before is not None:
        report[f"read correctly by {before}, refused now"] = list(_refused_now(verdicts, before))
    return report


def violations_of(report: dict[str, Any]) -> Iterator[str]:
    """What must not be."""
    for name in (WRONG, UNNAMED):
        if report[name]:
            yield f"{name}: {report[name]}"
    for name, value in report.items():
        if name.endswith("refused now") and value:
            yield f"{name}: {len(value)}"


def main() -> int:
    """Run as the command line says; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--step", type=int, default=1, help="of the layouts of TIFF, judge every so many"
    )
    parser.add_argument("--before", metavar="COMMIT", help="compare with its decoder")
    parser.add_argument("--out", type=Path, help="a folder for the line of JSON")
    arguments = parser.parse_args()
    report = compare(arguments.step, arguments.before)
    return publish(report, list(violations_of(report)), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
