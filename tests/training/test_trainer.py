"""A training run may stop at any step and resume with the same result."""

import pytest
import torch

from training.build import make_trainer
from training.losses import language_loss, soft_cells
from training.model import ModelSize
from training.tokenizer import as_served, train_tokenizer
from training.trainer import Schedule

TINY = ModelSize(
    patch_size=32,
    vision_width=32,
    vision_layers=1,
    text_width=32,
    text_layers=3,
    vision_heads=1,
    text_heads=2,
)
SCHEDULE = Schedule(
    vision_steps=2, joint_steps=3, cooldown_steps=2, batch_size=2, warmup_steps=2, soft_steps=2
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(seed=0, num_scenes=100, num_pieces=400)


def make(tokenizer, state):
    return make_trainer(tokenizer, TINY, SCHEDULE, 0, state)


@pytest.fixture(scope="module")
def whole_run(tokenizer, tmp_path_factory):
    """A run without interruption."""
    trainer = make(tokenizer, tmp_path_factory.mktemp("whole") / "state.pt")
    trainer.run(num_workers=0)
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_resumed_run_ends_with_the_same_weights(whole_run, tokenizer, tmp_path, stop):
    """The run stops in stage 1, between the stages, or in stage 2."""
    make(tokenizer, tmp_path / "parts.pt").run(until=stop, num_workers=0)
    resumed = make(tokenizer, tmp_path / "parts.pt")
    assert resumed.step == stop
    resumed.run(num_workers=0)
    for name, weight in whole_run.lesson.state_dict().items():
        torch.testing.assert_close(resumed.lesson.state_dict()[name], weight, msg=name)


@pytest.mark.slow
def test_stage_1_does_not_change_the_decoder(tokenizer, tmp_path):
    trainer = make(tokenizer, tmp_path / "state.pt")
    before = trainer.lesson.model.text_model.model.layers[0].ffn.fc1.weight.clone()
    trainer.run(until=2, num_workers=0)
    layer = trainer.lesson.model.text_model.model.layers[0]
    assert torch.equal(layer.ffn.fc1.weight, before)
    trainer.run(until=3, num_workers=0)
    assert not torch.equal(layer.ffn.fc1.weight, before)


def test_a_longer_run_starts_like_a_shorter_one():
    """So a run can be extended before its cool-down."""
    short = Schedule(vision_steps=500, joint_steps=2000)
    long = Schedule(vision_steps=500, joint_steps=9000)
    for step in range(0, short.num_steps - short.cooldown_steps + 1, 50):
        assert short.learning_rate_at(step) == long.learning_rate_at(step)
        assert short.softness_at(step) == long.softness_at(step)
    assert short.learning_rate_at(short.num_steps - 1) < 0.01 * short.learning_rate


def test_location_targets_are_hard_at_the_end():
    schedule = Schedule(vision_steps=10, joint_steps=3000)
    assert schedule.softness_at(10) == schedule.softness
    assert schedule.softness_at(schedule.num_steps - 1) == 0


def test_soft_cells_are_a_distribution_around_the_right_cell():
    cells = torch.tensor([0, 33, 1023])
    weights = soft_cells(cells, softness=0.8)
    assert torch.equal(weights.argmax(1), cells)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert weights[1, 34] == pytest.approx(weights[1, 65].item())  # right and below


def test_the_language_loss_includes_answers_only():
    """The tokens of a prompt are written by users, so nothing is learned from them."""
    words = torch.eye(6)
    states = torch.zeros(1, 3, 6)
    states[0, 1, 2] = states[0, 2, 5] = 9.0
    labels = torch.tensor([[-100, 2, 5]])
    right = language_loss(states, words, labels, first_cell=4, softness=0)
    wrong = language_loss(states.roll(1, dims=1), words, labels, first_cell=4, softness=0)
    assert right["text"] < 0.01
    assert right["cell"] < 0.01
    assert wrong["text"] > 1
    assert wrong["cell"] > 1


def test_training_s_prefix_equals_the_service_s(tokenizer, tmp_path):
    trainer = make(tokenizer, tmp_path / "state.pt")
    assert trainer.lesson.prefix == as_served(tokenizer).prefix_ids
