"""Our decoder agrees with independent readers on all kinds of files, or rejects them by name."""

from collections import Counter
from collections.abc import Iterable

import pytest

from harness.picture_files import PictureFile, other_pictures, tiff_pictures
from harness.tiff_compression import DEFLATE, LZW
from harness.tiffs import BLACK_IS_ZERO, CMYK, PALETTE, RGB, UNASSOCIATED, TiffKind, tiff_file
from reliability.pictures import EQUAL, REFUSED, judge

# Pillow warns about damaged metadata and large headers, numpy about computations of the oracle.
pytestmark = pytest.mark.filterwarnings("ignore")


def assert_as_the_oracle(files: Iterable[PictureFile], least_equal: float) -> None:
    verdicts = [judge(file) for file in files]
    ends = Counter(verdict.outcome for verdict in verdicts)
    assert [each.file.name for each in verdicts if each.outcome not in (EQUAL, REFUSED)] == []
    assert ends[EQUAL] >= least_equal * len(verdicts)


@pytest.mark.slow
def test_a_tiff_of_any_layout_is_read_as_by_the_oracle() -> None:
    """The test uses one layout of thirteen; `make pictures` uses all."""
    assert_as_the_oracle(tiff_pictures(step=13), 0.7)


@pytest.mark.large
def test_every_tiff_is_read_as_by_the_oracle() -> None:
    """There are thousands of layouts."""
    assert_as_the_oracle(tiff_pictures(), 0.7)


@pytest.mark.slow
def test_every_other_kind_is_read_as_by_the_oracle() -> None:
    """PNG, JPEG, GIF, BMP, WebP and AVIF."""
    assert_as_the_oracle(other_pictures(), 0.9)


BASELINE = [
    *(TiffKind(BLACK_IS_ZERO, bits) for bits in range(1, 17)),
    *(TiffKind(RGB, bits) for bits in range(1, 17)),
    *(TiffKind(RGB, bits, extras=(UNASSOCIATED,)) for bits in (4, 8, 12, 16)),
    *(TiffKind(PALETTE, bits) for bits in (1, 2, 4, 8, 16)),
    *(TiffKind(CMYK, bits) for bits in (4, 8, 12, 16)),
]
PREDICTED = [
    TiffKind(RGB, bits, compression=scheme, predictor=2)
    for bits in (8, 16)
    for scheme in (DEFLATE, LZW)
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*BASELINE, *PREDICTED], ids=str)
@pytest.mark.parametrize("is_big_endian", [False, True])
@pytest.mark.parametrize("is_planar", [False, True])
def test_baseline_and_predicted_tiffs_are_accepted(
    kind: TiffKind, is_big_endian: bool, is_planar: bool
) -> None:
    """Readers must support the baseline by the TIFF specification; editors write predictors."""
    fields = vars(kind) | {"is_big_endian": is_big_endian, "is_planar": is_planar}
    layout = TiffKind(**fields)
    assert judge(PictureFile(str(layout), tiff_file(layout))).outcome == EQUAL
