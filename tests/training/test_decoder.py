"""The packed forward pass gives the results of the library's own."""

import random

import pytest
import torch

from training.data import IGNORED, PADDING, Packer, TrainingScenes
from training.decoder import answer_states
from training.model import ModelSize, build_model
from training.tokenizer import as_served, train_tokenizer
from training.world import plan_scene

TINY = ModelSize(
    patch_size=32,
    vision_width=32,
    vision_layers=1,
    text_width=32,
    text_layers=2,
    vision_heads=2,
    text_heads=2,
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(seed=0, num_scenes=100, num_pieces=400)


def make_model(tokenizer):
    torch.manual_seed(0)
    first_cell = tokenizer.convert_tokens_to_ids("<patch_index_0000>")
    model = build_model(TINY, len(tokenizer), first_cell).eval()
    model.set_attn_implementation("eager")
    return model


def rows_of_pairs(pack):
    """Return each pair as the indices of its row and tokens."""
    for row, segments in enumerate(pack.segments):
        for segment in segments.unique():
            if segment != PADDING:
                yield row, torch.nonzero(segments == segment).squeeze(1)


def test_a_packed_pair_gets_the_same_logits_as_alone(tokenizer):
    """Pairs that attended to each other in training would fail in service."""
    model = make_model(tokenizer)
    prefix = as_served(tokenizer).prefix_ids
    rng = random.Random(5)
    pack = Packer(tokenizer, len(prefix), 2, 64).pack(plan_scene(rng), rng)
    image_embeds = torch.randn(1, 64, TINY.text_width) * TINY.text_width**-0.5
    batched = type(pack)(*(field[None] for field in pack))
    with torch.no_grad():
        states, _ = answer_states(model, prefix, image_embeds, batched)
        for row, tokens in rows_of_pairs(pack):
            ids = torch.tensor([[*prefix, *pack.ids[row, tokens].tolist()]])
            mask = torch.zeros_like(ids)
            mask[:, 2:66] = 1
            logits = model(
                input_ids=ids, image_embeds=image_embeds, image_embeds_position_mask=mask
            ).logits[0, len(prefix) :]
            packed = model.text_model.lm_head(states[row, tokens])
            torch.testing.assert_close(packed, logits, atol=1e-4, rtol=1e-4)


def test_labels_are_the_next_token_of_answers_only(tokenizer):
    prefix = as_served(tokenizer).prefix_ids
    scenes = TrainingScenes(0, 7, Packer(tokenizer, len(prefix), 3, 96))
    pack = scenes[0].pack
    for row, tokens in rows_of_pairs(pack):
        labels = pack.labels[row, tokens]
        asked = torch.nonzero(labels != IGNORED).squeeze(1)
        assert labels[asked[-1]] == tokenizer.eos_token_id
        assert torch.equal(labels[asked[:-1]], pack.ids[row, tokens][asked[:-1] + 1])
        assert asked[0] > 0
        assert torch.equal(asked, torch.arange(asked[0], asked[-1] + 1))


def test_a_scene_is_the_same_whenever_it_is_drawn(tokenizer):
    """A resumed run must use the scenes of an uninterrupted one."""
    scenes = TrainingScenes(0, 7, Packer(tokenizer, 67, 3, 96))
    first, again, other = scenes[4], scenes[4], scenes[5]
    assert torch.equal(first.pictures, again.pictures)
    assert torch.equal(first.pack.ids, again.pack.ids)
    assert not torch.equal(first.pictures, other.pictures)
