"""Loads a checkpoint's weights: layer by layer, in the dtype and on the device that serve them.

Files are mapped into memory and closed again after each layer, so that no more than one layer lies
there twice.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import Kosmos2Config

from app.checkpoint import Checkpoint
from app.errors import CheckpointError
from app.model.decoder import TextDecoder
from app.model.vision import VisionEncoder

# The fused projection is the checkpoint's three, one above the other.
_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj")}


@dataclass(frozen=True)
class Kosmos2Model:
    """A loaded model.

    Attributes:
        decoder: the text decoder.
        vision: the vision tower with the resampler.
        prefix_token_ids: the ids that every prompt begins with.
        picture_places: the places among them that the picture's embeddings take.
        end_token_id: ends an answer.
        device: where the weights are.
        dtype: of the weights.
    """

    decoder: TextDecoder
    vision: VisionEncoder
    prefix_token_ids: list[int]
    picture_places: slice
    end_token_id: int
    device: torch.device
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Memory of the weights."""
        modules = (self.decoder, self.vision)
        return sum(p.nbytes for module in modules for p in module.parameters())


def read_config(checkpoint: Checkpoint) -> Kosmos2Config:
    """The checkpoint's configuration, checked for what is not served.

    Raises:
        CheckpointError: an activation, a head or an attention that the decoder does not have.
    """
    config = Kosmos2Config.from_dict(
        json.loads((checkpoint.directory / "config.json").read_bytes())
    )
    text = config.text_config
    if text.activation_function != "gelu":
        raise CheckpointError(f"activation {text.activation_function!r}; gelu is served")
    if text.add_cross_attention or not text.tie_word_embeddings:
        raise CheckpointError("cross-attention or an untied head; neither is served")
    return config


def weights_bytes(checkpoint: Checkpoint, dtype: torch.dtype) -> int:
    """Memory the weights will take once loaded."""
    elements = sum(
        torch.Size(tensor.shape).numel()
        for name, tensor in checkpoint.tensors.items()
        if not name.endswith("lm_head.weight")  # the embedding once more
    )
    return elements * dtype.itemsize


def load_model(
    checkpoint: Checkpoint,
    prefix_token_ids: list[int],
    num_positions: int,
    device: torch.device,
    dtype: torch.dtype,
    on_progress: Callable[[int], None],
) -> Kosmos2Model:
    """Load the weights.

    Args:
        checkpoint: whose files are whole.
        prefix_token_ids: of the checkpoint's tokenizer.
        num_positions: tokens of the longest sequence to be served.
        device: where to.
        dtype: of weights, activations and KV.
        on_progress: called with the bytes of each part that has been loaded.

    Raises:
        CheckpointError: a tensor is missing or of another shape.
    """
    config = read_config(checkpoint)
    config._attn_implementation = "sdpa"  # for the vision tower and the resampler
    with torch.device("meta"):
        decoder = TextDecoder(config.text_config, num_positions)
        vision = VisionEncoder(config, checkpoint.image_mean, checkpoint.image_std)
    load = _Loader(checkpoint, device, dtype, on_progress)
    load.fill(decoder, "text_model.model.")
    load.fill(vision, "")
    decoder.fill_positions(device, dtype)
    vision.fill_buffers(device)
    return Kosmos2Model(
        decoder=decoder.eval().requires_grad_(False),
        vision=vision.eval().requires_grad_(False),
        prefix_token_ids=prefix_token_ids,
        picture_places=slice(2, 2 + config.latent_query_num),
        end_token_id=config.text_config.eos_token_id,
        device=device,
        dtype=dtype,
    )


@dataclass(frozen=True)
class _Loader:
    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype
    on_progress: Callable[[int], None]

    def fill(self, module: nn.Module, prefix: str) -> None:
        """Give every parameter of `module` its stored value."""
        for path, part in _parts(module):
            part.to(self.dtype)
            part.to_empty(device=self.device, recurse=False)
            with ExitStack() as files:
                opened = _OpenFiles(files)
                for name, parameter in part.named_parameters(recurse=False):
                    stored = [prefix + full for full in _stored_names(f"{path}{name}")]
                    self._copy(parameter.data, stored, opened)

    def _copy(self, target: Tensor, names: list[str], opened: "_OpenFiles") -> None:
        for piece, name in zip(target.chunk(len(names)), names, strict=True):
            stored = self.checkpoint.tensors.get(name)
            if stored is None:
                raise CheckpointError(f"{self.checkpoint.directory}: no tensor {name}")
            if stored.shape != piece.shape:
                raise CheckpointError(
                    f"{self.checkpoint.directory}: {name} has the shape {list(stored.shape)}, "
                    f"the configuration asks for {list(piece.shape)}"
                )
            piece.copy_(opened.tensor(stored.file, name))
            self.on_progress(piece.nbytes)


class _OpenFiles:
    """Maps each file when its first tensor is asked for."""

    def __init__(self, files: ExitStack) -> None:
        self._files = files
        self._opened: dict[Path, safe_open] = {}

    def tensor(self, file: Path, name: str) -> Tensor:
        if file not in self._opened:
            self._opened[file] = self._files.enter_context(safe_open(file, framework="pt"))
        tensor: Tensor = self._opened[file].get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor


def _parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that hold parameters of their own, each with the path before their names."""
    for path, part in module.named_modules():
        if any(True for _ in part.parameters(recurse=False)):
            yield f"{path}." if path else "", part


def _stored_names(name: str) -> Iterable[str]:
    """What the checkpoint calls a parameter: several names for a fused one."""
    for fused, separate in _FUSED.items():
        if f".{fused}." in name:
            return [name.replace(fused, each) for each in separate]
    return [name]
