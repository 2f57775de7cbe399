"""The tests of exactness, sampling, 8-bit layers and vision pass on other processors' kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.instruction_sets import INSTRUCTION_SETS, other_instruction_sets

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


def run_kernel_tests(instruction_set: str, markers: str) -> None:
    """Run the tests with these markers in a process that uses another instruction set."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", markers, "tests/engine", "tests/model"],
        cwd=ROOT,
        env=os.environ | INSTRUCTION_SETS[instruction_set],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]


@pytest.mark.parametrize("instruction_set", other_instruction_sets())
def test_kernel_tests_pass_with_another_instruction_set(instruction_set: str) -> None:
    """A test that passes only on this processor would hide a defect on others."""
    run_kernel_tests(instruction_set, "kernels and not large")


@pytest.mark.large
@pytest.mark.parametrize("instruction_set", sorted(INSTRUCTION_SETS.keys() - {"native"}))
def test_all_kernel_tests_pass_with_another_instruction_set(instruction_set: str) -> None:
    """Includes the tests that take minutes."""
    run_kernel_tests(instruction_set, "kernels")


def test_the_instruction_sets_change_the_results_of_products() -> None:
    """Without a difference in the last bits the tests above would prove nothing.

    MKL's product alone would not show it: MKL uses AVX-512 on processors of one make only. The sums
    of a softmax depend on the width of a vector, if its rows are long.
    """
    program = (
        "import hashlib, torch; torch.manual_seed(0); "
        "product = torch.randn(71, 2048) @ torch.randn(2048, 512); "
        "print(hashlib.sha256(product.softmax(-1).numpy().tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for variables in map(INSTRUCTION_SETS.__getitem__, ("native", *other_instruction_sets()))
    }
    assert len(digests) == 3
