"""The line of a start on the CPU about other forms of the weights."""

import re

import pytest
import torch

from app.checkpoint.files import Checkpoint, open_checkpoint
from app.engine.alternatives import describe_alternatives
from app.engine.sizing import plan_memory
from app.model.linear import can_pack
from app.settings import EMBEDDED_CHECKPOINT, Settings
from harness.checkpoints import full_size_config
from harness.meta_model import describe_checkpoint

CPU = torch.device("cpu")
INT8, BFLOAT16 = "KOSMOS2_QUANTIZE=int8", "KOSMOS2_DTYPE=bfloat16"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return describe_checkpoint(tmp_path_factory.mktemp("published"), full_size_config())


def describe(
    checkpoint: Checkpoint, device: torch.device = CPU, dtype: torch.dtype = torch.float32,
    **settings: object,
) -> dict[str, str]:  # fmt: skip
    plan = plan_memory(Settings(**settings), checkpoint, device, dtype, 10**11)
    return describe_alternatives(checkpoint, plan, device, dtype)


def test_the_published_model_in_float32_has_two_alternatives(published: Checkpoint) -> None:
    described = describe(published)
    assert set(described) == {INT8, BFLOAT16}
    saved = {name: float(re.match(r"[\d.]+", text)[0]) for name, text in described.items()}  # type: ignore[index]
    weights_gb = plan_memory(Settings(), published, CPU, torch.float32, 10**11).weights_bytes / 1e9
    assert 0.4 * weights_gb < saved[BFLOAT16] < 0.6 * weights_gb
    assert 0.5 * weights_gb < saved[INT8] < 0.75 * weights_gb
    assert "2 of 100 answers" in described[INT8]
    assert ("several times as slow" in described[BFLOAT16]) == (not can_pack(torch.bfloat16))


def test_there_is_no_line_where_nothing_would_change(published: Checkpoint) -> None:
    embedded = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    assert describe(embedded) == {}
    assert describe(published, quantize="int8") == {}
    assert describe(published, dtype=torch.bfloat16) == {}
    assert describe(published, torch.device("cuda"), torch.float16) == {}
