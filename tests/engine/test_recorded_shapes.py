"""Every pass that requests can require has a recorded shape that covers it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.cuda_graphs import Buckets, PictureBuckets
from app.engine.decode import PassShape
from app.engine.drafts import MAX_ROWS
from app.settings import MAX_NGRAM_SIZE

shapes = st.builds(
    PassShape,
    first_row=st.integers(0, 11),
    num_rows=st.integers(1, 13),
    length=st.integers(1, 512),
    max_ngram_size=st.integers(0, MAX_NGRAM_SIZE),
    is_sampled=st.booleans(),
    has_drafts=st.booleans(),
).filter(lambda shape: not shape.has_drafts or shape.first_row + shape.num_rows <= MAX_ROWS)


@given(st.integers(1, 16))
def test_every_number_of_pictures_has_a_recorded_pass(num_pictures: int) -> None:
    buckets = PictureBuckets.up_to(16)
    assert num_pictures <= buckets.round_up(num_pictures) in set(buckets.shapes())


@given(shapes)
def test_every_pass_that_requests_can_require_has_a_recorded_shape(shape: PassShape) -> None:
    """The recorded shape covers the rows, the tokens, the ban and the sampling."""
    buckets = Buckets.up_to(24, 512)
    rounded = buckets.round_up(shape)
    assert rounded in set(buckets.shapes())
    assert rounded.first_row == 0
    assert rounded.num_rows >= shape.first_row + shape.num_rows
    assert rounded.length >= shape.length
    assert rounded.max_ngram_size >= shape.max_ngram_size
    assert rounded.is_sampled == shape.is_sampled
    assert rounded.has_drafts == shape.has_drafts


@pytest.mark.parametrize("is_sampled", [False, True])
def test_an_ngram_size_above_the_recorded_ones_is_not_reduced(is_sampled: bool) -> None:
    """Only a checkpoint can set one; a smaller size would ban allowed tokens."""
    shape = PassShape(0, 1, 128, MAX_NGRAM_SIZE + 1, is_sampled)
    assert Buckets.up_to(24, 512).round_up(shape) == shape
