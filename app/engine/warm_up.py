"""The passes that run before an engine is ready, so that no request waits for kernels to load.

On CUDA they run all layers. On the CPU they run the first two of each kind: the others use the same
kernels, and at the published size a picture takes as long as a quarter of loading.
"""

import hashlib

from app.checkpoint.picture_size import PICTURE_BYTES
from app.engine.runner import Runner
from app.engine.sequence import Sequence
from app.ipc.engine_messages import Generate, SamplingParameters

_SHORT_PROMPT_TOKENS = 4  # without those of the picture
_CPU_PREFILL_ROWS = 32  # tokens that the warm-up prefills at once on a CPU, after prefixes
_NUM_NEW_TOKENS = 3  # up to two from the prefill, one from a decode pass

CPU_LAYERS = 2
"""Layers of the vision tower and of the decoder that the warm-up runs on a CPU.

Of the decoder's last layer, a prefix needs no more than the keys and values.
"""


def warm_up(runner: Runner, max_prefill_tokens: int, last_token_id: int) -> None:
    """Run each phase in the shapes of real steps.

    Half of the prompts of a batch are sampled.

    Args:
        last_token_id: last token of every prompt; one that has a draft.
    """
    for size, num_tokens in _warm_up_batches(runner, max_prefill_tokens):
        sequences = [_blank(runner, key, size, num_tokens, last_token_id) for key in range(size)]
        for sequence in sequences:
            sequence.slot = runner.slots.allocate()
        for choice in runner.prefill(sequences):
            choice.sequence.append(choice.token_id, lambda _: False)
        runner.decode(sequences)
        for sequence in sequences:
            runner.slots.free(sequence.held_slot)
    runner.pictures.clear()


def _warm_up_batches(runner: Runner, max_prefill_tokens: int) -> list[tuple[int, int]]:
    """Return the number of prompts of each batch, and the tokens of each prompt after its prefix.

    On CUDA the first prompts are as long as a slot; later batches have up to as many short ones as
    a step may prefill.
    """
    num_short = max_prefill_tokens // (len(runner.model.prefix_token_ids) + _SHORT_PROMPT_TOKENS)
    most = max(1, min(runner.slots.num_slots, num_short))
    if runner.device.type == "cpu":
        # Kernels of the CPU depend neither on the batch size nor on the length, and are no faster
        # the second time. At the published size a long prompt would take longer than loading.
        of_each = max(_SHORT_PROMPT_TOKENS, _CPU_PREFILL_ROWS // most)
        return [(most, min(of_each, _longest_prompt_tokens(runner)))]
    sizes = [size for size in (2, 4, 8, 16, 32, 64) if size < most]
    longest = (1, _longest_prompt_tokens(runner))
    short = [(size, _SHORT_PROMPT_TOKENS) for size in (*sizes, most, most) if size > 1]
    return [longest, longest, *short]


def _longest_prompt_tokens(runner: Runner) -> int:
    """Return the tokens of the longest prompt that a slot has room for, after its prefix."""
    return runner.slots.max_length - len(runner.model.prefix_token_ids) - _NUM_NEW_TOKENS


def longest_over_warm_up(runner: Runner, max_prefill_tokens: int) -> dict[str, float]:
    """Return the work of each phase's longest pass, relative to the passes of the warm-up.

    The longest prefill is that of one prompt which fills a slot.
    """
    batches = _warm_up_batches(runner, max_prefill_tokens)
    most_tokens = max(size * num_tokens for size, num_tokens in batches)
    prefill = max(1.0, _longest_prompt_tokens(runner) / most_tokens)
    if runner.device.type == "cuda":
        return {"prefill": prefill}
    of_decoder = _over_warm_up(len(runner.model.decoder.layers))
    return {
        "vision": _over_warm_up(len(runner.model.vision.tower.layers)),
        "prefill": of_decoder * prefill,
        "decode": of_decoder,
    }


def _over_warm_up(num_layers: int) -> float:
    return max(1.0, num_layers / CPU_LAYERS)


def _blank(
    runner: Runner, key: int, size: int, num_prompt_tokens: int, last_token_id: int
) -> Sequence:
    """Return one of `size` sequences for the warm-up."""
    prefix = runner.model.prefix_token_ids
    sampling = SamplingParameters(
        max_new_tokens=_NUM_NEW_TOKENS, no_repeat_ngram_size=3, temperature=float(key % 2)
    )
    # On CUDA each picture is new, so that the picture pass runs in all batch sizes.
    grey = size + key if runner.device.type == "cuda" else 0
    pixels = bytes([grey]) * PICTURE_BYTES
    digest = hashlib.sha256(pixels).digest()
    prompt = [*prefix, *[prefix[0]] * (num_prompt_tokens - 1), last_token_id]
    request = Generate(0, key, prompt, digest, sampling, deadline=float("inf"))
    return Sequence(b"warm-up", request, pixels, arrived_at=0.0)
