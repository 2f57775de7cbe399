"""Drafts are accepted only if they are chosen, and leave nothing behind if they are not."""

import math

import pytest
import torch

from app.engine.drafts import MAX_ROWS, are_worthwhile, choose_verified, store_tokens
from app.engine.kv_slots import KeyValueShape, KVSlots
from app.engine.sampling import NO_TOKEN, RowOptions, choose_next, noise_keys


def test_the_ban_after_a_draft_includes_the_draft() -> None:
    """The draft completes the history: only with it, the best token after it is a repetition."""
    held = torch.tensor([[3, 1, 2, 3, 0, 0], [3, 1, 2, 0, 3, 0]])  # tokens, a draft, anything
    options = staged([RowOptions(num_tokens=3, no_repeat_ngram_size=2, draft=d) for d in (3, 0)])
    best_is_one = [0.0, 9.0, 5.0, 1.0]
    logits = torch.tensor([[[0.0, 1.0, 2.0, 9.0], best_is_one], [[9.0, 0, 0, 0], best_is_one]])
    tokens, logarithms = choose_verified(logits, held, options, 2, is_sampled=False)
    assert tokens.tolist() == [[3, 2], [0, 1]]  # 3, 1 is a repetition; 0, 1 is not
    assert logarithms[:, 1].tolist() == pytest.approx(
        torch.tensor(best_is_one).log_softmax(0)[[2, 1]].tolist(), abs=1e-6
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_draft_whose_logits_are_not_finite_is_rejected(value: float) -> None:
    """The next pass then reads the token itself, and fails the row after its valid token."""
    first, held = [0.0, 9.0, 0.0], torch.tensor([[2, 1], [2, 1]])
    logits = torch.tensor([[first, [0.0, value, 0.0]], [first, [9.0, 0.0, 0.0]]])
    options = staged([RowOptions(num_tokens=1, draft=1)] * 2)
    tokens, logarithms = choose_verified(logits, held, options, 0, False)
    assert tokens.tolist() == [[1, NO_TOKEN], [1, 0]]
    assert logarithms[0, 0].isfinite()


def test_only_keys_and_values_of_rejected_drafts_are_cleared() -> None:
    """They may be NaN, which a mask does not hide from the next row of the slot."""
    slots = KVSlots(KeyValueShape(2, 3, 4), 3, 6, torch.float32, torch.device("cpu"))
    for layer in slots.layers:
        layer.fill_(math.nan)
    rows, lengths = torch.tensor([0, 1, 2]), torch.tensor([3, 5, 4])
    tokens = torch.tensor([[9, NO_TOKEN], [6, NO_TOKEN], [7, 8]])
    store_tokens(slots, rows, lengths, tokens)
    assert slots.token_ids.tolist() == [[0, 0, 0, 9, 0, 0], [0] * 5 + [6], [0, 0, 0, 0, 7, 8]]
    for layer in slots.layers:
        cleared = (layer == 0).all(dim=(0, 2, 4)).nonzero().tolist()
        assert cleared == [[0, 3], [1, 5]]
        assert layer.isnan().sum() == layer.numel() - 2 * 2 * 3 * 4


def test_each_token_is_drawn_with_the_noise_of_its_own_index() -> None:
    """The second token is the one that the next pass would draw; every other draft is wrong."""
    torch.manual_seed(5)
    num_rows, vocabulary, keys = 40, 30, noise_keys(11, 2).tolist()
    logits = torch.randn(num_rows, 2, vocabulary)
    held = torch.randint(vocabulary, (num_rows, 8))
    row = RowOptions(5, 2, 1.2, 20, 0.95, *keys[0])
    first, _ = choose_next(logits[:, 0], held, staged([row] * num_rows), 2, True)
    held[:, 5] = first
    later = row._replace(num_tokens=6, high_key=keys[1][0], low_key=keys[1][1])
    second, _ = choose_next(logits[:, 1], held, staged([later] * num_rows), 2, True)

    held[::2, 5] = (first[::2] + 1) % vocabulary
    drafted = row._replace(later_high_key=keys[1][0], later_low_key=keys[1][1])
    options = staged([drafted._replace(draft=draft) for draft in held[:, 5].tolist()])
    tokens, _ = choose_verified(logits, held, options, 2, True)
    assert tokens[:, 0].tolist() == first.tolist()
    assert tokens[1::2, 1].tolist() == second[1::2].tolist()
    assert set(tokens[::2, 1].tolist()) == {NO_TOKEN}


def staged(rows: list[RowOptions]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_a_pass_of_many_rows_reads_no_drafts() -> None:
    """Whether it did would depend on neighbours, and so would the rounding of an answer."""
    assert are_worthwhile([RowOptions(draft=5)] * MAX_ROWS)
    assert not are_worthwhile([RowOptions(draft=5)] * (MAX_ROWS + 1))


def test_a_pass_without_any_draft_reads_one_token_per_row() -> None:
    assert not are_worthwhile([RowOptions()])
