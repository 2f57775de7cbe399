"""Distributions over cells equal the softmax of the reference's logits over the 1024 cells."""

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from app.checkpoint.files import open_checkpoint
from app.engine.choices import ChosenToken
from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.errors import CheckpointError
from app.grounding.localization import CellDistribution
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import Generate, SamplingParameters
from app.ipc.pending_request import Prompt
from app.model.loading import load_model
from harness.reference import Reference
from harness.requests import random_requests

NUM_TOKENS = 6
OPTIONS = (
    SamplingParameters(max_new_tokens=NUM_TOKENS),
    SamplingParameters(max_new_tokens=NUM_TOKENS, no_repeat_ngram_size=1),
    SamplingParameters(max_new_tokens=NUM_TOKENS, temperature=0.5, top_k=3, seed=7),
    SamplingParameters(max_new_tokens=NUM_TOKENS, temperature=2.0, top_p=0.9, seed=8),
)
"""Neither the ban nor temperature and filters may change a distribution."""

Answers = dict[int, list[ChosenToken]]


@pytest.fixture(scope="module")
def prompts(directory: Path) -> list[Prompt]:
    requests = random_requests(Kosmos2Tokenizer.load(directory), len(OPTIONS), num_pictures=2)
    return [request.prompt for request in requests]


def assign_slots(runner: Runner, prompts: dict[int, Prompt]) -> list[Sequence]:
    """Return sequences that hold slots."""
    sequences = []
    for key, prompt in prompts.items():
        generate = Generate(0, key, prompt.token_ids, prompt.picture_digest, OPTIONS[key], math.inf)
        sequence = Sequence(b"test", generate, prompt.pixels, arrived_at=0.0)
        sequence.slot = runner.slots.allocate()
        sequences.append(sequence)
    return sequences


def answer(runner: Runner, prompts: dict[int, Prompt]) -> Answers:
    """Return the tokens of prompts that run together, by the number of their options."""
    sequences = assign_slots(runner, prompts)
    answers: Answers = defaultdict(list)
    chosen = runner.prefill(sequences)
    while chosen:
        for choice in chosen:
            choice.sequence.append(choice.token_id, lambda _: False)
            answers[choice.sequence.request.key].append(choice)
        running = [sequence for sequence in sequences if not sequence.is_finished]
        runner.launch(running)
        chosen = runner.decode(running)
    for sequence in sequences:
        runner.slots.free(sequence.held_slot)
    return answers


def check(runner: Runner, reference: Reference, answers: Answers, prompts: list[Prompt]) -> int:
    """Compare every distribution with the reference; return their number."""
    token_ids, count = runner.model.location_token_ids, 0
    for key, chosen in answers.items():
        history = list(prompts[key].token_ids)
        for choice in chosen:
            assert (choice.location is not None) == (choice.token_id in token_ids)
            if choice.location is not None:
                logits = reference.logits(history, prompts[key].pixels, ngram_size=0)
                cells = logits[token_ids.start : token_ids.stop].double().softmax(-1).numpy()
                ours = CellDistribution.from_message(choice.location)
                assert len(set(ours.cells.tolist())) == 32
                assert ours.probabilities == pytest.approx(cells[ours.cells], abs=1e-5)
                assert cells[ours.cells].min() >= np.sort(cells)[-32] - 1e-5
                count += 1
            history.append(choice.token_id)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "recorded"])
def test_distributions_equal_the_reference_alone_and_in_a_batch(
    kind: str, directory: Path, prompts: list[Prompt], request: pytest.FixtureRequest
) -> None:
    """For first and for later tokens, and for no other token than a location token."""
    runner, reference = request.getfixturevalue(kind), Reference(directory)
    together = answer(runner, dict(enumerate(prompts)))
    alone = {key: answer(runner, {key: prompt})[key] for key, prompt in enumerate(prompts)}
    assert check(runner, reference, together, prompts) > 4
    assert check(runner, reference, alone, prompts) > 4
    assert any(chosen[0].location for chosen in together.values())


def test_an_invalid_row_has_no_distribution(exact: Runner, prompts: list[Prompt]) -> None:
    """Its numbers could not be read as probabilities."""
    [sequence] = assign_slots(exact, {0: prompts[0]})
    [first] = exact.prefill([sequence])
    sequence.append(first.token_id, lambda _: False)
    for layer in exact.slots.layers:
        layer[:, sequence.held_slot] = math.nan
    [invalid] = exact.decode([sequence])
    exact.discard([sequence])
    exact.slots.free(sequence.held_slot)
    assert not invalid.is_valid
    assert invalid.location is None


def test_location_tokens_that_the_model_lacks_stop_the_start(directory: Path) -> None:
    """A tokenizer of another model would otherwise fail in the first pass."""
    checkpoint = open_checkpoint(str(directory))
    beyond = range(10**6, 10**6 + 1024)
    with pytest.raises(CheckpointError, match="location tokens beyond"):
        load_model(checkpoint, [0], beyond, 160, torch.device("cpu"), torch.float32, print)
