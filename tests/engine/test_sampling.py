"""Sampling: ban, filters and distribution equal those of `transformers` in every row."""

import math

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
    RowOptions,
    SamplingRows,
    ban_repeated_ngrams,
    choose_next,
    choose_tokens,
    gumbel_noise,
    log_probabilities,
    noise_keys,
    race,
)

pytestmark = pytest.mark.kernels

VOCABULARY = 12


def rows_of(keys: torch.Tensor, temperature: float, top_k: int, top_p: float) -> SamplingRows:
    """Return sampling options of rows that differ only in their noise."""
    return SamplingRows(
        temperature=torch.full((len(keys),), temperature),
        top_k=torch.full((len(keys),), top_k),
        top_p=torch.full((len(keys),), top_p, dtype=torch.float64),
        keys=keys,
    )


def first_keys(num_seeds: int) -> torch.Tensor:
    """Return the noise keys of the first new token for many seeds, (R, 2)."""
    return torch.tensor(np.concatenate([noise_keys(seed, 1) for seed in range(num_seeds)])).long()


def reference_probabilities(
    logits: torch.Tensor, temperature: float, top_k: int, top_p: float
) -> torch.Tensor:
    """Return the probabilities with which `transformers` draws, (V,) float64."""
    kept = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k:
        kept = TopKLogitsWarper(top_k)(None, kept)
    if top_p < 1:
        kept = TopPLogitsWarper(top_p)(None, kept)
    return kept.double().softmax(-1)[0]


def assert_drawn_with(drawn: torch.Tensor, probabilities: torch.Tensor) -> None:
    """Pearson's chi-square test against the normal approximation, at 4.5 standard deviations."""
    counts = torch.bincount(drawn, minlength=len(probabilities)).double()
    assert counts[probabilities == 0].sum() == 0
    expected = probabilities[probabilities > 0] * len(drawn)
    statistic = ((counts[probabilities > 0] - expected) ** 2 / expected).sum().item()
    freedom = len(expected) - 1
    assert statistic <= freedom + 4.5 * math.sqrt(2 * max(freedom, 1)) + 10 * (freedom > 0)


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
def test_the_ngram_ban_equals_that_of_transformers(rows: list[tuple[list[int], int]]) -> None:
    """Few different tokens make many repeats; each row has its own length and n."""
    longest = max(len(token_ids) for token_ids, _ in rows)
    # Tokens beyond a row's length are arbitrary; the 4 would repeat an n-gram if it were read.
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


NUM_SEEDS = 20_000


@pytest.fixture(scope="module")
def keys() -> torch.Tensor:
    return first_keys(NUM_SEEDS)


ALONE = [(0.3, 1.0, 0), (1.0, 1.0, 0), (2.0, 1.0, 0)]
WITH_TOP_K = [(1.0, 1.0, top_k) for top_k in (1, 3, VOCABULARY, 1000)]
WITH_TOP_P = [(1.0, top_p, 0) for top_p in (0.05, 0.5, 0.9)]
TOGETHER = [
    (0.3, 0.05, 1000),
    (0.3, 0.9, 3),
    (1.0, 0.5, 1),
    (1.0, 0.9, 3),
    (2.0, 0.5, 12),
    (2.0, 0.9, 3),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"), [*ALONE, *WITH_TOP_K, *WITH_TOP_P, *TOGETHER]
)
def test_tokens_are_drawn_with_the_probabilities_of_transformers(
    keys: torch.Tensor, top_k: int, top_p: float, temperature: float
) -> None:
    """Over many seeds; tokens that a filter removes are never drawn."""
    logits = random_logits(1, seed=top_k)
    drawn = choose_tokens(logits.expand(len(keys), -1), rows_of(keys, temperature, top_k, top_p))
    assert_drawn_with(drawn, reference_probabilities(logits, temperature, top_k, top_p))


def test_a_banned_token_is_never_drawn(keys: torch.Tensor) -> None:
    """Temperature, top-k and top-p apply after the n-gram ban, as in `transformers`."""
    logits, held = random_logits(1, seed=3), torch.tensor([[2, 7, 2, 5, 2]])
    options = torch.tensor(
        [RowOptions(5, 2, 1.3, 8, 0.95, *pair) for pair in keys.tolist()], dtype=torch.float64
    )
    many = logits.expand(len(keys), -1)
    drawn, _ = choose_next(many, held.expand(len(keys), -1), options, 2, True)
    allowed = NoRepeatNGramLogitsProcessor(2)(held, logits)
    assert_drawn_with(drawn, reference_probabilities(allowed, 1.3, 8, 0.95))


