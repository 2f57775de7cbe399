"""The first token has the log-probabilities of the named tokens, equal to the reference's."""

import math
from pathlib import Path

import pytest

from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import (
    MAX_NAMED_TOKENS,
    Failure,
    Generate,
    SamplingParameters,
)
from app.ipc.pending_request import Prompt
from harness.engine_rig import EPOCH, EngineRig
from harness.reference import Reference
from harness.requests import random_requests

NAMED = ([5, 900], [], [7], [11, 12, 13, 2000])


@pytest.fixture(scope="module")
def prompts(directory: Path) -> list[Prompt]:
    requests = random_requests(Kosmos2Tokenizer.load(directory), len(NAMED), num_pictures=2)
    return [request.prompt for request in requests]


def sequence_for(runner: Runner, key: int, prompt: Prompt) -> Sequence:
    """Return a sequence that holds a slot; a temperature and a ban must not change the result."""
    sampling = SamplingParameters(
        max_new_tokens=3,
        no_repeat_ngram_size=1,
        temperature=0.5,
        top_k=3,
        named_token_ids=NAMED[key],
    )
    request = Generate(0, key, prompt.token_ids, prompt.picture_digest, sampling, math.inf)
    sequence = Sequence(b"test", request, prompt.pixels, arrived_at=0.0)
    sequence.slot = runner.slots.allocate()
    return sequence


@pytest.mark.parametrize("kind", ["exact", "recorded"])
@pytest.mark.parametrize("size", [1, len(NAMED)])
def test_log_probabilities_equal_the_reference(
    kind: str,
    size: int,
    directory: Path,
    prompts: list[Prompt],
    request: pytest.FixtureRequest,
) -> None:
    """Rows that name other numbers of tokens share a pass."""
    runner, reference = request.getfixturevalue(kind), Reference(directory)
    sequences = [sequence_for(runner, key, prompts[key]) for key in range(size)]
    chosen = runner.prefill(sequences)
    assert len(chosen) == size
    for choice in chosen:
        key = choice.sequence.request.key
        logits = reference.logits(list(prompts[key].token_ids), prompts[key].pixels, ngram_size=0)
        expected = logits.double().log_softmax(-1)[NAMED[key]].tolist()
        assert choice.named_log_probabilities == pytest.approx(expected, abs=1e-4)
        choice.sequence.append(choice.token_id, lambda _: False)
    assert not any(choice.named_log_probabilities for choice in runner.decode(sequences))
    for sequence in sequences:
        runner.slots.free(sequence.held_slot)


def test_only_the_first_token_brings_them(rig: EngineRig) -> None:
    """Also in an answer that another engine began: its first token brought them already."""
    sampling = SamplingParameters(max_new_tokens=3, named_token_ids=[5, 6])
    rig.submit(1, sampling=sampling)
    tokens, _ = rig.new_tokens_until_idle()
    assert [len(token.named_log_probabilities) for token in tokens[1]] == [2, 0, 0]
    rig.submit(2, sampling=sampling, new_token_ids=[tokens[1][0].token_id], is_replay=True)
    replayed, _ = rig.new_tokens_until_idle()
    assert [token.token_id for token in replayed[2]] == [t.token_id for t in tokens[1][1:]]
    assert not any(token.named_log_probabilities for token in replayed[2])


def test_a_request_that_names_too_many_tokens_fails_alone(rig: EngineRig) -> None:
    rig.submit(1, sampling=SamplingParameters(named_token_ids=[0] * (MAX_NAMED_TOKENS + 1)))
    assert rig.run_until_idle() == ({}, [Failure(EPOCH, 1, "engine_failure")])


def test_generation_ends_after_a_stop_token(rig: EngineRig) -> None:
    """The stop token is part of the answer, whose finish reason is that of the end token."""
    undisturbed = rig.tokens_of(1)
    index = next(n for n, token in enumerate(undisturbed) if token not in undisturbed[:n] and n > 1)
    stop = undisturbed[index]
    rig.submit(2, sampling=SamplingParameters(max_new_tokens=9, stop_token_ids=[stop]))
    tokens, _ = rig.new_tokens_until_idle()
    assert [token.token_id for token in tokens[2]] == undisturbed[: index + 1]
    assert tokens[2][-1].finish_reason == "stop"
