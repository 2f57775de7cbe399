"""`make pictures`: reads files of every kind with our decoder and with an independent oracle.

    python -m reliability.pictures [--step 1] [--before COMMIT] [--out FOLDER]

The exit code is 1 when the decoder returns other pixels than the oracle, rejects a file without
naming its kind, or rejects a file that the decoder of an earlier commit read correctly.
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
from harness.oracle import read_pixels
from harness.picture_files import PictureFile, other_pictures, tiff_pictures
from reliability.results import publish

LOSSLESS_TOLERANCE, LOSSY_TOLERANCE = 2, 8
"""Largest allowed difference of a pixel, of 255."""

EQUAL, REFUSED, UNNAMED, WRONG, UNREAD = (
    "equal",
    "refused by name",
    "refused without a name",
    "wrong",
    "not read by the oracle",
)
_MAX_PIXELS = 10**6
# Runs in a folder with the code of another commit, so that `app` is the package of that commit.
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
    """The result for one file.

    Attributes:
        outcome: one of the constants above.
        expected: the oracle's pixels, (H, W, 3); `None` if it cannot read the file.
    """

    file: PictureFile
    outcome: str
    expected: NDArray[np.float64] | None

    def matches(self, pixels: NDArray[Any]) -> bool:
        """Return whether pixels, (H, W, 3) of 8 bits, match those of the oracle."""
        if self.expected is None or pixels.shape != self.expected.shape:
            return False
        tolerance = LOSSY_TOLERANCE if self.file.is_lossy else LOSSLESS_TOLERANCE
        return bool(np.abs(pixels - self.expected).max() <= tolerance)


def judge(file: PictureFile) -> Verdict:
    """Compare our decoder with the oracle on one file."""
    expected = _oracle_pixels(file)
    try:
        upright = decode_picture(file.data, max_pixels=_MAX_PIXELS).upright
    except UnsupportedImageFormat:
        return Verdict(file, REFUSED, expected)
    except RequestError:
        # The sender sees "damaged" and cannot know that the kind is not accepted.
        return Verdict(file, UNNAMED, expected)
    if expected is None:
        return Verdict(file, UNREAD, None)
    is_equal = Verdict(file, EQUAL, expected).matches(np.asarray(upright))
    return Verdict(file, EQUAL if is_equal else WRONG, expected)


def _oracle_pixels(file: PictureFile) -> NDArray[np.float64] | None:
    try:
        return read_pixels(file)
    except (ValueError, RuntimeError):  # raised by the oracle's libraries for missing features
        return None


def _newly_rejected(verdicts: Sequence[Verdict], commit: str) -> Iterator[str]:
    """Yield the files that we reject and that the decoder of a commit read correctly."""
    refused = [verdict for verdict in verdicts if verdict.outcome in (REFUSED, UNNAMED)]
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
            if verdict.matches(np.load(path)):
                yield verdict.file.name


def compare(step: int, before: str | None) -> dict[str, Any]:
    """Judge all files that are not TIFF, and every `step`-th layout of TIFF.

    Args:
        before: a commit; files that its decoder read correctly must not be rejected now.
    """
    files = itertools.chain(tiff_pictures(step), other_pictures())
    verdicts = [judge(file) for file in files]
    formats = Counter((verdict.file.format, verdict.outcome) for verdict in verdicts)
    report: dict[str, Any] = {"tool": "pictures", "files": len(verdicts)}
    for outcome in (EQUAL, REFUSED, UNNAMED, WRONG, UNREAD):
        report[outcome] = sum(verdict.outcome == outcome for verdict in verdicts)
    report["by format"] = {
        f"{name}, {outcome}": n for (name, outcome), n in sorted(formats.items())
    }
    for outcome in (WRONG, UNNAMED, UNREAD):
        named = [verdict.file.name for verdict in verdicts if verdict.outcome == outcome]
        report[f"names: {outcome}"] = named
    if before is not None:
        report[f"read correctly by {before}, refused now"] = list(_newly_rejected(verdicts, before))
    return report


def violations_of(report: dict[str, Any]) -> Iterator[str]:
    """Yield the missed goals."""
    for name in (WRONG, UNNAMED):
        if report[name]:
            yield f"{name}: {report[name]}"
    for name, value in report.items():
        if name.endswith("refused now") and value:
            yield f"{name}: {len(value)}"


def main() -> int:
    """Run the comparison as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--step", type=int, default=1, help="judge every STEP-th layout of TIFF")
    parser.add_argument("--before", metavar="COMMIT", help="compare with the decoder of a commit")
    parser.add_argument("--out", type=Path, help="folder for the JSON report")
    arguments = parser.parse_args()
    report = compare(arguments.step, arguments.before)
    return publish(report, list(violations_of(report)), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
