"""The two sides of the benchmarks on random weights do the same work: their tokens are equal."""

from pathlib import Path

from app.checkpoint import read_checkpoint
from app.settings import EMBEDDED_CHECKPOINT
from benchmarks.gpu_agreement import measure_agreement
from harness.checkpoints import tiny_config, write_random_checkpoint


def test_the_runner_gives_the_tokens_of_generate_on_each_request_alone(tmp_path: Path) -> None:
    """Times of work that differs would say nothing: same prompts, same ban, no end of answers."""
    directory = write_random_checkpoint(
        tmp_path / "random", tiny_config(EMBEDDED_CHECKPOINT), EMBEDDED_CHECKPOINT
    )
    agreement = measure_agreement(read_checkpoint(directory, "random", None), num_requests=3)
    assert agreement.share_equal == 1.0
    assert agreement.token_s > 0
    assert agreement.halves.keys() == {"bfloat16", "float16"}
    assert all(compared.num_invalid == 0 for compared in agreement.halves.values())
    assert agreement.halves["float16"].share_equal >= agreement.halves["bfloat16"].share_equal
