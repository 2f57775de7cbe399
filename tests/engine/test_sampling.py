"""Choosing tokens: the ban, the filters and the draw are `transformers`' own, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    NoRepeatNGramLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from app.engine.sampling import (
    SamplingRows,
    ban_repeated_ngrams,
    choose_tokens,
    log_probabilities,
    uniform_numbers,
)

VOCABULARY = 12


def rows_of(
    num_rows: int, temperature: float, top_k: int, top_p: float, uniform: float
) -> SamplingRows:
    return SamplingRows(
        temperature=torch.full((num_rows,), temperature),
        top_k=torch.full((num_rows,), top_k),
        top_p=torch.full((num_rows,), top_p),
        uniform=torch.full((num_rows,), uniform, dtype=torch.float64),
    )


def random_logits(num_rows: int, seed: int = 0, vocabulary: int = VOCABULARY) -> torch.Tensor:
    return torch.randn(num_rows, vocabulary, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.lists(st.integers(0, 4), min_size=1, max_size=14), st.integers(0, 8)),
        min_size=1,
        max_size=5,
    )
)
def test_the_ban_forbids_what_transformers_forbids(rows: list[tuple[list[int], int]]) -> None:
    """Few different tokens make many repeats; each row has its own length and n."""
    longest = max(len(token_ids) for token_ids, _ in rows)
    # What lies beyond a row's length is anything; 4 would repeat if it were looked at.
    held = torch.tensor([ids + [4] * (longest - len(ids)) for ids, _ in rows])
    lengths = torch.tensor([len(ids) for ids, _ in rows])
    sizes = torch.tensor([size for _, size in rows])
    logits = random_logits(len(rows))
    banned = ban_repeated_ngrams(logits, held, lengths, sizes, int(sizes.max()))
    for row, (token_ids, size) in enumerate(rows):
        expected = logits[row : row + 1]
        if size:
            expected = NoRepeatNGramLogitsProcessor(size)(torch.tensor([token_ids]), expected)
        assert torch.equal(banned[row], expected[0])


@pytest.mark.parametrize("top_k", [0, 1, 3, VOCABULARY, 1000])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_only_tokens_that_transformers_keeps_are_drawn(
    top_k: int, top_p: float, temperature: float
) -> None:
    """Over many numbers in [0, 1) each kept token comes up as often as it is probable."""
    logits = random_logits(1, seed=top_k)
    kept = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k:
        kept = TopKLogitsWarper(top_k)(None, kept)
    if top_p < 1:
        kept = TopPLogitsWarper(top_p)(None, kept)
    count = 4000
    rows = rows_of(count, temperature, top_k, top_p, 0.0)
    evenly = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    rows = SamplingRows(rows.temperature, rows.top_k, rows.top_p, evenly)
    drawn = choose_tokens(logits.expand(count, -1), rows)
    shares = torch.bincount(drawn, minlength=VOCABULARY) / count
    assert torch.allclose(shares, kept.softmax(-1)[0], atol=1.5 / count)


def test_temperature_zero_takes_the_most_probable_token_beside_rows_that_draw() -> None:
    """Greedy and drawing rows share a batch."""
    logits = random_logits(2)
    rows = SamplingRows(
        temperature=torch.tensor([0.0, 1.0]),
        top_k=torch.tensor([0, 0]),
        top_p=torch.tensor([1.0, 1.0]),
        uniform=torch.tensor([0.999, 0.999], dtype=torch.float64),
    )
    chosen = choose_tokens(logits, rows)
    assert chosen[0] == logits[0].argmax()
    assert chosen[1] == logits[1].argsort(descending=True)[-1]


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_draw_a_token_that_is_kept(uniform: float) -> None:
    """Rounding of the sum must not lead beyond the last kept token."""
    logits = random_logits(1, vocabulary=5000)
    chosen = int(choose_tokens(logits, rows_of(1, 1.0, 7, 0.99, uniform))[0])
    assert chosen in logits[0].topk(7).indices


def test_a_log_probability_is_of_the_whole_vocabulary_before_the_ban() -> None:
    """The score of a box is a confidence, not a consequence of what was forbidden."""
    logits = random_logits(3)
    tokens = torch.tensor([0, 5, 11])
    expected = logits.log_softmax(-1)[torch.arange(3), tokens]
    assert torch.allclose(log_probabilities(logits, tokens), expected, atol=1e-6)


def test_the_numbers_of_a_request_depend_on_its_seed_alone() -> None:
    """A request that is started again draws the same tokens, from any index on."""
    assert np.array_equal(uniform_numbers(2**63 - 1, 9)[:4], uniform_numbers(2**63 - 1, 4))
    assert not np.array_equal(uniform_numbers(1, 9), uniform_numbers(2, 9))
    assert ((uniform_numbers(3, 1000) >= 0) & (uniform_numbers(3, 1000) < 1)).all()
