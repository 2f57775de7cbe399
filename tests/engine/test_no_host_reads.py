"""No pass reads from the host between its upload and its result, so CUDA graphs can record it.

The device `meta` has no numbers, so code that reads one fails, and a dispatch mode rejects tensors
of any other device. The model has the published size. Tests that run all shapes use one layer
instead of 24, since all layers do the same.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from app.checkpoint.picture_size import PICTURE_BYTES
from app.engine.cells import CellLogits
from app.engine.cuda_graphs import Buckets, PictureBuckets
from app.engine.decode import PassShape, TokenStep
from app.engine.kv_slots import KeyValueShape, KVSlots
from app.engine.picture_pass import PicturePass
from app.engine.prefill import PromptBatch, PromptPass
from app.engine.sampling import NO_TOKEN, RowOptions
from app.engine.sequence import Sequence
from app.ipc.engine_messages import Generate, SamplingParameters
from app.model.loading import Kosmos2Model
from harness.checkpoints import full_size_config
from harness.meta_model import META, build_meta_model
from harness.recordings import MetaOnly

NUM_SLOTS, LENGTH, MAX_PICTURES = 256, 512, 16

NUM_OTHER_COLUMNS = 2 + len(RowOptions())
"""Columns of a prompt's row in the upload before its tokens: slot, last token and options."""


@pytest.fixture(scope="module")
def model() -> Kosmos2Model:
    config = full_size_config()
    config.text_config.layers = config.vision_config.num_hidden_layers = 1
    return build_meta_model(config, LENGTH, torch.bfloat16)


def shape_of(model: Kosmos2Model) -> KeyValueShape:
    config = model.decoder.config
    heads = config.attention_heads
    return KeyValueShape(config.layers, heads, config.embed_dim // heads)


@pytest.fixture(scope="module")
def shape(model: Kosmos2Model) -> KeyValueShape:
    return shape_of(model)


@pytest.fixture(scope="module")
def slots(shape: KeyValueShape) -> KVSlots:
    return KVSlots(shape, NUM_SLOTS, LENGTH, torch.bfloat16, META)


@pytest.fixture(scope="module")
def cells(model: Kosmos2Model) -> CellLogits:
    return CellLogits(model.location_token_ids, NUM_SLOTS, META)


@pytest.fixture(scope="module")
def step(model: Kosmos2Model, slots: KVSlots, cells: CellLogits) -> TokenStep:
    return TokenStep(model, slots, cells)


def run_on_meta(run: Callable[[], object]) -> None:
    with torch.inference_mode(), MetaOnly():
        run()


@pytest.mark.slow
def test_a_step_of_any_recorded_shape_does_not_read_from_the_host(step: TokenStep) -> None:
    shapes = list(Buckets.up_to(NUM_SLOTS, LENGTH).shapes())
    assert len(shapes) == 132
    for shape in shapes:
        run_on_meta(lambda shape=shape: step(shape))  # type: ignore[misc]


@pytest.mark.slow
def test_a_step_and_a_picture_pass_of_all_layers_do_not_read_from_the_host() -> None:
    whole = build_meta_model(full_size_config(), LENGTH, torch.bfloat16)
    shape = shape_of(whole)
    slots = KVSlots(shape, NUM_SLOTS, LENGTH, torch.bfloat16, META)
    step = TokenStep(whole, slots, CellLogits(whole.location_token_ids, NUM_SLOTS, META))
    run_on_meta(lambda: step(PassShape(0, NUM_SLOTS, LENGTH, 8, is_sampled=True)))
    run_on_meta(lambda: PicturePass(whole, shape, MAX_PICTURES)(MAX_PICTURES))


@pytest.mark.parametrize("num_pictures", list(PictureBuckets.up_to(MAX_PICTURES).shapes()))
def test_a_picture_pass_does_not_read_from_the_host(
    model: Kosmos2Model, shape: KeyValueShape, num_pictures: int
) -> None:
    pictures = PicturePass(model, shape, MAX_PICTURES)
    run_on_meta(lambda: pictures(num_pictures))
    run_on_meta(lambda: pictures.read(num_pictures))


def prompt(model: Kosmos2Model, slot: int, num_tokens: int, temperature: float) -> Sequence:
    sampling = SamplingParameters(no_repeat_ngram_size=3, temperature=temperature)
    token_ids = [*model.prefix_token_ids, *[5] * num_tokens]
    sequence = Sequence(
        b"test", Generate(0, slot, token_ids, b"", sampling, math.inf), bytes(PICTURE_BYTES), 0.0
    )
    sequence.slot = slot
    return sequence


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("draft", [NO_TOKEN, 7])
@pytest.mark.parametrize("slot_numbers", [(0,), (3, 4, 5), (254, 255)])
def test_a_prompt_pass_uploads_once_and_does_not_read_from_the_host(
    model: Kosmos2Model,
    slots: KVSlots,
    cells: CellLogits,
    slot_numbers: tuple[int, ...],
    draft: int,
    temperature: float,
) -> None:
    """Another upload would wait for all work that was launched before it."""
    sequences = [prompt(model, slot, 3 + slot, temperature) for slot in slot_numbers]
    prompts = PromptPass(model, slots, cells, length_multiple=16)
    with CountUploads() as uploads:
        batch = prompts.stage(sequences, [s.row_options(draft) for s in sequences])
    assert uploads.count == 1
    run_on_meta(lambda: prompts(batch))
    assert (batch.inputs.shape[1] - NUM_OTHER_COLUMNS) % 16 == 0


class CountUploads(MetaOnly):
    """Counts the copies from the host to the device, and accepts the host's own work."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def check(self, func: object, tensors: list[Tensor]) -> None:
        self.count += len({tensor.device.type for tensor in tensors}) > 1


def test_planted_reads_and_host_tensors_are_detected(step: TokenStep) -> None:
    """Otherwise the tests above would prove nothing."""
    shape = PassShape(0, 2, 128, 8, is_sampled=True)
    number = torch.zeros(2, device=META)

    def read() -> None:
        step(shape)
        number[0].item()

    def mix() -> None:
        step(shape)
        torch.add(number, torch.tensor([1.0, 2.0]))

    def branch() -> None:
        step(shape)
        number[number > 0]

    for planted in (read, mix, branch):
        with pytest.raises((AssertionError, RuntimeError)):
            run_on_meta(planted)


def test_prompts_are_padded_so_that_attention_does_not_copy_the_mask(
    model: Kosmos2Model, slots: KVSlots, cells: CellLogits
) -> None:
    """Never beyond the length of a slot."""
    prompts = PromptPass(model, slots, cells, length_multiple=16)
    lengths = {n: prompt(model, 0, n - 67, 0.0) for n in (68, 80, 81, 511)}
    batches: dict[int, PromptBatch] = {
        n: prompts.stage([s], [s.row_options()]) for n, s in lengths.items()
    }
    padded = {
        number: batch.inputs.shape[1] - NUM_OTHER_COLUMNS for number, batch in batches.items()
    }
    assert padded == {68: 80, 80: 80, 81: 96, 511: 512}
