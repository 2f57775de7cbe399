"""The service and `generate` produce equal tokens in the benchmarks, so both do the same work."""

from pathlib import Path

import pytest

from app.checkpoint.files import read_checkpoint
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.gpu_agreement import measure_agreement
from harness.checkpoints import tiny_config, write_random_checkpoint


@pytest.mark.slow
def test_the_runner_returns_the_tokens_of_generate_for_each_request(tmp_path: Path) -> None:
    """Otherwise their times could not be compared."""
    directory = write_random_checkpoint(
        tmp_path / "random", tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT
    )
    agreement = measure_agreement(read_checkpoint(directory, "random", None), num_requests=3)
    assert agreement.share_equal == 1.0
    assert agreement.token_s > 0
    assert agreement.halves.keys() == {"bfloat16", "float16"}
    assert all(compared.num_invalid == 0 for compared in agreement.halves.values())
    assert agreement.halves["float16"].share_equal >= agreement.halves["bfloat16"].share_equal
