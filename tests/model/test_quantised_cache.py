"""8-bit weights on disk: the next start reads them, and no file can give other answers."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from structlog.testing import capture_logs

from app.checkpoint.files import open_checkpoint
from app.checkpoint.kept_weights import KeptWeights
from app.errors import CheckpointError
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.model.linear import LinearLayers
from app.model.loading import Kosmos2Model, load_model
from app.model.quantised import Int8Linear, QuantizedWeight, quantize
from app.model.quantised_cache import PartialFile, QuantizedCache
from app.settings import EMBEDDED_CHECKPOINT

pytestmark = pytest.mark.slow  # loads a model for each damage

KEPT, READ = "8-bit weights kept for next start", "8-bit weights read from disk"
NOT_KEPT, DAMAGED = "8-bit weights not kept for next start", "8-bit weights on disk are damaged"
SHAPES = {"first": (6, 8), "second": (4, 16)}


def load(kept: KeptWeights | None) -> tuple[Kosmos2Model, list[str]]:
    """Load the embedded checkpoint in 8 bits; return the logged events, too."""
    checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    prefix, cells = list(tokenizer.prefix_ids), tokenizer.location_token_ids
    cpu, int8 = torch.device("cpu"), LinearLayers.INT8
    with capture_logs() as logs:
        model = load_model(
            checkpoint, prefix, cells, 512, cpu, torch.float32, lambda _: None, int8, kept
        )
    return model, [line["event"] for line in logs]


def outputs_of(model: Kosmos2Model) -> list[torch.Tensor]:
    """Return the output of every 8-bit layer for one input, and all other parameters."""
    layers = [m for m in model.decoder.modules() if isinstance(m, Int8Linear)]
    inputs = [torch.linspace(-1, 1, layer.weight.num_inputs)[None] for layer in layers]
    outputs = [layer(rows) for layer, rows in zip(layers, inputs, strict=True)]
    return [*outputs, *model.decoder.parameters(), *model.vision.parameters()]


def are_equal(one: Kosmos2Model, other: Kosmos2Model) -> bool:
    pairs = zip(outputs_of(one), outputs_of(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def quantized() -> Kosmos2Model:
    """The model without any file."""
    return load(None)[0]


@pytest.fixture
def kept(tmp_path: Path) -> KeptWeights:
    """A file in a directory that does not exist yet."""
    return KeptWeights(tmp_path / "cache" / "model.safetensors", "this checkpoint")


def test_the_second_start_reads_what_the_first_wrote(
    kept: KeptWeights, quantized: Kosmos2Model
) -> None:
    first, first_events = load(kept)
    content = kept.path.read_bytes()
    second, second_events = load(kept)
    assert (first_events, second_events) == ([KEPT], [READ])
    assert are_equal(first, quantized)
    assert are_equal(second, quantized)
    assert [file.name for file in kept.path.parent.iterdir()] == [kept.path.name]
    assert kept.path.read_bytes() == content


def test_progress_reaches_the_same_number_of_bytes_with_a_file(kept: KeptWeights) -> None:
    checkpoint = open_checkpoint(str(EMBEDDED_CHECKPOINT))
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    prefix, cells = list(tokenizer.prefix_ids), tokenizer.location_token_ids
    cpu, int8 = torch.device("cpu"), LinearLayers.INT8
    totals = []
    for _ in range(2):
        filled: list[int] = []
        load_model(checkpoint, prefix, cells, 512, cpu, torch.float32, filled.append, int8, kept)
        totals.append(sum(filled))
    assert totals[0] == totals[1] > 0


def write(kept: KeptWeights, weights: dict[str, QuantizedWeight]) -> None:
    with QuantizedCache(kept, SHAPES) as cache:
        for name, weight in weights.items():
            cache.write(name, weight)


def random_weights() -> dict[str, QuantizedWeight]:
    return {name: quantize(torch.randn(shape)) for name, shape in SHAPES.items()}


def test_the_file_is_one_of_safetensors(kept: KeptWeights) -> None:
    weights = random_weights()
    write(kept, weights)
    tensors = load_file(kept.path)
    assert tensors.keys() == {
        "first.scales", "first.levels", "second.scales", "second.levels", "digests"
    }  # fmt: skip
    for name, weight in weights.items():
        assert torch.equal(tensors[f"{name}.levels"], weight.levels)
        assert torch.equal(tensors[f"{name}.scales"], weight.scales)


@pytest.mark.parametrize(
    "other",
    [
        KeptWeights(Path(), "another checkpoint"),
        KeptWeights(Path(), "this checkpoint, and more"),
        KeptWeights(Path(), ""),
    ],
)
def test_the_file_of_another_source_is_replaced(kept: KeptWeights, other: KeptWeights) -> None:
    write(KeptWeights(kept.path, other.source), random_weights())
    weights = random_weights()
    with QuantizedCache(kept, SHAPES) as cache:
        assert cache.read("first") is None
        for name, weight in weights.items():
            cache.write(name, weight)
    with QuantizedCache(kept, SHAPES) as cache:
        read = cache.read("first")
    assert read is not None
    assert torch.equal(read.levels, weights["first"].levels)


def test_the_file_of_other_shapes_is_not_read(kept: KeptWeights) -> None:
    write(kept, random_weights())
    with QuantizedCache(kept, SHAPES | {"first": (8, 6)}) as cache:
        assert cache.read("first") is None
        assert cache.read("second") is None


@pytest.mark.parametrize("num_bytes", [0, 7, 100, -1, 1])
def test_a_file_of_another_length_is_not_read(kept: KeptWeights, num_bytes: int) -> None:
    """Truncated to a number of bytes, one byte shorter, one byte longer."""
    write(kept, random_weights())
    content = kept.path.read_bytes()
    kept.path.write_bytes(content + b"\0" if num_bytes == 1 else content[:num_bytes])
    with QuantizedCache(kept, SHAPES) as cache:
        assert cache.read("first") is None


def test_every_changed_byte_is_noticed(kept: KeptWeights) -> None:
    """Each byte of the file in turn, header and checksums included."""
    weights = random_weights()
    write(kept, weights)
    content = kept.path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 4
        kept.path.write_bytes(changed)
        with capture_logs(), QuantizedCache(kept, SHAPES) as cache:
            read = {name: cache.read(name) for name in SHAPES}
        assert None in read.values(), f"byte {position}"
        for name, weight in read.items():
            if weight is not None:
                assert torch.equal(weight.levels, weights[name].levels)
                assert torch.equal(weight.scales, weights[name].scales)


def test_a_damaged_layer_is_quantized_again_and_the_next_start_writes_the_file_anew(
    kept: KeptWeights, quantized: Kosmos2Model
) -> None:
    load(kept)
    content = bytearray(kept.path.read_bytes())
    content[len(content) // 2] ^= 1
    kept.path.write_bytes(content)
    runs = [load(kept) for _ in range(3)]
    assert [events for _, events in runs] == [[DAMAGED], [KEPT], [READ]]
    assert all(are_equal(model, quantized) for model, _ in runs)


def test_without_a_directory_the_start_logs_one_line_and_continues(
    tmp_path: Path, quantized: Kosmos2Model
) -> None:
    """As with a file system that is mounted read-only."""
    (tmp_path / "file").touch()
    model, events = load(KeptWeights(tmp_path / "file" / "model.safetensors", "source"))
    assert events == [NOT_KEPT]
    assert are_equal(model, quantized)


@contextmanager
def files_limited_to(num_bytes: int) -> Iterator[None]:
    """Let writes beyond a size fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("num_bytes", [0, 1_000_000, -1])
