"""The text decoder over packed pairs: each pair attends to the picture and itself only."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import DynamicCache, Kosmos2ForConditionalGeneration

from training.data import Pack
from training.gaze import FIRST_IMAGE_TOKEN, NUM_IMAGE_TOKENS


def answer_states(
    model: Kosmos2ForConditionalGeneration,
    prefix: Sequence[int],
    image_embeds: Tensor,
    pack: Pack,
) -> tuple[Tensor, list[Tensor]]:
    """Run the decoder over the packed tokens.

    The picture's prefix runs once for all its rows, as in the service. The library's own forward
    pass supports padding masks only, but its layers accept any mask.

    Returns:
        The last hidden states, (B × rows, tokens, width), and for every layer the attention to the
        prefix, (B × rows, heads, tokens, prefix).
    """
    num_rows = pack.ids.shape[1]
    cache = _prefix_cache(model, prefix, image_embeds)
    for layer in cache.layers:
        layer.keys = layer.keys.repeat_interleave(num_rows, dim=0)
        layer.values = layer.values.repeat_interleave(num_rows, dim=0)
    ids, positions, segments = (field.flatten(0, 1) for field in pack[:3])
    words = model.text_model.model.embed_tokens(ids)
    visible = pair_mask(segments, len(prefix))
    heads = [layer.self_attn for layer in model.text_model.model.layers]
    with _seen(heads) as attentions:
        states = _run_layers(model, words, positions, visible, cache)
    return states, [attention[..., : len(prefix)] for attention in attentions]


@contextmanager
def _seen(attentions_of: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Record the attention of these modules, which the library's layers discard."""
    attentions: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: tuple[Tensor, Tensor]) -> None:
        attentions.append(output[1])

    hooks = [attention.register_forward_hook(keep) for attention in attentions_of]
    try:
        yield attentions
    finally:
        for hook in hooks:
            hook.remove()


def _prefix_cache(
    model: Kosmos2ForConditionalGeneration, prefix: Sequence[int], image_embeds: Tensor
) -> DynamicCache:
    """Return keys and values of `<s><image>…</image>` for every picture."""
    ids = torch.tensor(prefix, device=image_embeds.device).expand(len(image_embeds), -1)
    words = model.text_model.model.embed_tokens(ids)  # (B, 67, width)
    end = FIRST_IMAGE_TOKEN + NUM_IMAGE_TOKENS
    inputs = torch.cat(
        [words[:, :FIRST_IMAGE_TOKEN], image_embeds.to(words), words[:, end:]], dim=1
    )
    cache = DynamicCache()
    causal = torch.ones(len(prefix), len(prefix), device=ids.device).tril() > 0
    _run_layers(model, inputs, torch.arange(len(prefix), device=ids.device), causal, cache)
    return cache


def pair_mask(segments: Tensor, num_prefix_tokens: int) -> Tensor:
    """Return whether a token sees another, (B, 1, T, prefix + T): the prefix and its own pair."""
    num_tokens = segments.shape[1]
    causal = torch.ones(num_tokens, num_tokens, device=segments.device).tril() > 0
    own = (segments[:, :, None] == segments[:, None, :]) & causal
    prefix = own.new_ones(len(segments), num_tokens, num_prefix_tokens)
    return torch.cat([prefix, own], dim=-1)[:, None]


def _run_layers(
    model: Kosmos2ForConditionalGeneration,
    embeddings: Tensor,
    positions: Tensor,
    visible: Tensor,
    cache: DynamicCache,
) -> Tensor:
    """Run all layers over unscaled embeddings; this appends keys and values to `cache`."""
    decoder = model.text_model.model
    # The library counts positions from the number after the id of the padding.
    offset = decoder.embed_positions.padding_idx + 1
    position_embeddings = decoder.embed_positions.weights[positions + offset]
    states = embeddings * decoder.embed_scale + position_embeddings
    hidden = torch.zeros(visible.shape, device=visible.device, dtype=states.dtype)
    # The lowest finite number, as in the masks of the library: -inf could give NaN.
    hidden.masked_fill_(~visible, torch.finfo(states.dtype).min)
    for layer in decoder.layers:
        # By position, because transformers 5.24 renamed this parameter.
        states = layer(states, hidden, None, None, cache)
    normalised: Tensor = decoder.layer_norm(states)
    return normalised
