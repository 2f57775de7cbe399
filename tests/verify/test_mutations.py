"""Mistakes in the arithmetic are found by the recorded figures of the embedded checkpoint."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import EMBEDDED_CHECKPOINT
from harness.source_mutations import MUTATIONS, ROOT, Mutation

RECORD = (ROOT / "docs" / "adr" / "0034-recorded-answers.md").read_text()

each_mutation = pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)


@each_mutation
def test_a_mutation_fits_the_source_and_is_in_the_table(mutation: Mutation) -> None:
    """Otherwise the test below would run the right code."""
    source = (ROOT / mutation.file).read_text()
    assert mutation.mutated(source) != source
    assert f"\n| {mutation.name} | " in RECORD


@pytest.mark.large
@each_mutation
def test_verify_finds_a_mutation(mutation: Mutation, tmp_path: Path) -> None:
    """In the answers of the engine alone; `test_the_embedded_checkpoint_passes` is the control."""
    options = ("--device", "cpu", "--dtype", "float32")
    with subprocess.Popen(
        [sys.executable, "-m", "app.commands.cli", "verify", EMBEDDED_CHECKPOINT, *options],
        cwd=mutation.plant(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        lines = []
        for line in process.stdout or ():
            lines.append(line.strip())
            if line.startswith(f"differs     {mutation.found}"):
                process.send_signal(signal.SIGINT)  # the comparison with `generate` shows no more
                return
    pytest.fail("\n".join(lines))