def test_on_a_full_disk_the_start_logs_one_line_and_removes_its_file(
    kept: KeptWeights, quantized: Kosmos2Model, num_bytes: int
) -> None:
    """Full at once, in the middle, and before the last byte."""
    if num_bytes < 0:
        load(kept)
        num_bytes = kept.path.stat().st_size - 1
        kept.path.unlink()
    with files_limited_to(num_bytes):
        model, events = load(kept)
    assert events == [NOT_KEPT]
    assert are_equal(model, quantized)
    assert list(kept.path.parent.iterdir()) == []


def test_one_process_writes_at_a_time(kept: KeptWeights, quantized: Kosmos2Model) -> None:
    """Replicas that share a volume start together."""
    kept.path.parent.mkdir()
    other = PartialFile(kept.path)
    with pytest.raises(BlockingIOError, match="another process writes it"):
        PartialFile(kept.path)
    model, events = load(kept)
    assert events == [NOT_KEPT]
    assert are_equal(model, quantized)
    other.discard()
    assert load(kept)[1] == [KEPT]


def test_what_a_killed_process_left_is_overwritten(
    kept: KeptWeights, quantized: Kosmos2Model
) -> None:
    kept.path.parent.mkdir()
    kept.path.with_name(f"{kept.path.name}.partial").write_bytes(b"\xff" * 10**8)
    (_, first_events), (model, second_events) = load(kept), load(kept)
    assert (first_events, second_events) == ([KEPT], [READ])
    assert are_equal(model, quantized)
    assert kept.path.stat().st_size < 10**8


def test_a_start_that_fails_removes_its_file(kept: KeptWeights) -> None:
    def fail_to_load() -> None:
        with QuantizedCache(kept, SHAPES) as cache:
            cache.write("first", random_weights()["first"])
            raise CheckpointError("a tensor is missing")

    with pytest.raises(CheckpointError):
        fail_to_load()
    assert list(kept.path.parent.iterdir()) == []


def test_torch_keeps_its_number_of_threads(kept: KeptWeights) -> None:
    num_threads = torch.get_num_threads()
    load(kept)
    assert torch.get_num_threads() == num_threads