def test_draws_of_one_request_are_independent() -> None:
    """Each new token of a request has its own noise."""
    keys = torch.tensor(noise_keys(11, NUM_SEEDS)).long()
    logits = random_logits(1, seed=5)
    drawn = choose_tokens(logits.expand(len(keys), -1), rows_of(keys, 1.0, 0, 1.0))
    probabilities = reference_probabilities(logits, 1.0, 0, 1.0)
    assert_drawn_with(drawn, probabilities)
    pairs = drawn[:-1] * VOCABULARY + drawn[1:]
    assert_drawn_with(pairs, torch.outer(probabilities, probabilities).flatten())


def test_temperature_zero_chooses_the_most_probable_token_in_a_mixed_batch() -> None:
    """Greedy and sampled rows share a batch."""
    logits = random_logits(2)
    rows = SamplingRows(
        temperature=torch.tensor([0.0, 1.0]),
        top_k=torch.tensor([0, 0]),
        top_p=torch.tensor([1.0, 1.0], dtype=torch.float64),
        keys=torch.tensor([[0, 0], [5, 6]]),
    )
    chosen = choose_tokens(logits, rows)
    assert chosen[0] == logits[0].argmax()
    assert chosen[1] == race(logits[1:], rows_of(rows.keys[1:], 1.0, 0, 1.0)).argmax()


def test_rounding_changes_a_draw_in_fewer_than_one_of_ten_thousand() -> None:
    """Kernels of two processors differ by a millionth, which may swap almost equal logits."""
    count, generator = 2000, torch.Generator().manual_seed(0)
    keys = torch.tensor(noise_keys(3, count)).long()
    logits = torch.randn(1, 500, generator=generator).repeat_interleave(2, dim=1)  # all in pairs
    logits = logits.expand(count, -1)
    rounding = (torch.rand(count, 1000, generator=generator) - 0.5) * 2e-6
    rows = rows_of(keys, 1.0, 0, 1.0)
    exact, rounded = race(logits, rows), race(logits + rounding, rows)
    changed = exact.argmax(-1) != rounded.argmax(-1)
    margins = exact.topk(2).values.diff().abs()[:, 0]
    assert (margins[changed] < 4e-6).all()
    assert changed.sum() <= 1


def mixed(word: int, key: int) -> int:
    """Return the result of the mixing step in Python's unbounded integers."""
    word ^= word >> 16
    word = word * 0x21F0AAAD % 2**32 ^ key
    word ^= word >> 15
    word = word * 0x735A2D97 % 2**32
    return word ^ word >> 15


def test_the_noise_hash_does_not_overflow_64_bits() -> None:
    """The hash is equal on every device; a change of it changes the answers of all seeds."""
    keys = [[0, 0], [2**32 - 1, 12345], [1, 2**32 - 1]]
    noise = gumbel_noise(torch.tensor(keys), 65037)
    for row, (high, low) in enumerate(keys):
        for token in (0, 1, 2, 999, 65036):
            uniform = (mixed(mixed(token, 0) ^ high, low) + 0.5) / 2**32
            assert noise[row, token].item() == pytest.approx(
                -math.log(-math.log(uniform)), abs=1e-12
            )


def test_noise_is_standard_gumbel_and_differs_between_tokens_and_keys() -> None:
    """Mean γ, variance π²/6; adjacent tokens and keys are not correlated."""
    noise = gumbel_noise(first_keys(50), 5000)
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)
    centred = noise - noise.mean()
    for shifted in (centred.roll(1, dims=0), centred.roll(1, dims=1)):
        assert abs((centred * shifted).mean().item()) < 0.02
    assert len(noise.unique()) > 0.9999 * noise.numel()


def test_log_probabilities_refer_to_the_whole_vocabulary_before_the_ban() -> None:
    """The score of a box is a confidence, which the ban must not change."""
    logits = random_logits(3)
    tokens = torch.tensor([[0, 1], [5, 0], [11, 3]])
    expected = logits.log_softmax(-1).gather(1, tokens)
    assert torch.allclose(log_probabilities(logits, tokens), expected, atol=1e-6)


def test_the_keys_of_a_request_depend_on_its_seed_alone() -> None:
    """A restarted request draws the same tokens from any index on."""
    assert np.array_equal(noise_keys(2**63 - 1, 9)[:4], noise_keys(2**63 - 1, 4))
    assert not np.array_equal(noise_keys(1, 9), noise_keys(2, 9))
    assert len({tuple(pair) for pair in noise_keys(3, 1000).tolist()}) == 1000
    assert not np.array_equal(noise_keys(2**62, 4), noise_keys(0, 4)), "all 63 bits count"
