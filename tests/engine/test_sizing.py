"""Memory plans of the engine, for devices that this machine need not have."""

import sys
from pathlib import Path

import pytest
import torch

from app.checkpoint.files import Checkpoint
from app.engine.cuda_graphs import Buckets
from app.engine.sizing import (
    MIN_PICTURE_CACHE_BYTES,
    MemoryPlan,
    check_memory,
    choose_max_pictures,
    choose_prefill_tokens,
    choose_threads,
    free_bytes_of_container,
    out_of_memory_reported,
    plan_memory,
)
from app.errors import OutOfMemory
from app.settings import Settings
from harness.checkpoints import full_size_config
from harness.meta_model import describe_checkpoint

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
GB = 10**9

# Free memory in GB of a card that a process uses, and the number of slots planned for it.
CARDS = {
    "H100 80 GB": (84.0, 256),
    "A10": (23.6, 152),
    "T4": (15.6, 82),
    "RTX 3060": (12.3, 54),
    "MIG 1g.10gb": (10.0, 34),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return describe_checkpoint(tmp_path_factory.mktemp("published"), full_size_config())


def plan(
    checkpoint: Checkpoint, free: float, device: torch.device = CUDA, **settings: object
) -> MemoryPlan:
    dtype = torch.float16 if device == CUDA else torch.float32
    return plan_memory(Settings(**settings), checkpoint, device, dtype, int(free * GB))


@pytest.mark.parametrize("card", CARDS)
def test_a_card_gets_as_many_slots_as_fit_next_to_working_memory(
    published: Checkpoint, card: str
) -> None:
    """The plan reserves memory for recordings, sampling, libraries and pictures."""
    free, num_slots = CARDS[card]
    planned = plan(published, free)
    check_memory(published, planned, int(free * GB))
    assert planned.num_slots == num_slots
    assert planned.weights_bytes == pytest.approx(3.33 * GB, rel=0.01)
    assert planned.slot_bytes == 512 * 196_608
    num_passes = len(list(Buckets.up_to(num_slots, 512).shapes()))
    assert planned.working_bytes > GB + num_passes * 12e6 + num_slots * 5e6
    assert planned.total_bytes <= 0.95 * free * GB
    if num_slots < 256:
        more = plan(published, free, slots=num_slots + 1)
        assert more.total_bytes > 0.95 * free * GB


def test_half_of_the_remaining_memory_is_for_pictures(published: Checkpoint) -> None:
    """An H100 has 50 GB left after 256 slots; a small card has nothing left."""
    large, small = plan(published, 84.0), plan(published, 10.0)
    assert large.picture_cache_bytes > 15 * GB
    assert small.picture_cache_bytes < MIN_PICTURE_CACHE_BYTES + 0.1 * GB
    assert plan(published, 84.0, picture_cache_bytes=7).picture_cache_bytes == 7


def test_with_fewer_pictures_per_step_more_slots_fit(published: Checkpoint) -> None:
    few, default = plan(published, 10.0, max_pictures_per_step=1), plan(published, 10.0)
    assert few.num_slots > default.num_slots


def test_without_recordings_more_slots_fit(published: Checkpoint) -> None:
    assert plan(published, 10.0, recordings=False).num_slots > plan(published, 10.0).num_slots


def test_a_number_of_slots_that_does_not_fit_is_rejected_before_loading(
    published: Checkpoint,
) -> None:
    """Their memory for sampling counts too, not only their keys and values."""
    planned = plan(published, 12.3, slots=80)
    assert planned.num_slots == 80
    assert planned.weights_bytes + 80 * planned.slot_bytes < 12.3 * GB
    with pytest.raises(OutOfMemory, match="KOSMOS2_SLOTS"):
        check_memory(published, planned, int(12.3 * GB))


def test_running_out_of_memory_during_the_start_is_reported_with_advice(
    published: Checkpoint,
) -> None:
    """One line and exit code 71 instead of a traceback."""
    planned = plan(published, 12.3)
    with (
        pytest.raises(OutOfMemory, match="planted.*KOSMOS2_SLOTS"),
        out_of_memory_reported(published, planned),
    ):
        raise torch.OutOfMemoryError("planted\nand more")


@pytest.mark.parametrize(("requested", "planned"), [(512, 512), (500, 512), (80, 128)])
def test_slot_lengths_on_cuda_are_multiples_that_attention_uses_without_a_copy(
    published: Checkpoint, requested: int, planned: int
) -> None:
    assert plan(published, 84.0, max_sequence_length=requested).slot_length == planned
    assert plan(published, 84.0, CPU, max_sequence_length=requested).slot_length == requested


def test_on_the_cpu_the_model_alone_determines_the_slots(published: Checkpoint) -> None:
    assert plan(published, 84.0, CPU).num_slots == plan(published, 8.0, CPU).num_slots == 4


@pytest.mark.parametrize("num_processors", [1, 2, 10_000])
def test_torch_uses_at_most_the_processors_that_the_container_may_use(
    published: Checkpoint, num_processors: int
) -> None:
    """By itself, torch knows the affinity only, not the quota."""
    threads = choose_threads(plan(published, 84.0, CPU), CPU, num_processors)
    assert threads == min(num_processors, torch.get_num_threads())


def test_with_cuda_torch_uses_one_thread(published: Checkpoint) -> None:
    assert choose_threads(plan(published, 84.0), CUDA, 64) == 1


@pytest.mark.parametrize(
    ("device", "in_background", "expected"), [(CUDA, False, 16), (CPU, False, 4), (CPU, True, 8)]
)
def test_the_device_determines_the_pictures_of_a_step(
    device: torch.device, in_background: bool, expected: int
) -> None:
    assert choose_max_pictures(Settings(), device, in_background) == expected
    three = Settings(max_pictures_per_step=3)
    assert choose_max_pictures(three, device, in_background) == 3


@pytest.mark.parametrize(("device", "expected"), [("cpu", 600), ("cuda", 2048)])
def test_a_step_prefills_fewer_prompts_where_running_rows_wait_longer(
    device: str, expected: int
) -> None:
    assert choose_prefill_tokens(Settings(), torch.device(device)) == expected
    assert choose_prefill_tokens(Settings(max_prefill_tokens=700), torch.device(device)) == 700


def test_cached_files_count_as_free_memory_of_a_container(tmp_path: Path) -> None:
    """Otherwise the weights of an ended engine would stop the next one."""
    (tmp_path / "memory.max").write_text("12000000000\n")
    (tmp_path / "memory.current").write_text("7200000000\n")
    stat = "anon 400000000\nshmem 100000000\nactive_file 1700000000\ninactive_file 5000000000\n"
    (tmp_path / "memory.stat").write_text(stat)
    assert free_bytes_of_container(tmp_path) == 11_500_000_000


@pytest.mark.parametrize("limit", [None, "max\n"])
def test_a_container_without_a_limit_limits_nothing(tmp_path: Path, limit: str | None) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    assert free_bytes_of_container(tmp_path) == sys.maxsize
