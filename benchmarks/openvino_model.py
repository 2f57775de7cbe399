"""Kosmos-2 converted to OpenVINO: a peer that people with an Intel processor would try first.

The picture's part is one model. The decoder is another, whose keys and values are a state, so that
they stay in the library's own layout. Weights have 32, 8 or 4 bits.
"""

import gc
import time
from collections.abc import Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
import torch
from openvino.passes import MakeStateful, Manager
from torch import Tensor, nn

from app.checkpoint.files import open_checkpoint
from app.checkpoint.picture_size import PICTURE_SIDE
from app.grounding.tokenizer import NUM_IMAGE_TOKENS, Kosmos2Tokenizer
from app.model.decoder import TextDecoder
from app.model.loading import Kosmos2Model, load_model, read_config
from app.model.parts import PartSource, decoder_parts, without_weights
from app.model.weights import TensorReader
from benchmarks.full_size_times import PictureTask

_MAX_POSITIONS = 512
_GROUP_SIZE = 64  # of weights with one scale; divides the widths of both sizes
_PICTURE_BEGIN = 2  # of the picture's tokens in a prompt
_CPU = torch.device("cpu")


def bits_of(kind: str) -> tuple[int, int]:
    """Return the bits of vision tower and decoder.

    >>> bits_of("openvino-32-8")
    (32, 8)
    """
    _, vision, decoder = kind.split("-")
    return int(vision), int(decoder)


class OpenVinoModel:
    """A converted checkpoint, which generates greedily; n-grams may repeat.

    Args:
        directory: of the checkpoint; a folder in it keeps what was converted before.
        bits: of each weight of the vision tower, and of each weight of the decoder: 32, 8 or 4.
        threads: of the processor.
    """

    def __init__(self, directory: Path, bits: tuple[int, int], threads: int) -> None:
        self.tokenizer = Kosmos2Tokenizer.load(directory)
        folder = directory / f"openvino-{bits[0]}-{bits[1]}"
        if not folder.is_dir():
            folder.mkdir()
            _convert(_load_float32(directory, self.tokenizer), bits, folder)
            gc.collect()
        self._host = _load_embeddings(directory)
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # By default it computes in bfloat16 where the processor has it, also for 32 bits.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        vision, decoder = (
            ov.Core().compile_model(folder / f"{name}.xml", "CPU", settings)
            for name in ("vision", "decoder")
        )
        self._vision, self._decoder = vision.create_infer_request(), decoder.create_infer_request()

    def seconds_of(self, rows: Sequence[tuple[bytes, PictureTask]], num_new_tokens: int) -> float:
        """Return the time from the pictures to the last of so many tokens of all rows."""
        began = time.perf_counter()
        prompts = [self.tokenizer.encode_prompt(task.prompt) for _, task in rows]
        self.generate(prompts, [picture for picture, _ in rows], num_new_tokens)
        return time.perf_counter() - began

    def generate(
        self,
        prompts: Sequence[list[int]],
        pictures: Sequence[bytes],
        num_new_tokens: int,
        end_id: int | None = None,
    ) -> list[list[int]]:
        """Return new tokens of each row.

        Args:
            pictures: 224×224×3 bytes of each row; equal ones are encoded once.
            end_id: a token after which one row ends; rows of a batch must not end.
        """
        length = max(map(len, prompts))
        # On the left, so that the last position of every row predicts its next token.
        padding = torch.tensor([[length - len(prompt)] for prompt in prompts])  # (R, 1)
        token_ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts])
        embeddings = self._host.embed_tokens(token_ids)  # (R, T, d)
        encoded = {picture: self._encode(picture) for picture in set(pictures)}
        for row, first in zip(range(len(prompts)), padding.flatten().tolist(), strict=True):
            begin = first + _PICTURE_BEGIN
            embeddings[row, begin : begin + NUM_IMAGE_TOKENS] = encoded[pictures[row]]
        self._clear(len(prompts))
        chosen = [self._run(token_ids, embeddings, torch.arange(length)[None], padding)]
        for index in range(length, length + num_new_tokens - 1):
            if int(chosen[-1][0]) == end_id:
                break
            embedded = self._host.embed_tokens(chosen[-1])
            chosen.append(self._run(chosen[-1], embedded, torch.tensor([[index]]), padding))
        new: list[list[int]] = torch.cat(chosen, dim=1).tolist()
        return new

    def _encode(self, picture: bytes) -> Tensor:
        """Return the embeddings of a picture, (64, d)."""
        pixels = np.frombuffer(picture, np.uint8).reshape(1, PICTURE_SIDE, PICTURE_SIDE, 3)
        return torch.from_numpy(self._vision.infer([pixels])[0][0].copy())

    def _clear(self, num_rows: int) -> None:
        for state in self._decoder.query_state():
            _, heads, _, width = state.state.shape
            state.state = ov.Tensor(np.empty((num_rows, heads, 0, width), np.float32))

    def _run(
        self, token_ids: Tensor, embeddings: Tensor, indices: Tensor, padding: Tensor
    ) -> Tensor:
        """Read tokens; return the next one of each row, (R, 1).

        Args:
            token_ids: (R, T).
            indices: places of the tokens in their rows, (1, T).
            padding: number of tokens before the beginning of each row, (R, 1).
        """
        positions = (indices - padding).clamp(min=0)  # (R, T)
        embedded = self._host.add_positions(embeddings, token_ids, positions)
        keys = torch.arange(int(indices[0, -1]) + 1)  # (L,)
        is_padding = keys[None] < padding  # (R, L)
        # A token of the padding sees itself, because a softmax over nothing is not finite.
        is_hidden = (keys > indices[0, :, None]) | (
            is_padding[:, None] & (keys != indices[0, :, None])
        )  # (R, T, L)
        mask = torch.zeros(is_hidden.shape).masked_fill_(is_hidden, -torch.inf)[:, None]
        logits = self._decoder.infer([embedded.numpy(), mask.numpy()])[0]  # (R, V)
        return torch.from_numpy(logits.argmax(axis=1))[:, None]


class _Rows:
    """Appends new keys and values to the ones of earlier passes."""

    def __init__(self, past: Sequence[Tensor]) -> None:
        self._past = past
        self.present: list[Tensor] = []

    def extend(self, layer: int, new: Tensor) -> tuple[Tensor, Tensor]:
        """See `KeyValueRows`."""
        keys, values = new.transpose(1, 3).unbind(2)  # (R, H, T, D)
        pair = [
            torch.cat([past, more], dim=2)
            for past, more in zip(
                self._past[2 * layer : 2 * layer + 2], (keys, values), strict=True
            )
        ]
        self.present += pair
        return pair[0], pair[1]


class _Step(nn.Module):
    """One pass of the decoder, with keys and values as inputs and outputs."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, embedded: Tensor, mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of the last token (R, V), and all keys and values."""
        rows = _Rows(past)
        hidden = self.decoder(embedded, rows, mask)
        return self.decoder.logits(hidden[:, -1]), *rows.present


def _load_float32(directory: Path, tokenizer: Kosmos2Tokenizer) -> Kosmos2Model:
    """Load the checkpoint with plain layers."""
    return load_model(
        open_checkpoint(str(directory)),
        list(tokenizer.prefix_ids),
        tokenizer.location_token_ids,
        _MAX_POSITIONS,
        _CPU,
        torch.float32,
        lambda _: None,
    )


def _load_embeddings(directory: Path) -> TextDecoder:
    """Return a decoder of which only the embeddings and the position codes are there."""
    checkpoint = open_checkpoint(str(directory))
    decoder, _ = without_weights(checkpoint, read_config(checkpoint), _MAX_POSITIONS)
    with TensorReader() as reader:
        source = PartSource(checkpoint, _CPU, torch.float32, lambda _: None, reader)
        for prefix, part in decoder_parts(decoder):
            if part is decoder.embed_tokens:
                source.fill(prefix, part)
    decoder.fill_positions(_CPU, torch.float32)
    return decoder.requires_grad_(False)


def _convert(model: Kosmos2Model, bits: tuple[int, int], folder: Path) -> None:
    """Write both parts."""
    config = model.decoder.config
    pixels = torch.zeros(1, PICTURE_SIDE, PICTURE_SIDE, 3, dtype=torch.uint8)
    vision = ov.convert_model(model.vision, example_input=pixels)
    vision.reshape(list(pixels.shape))  # tracing has made the number of pictures a constant
    _save(vision, bits[0], folder / "vision.xml")
    heads, width = config.attention_heads, config.embed_dim // config.attention_heads
    past = [torch.zeros(1, heads, 3, width) for _ in range(2 * config.layers)]
    example = (torch.zeros(1, 2, config.embed_dim), torch.zeros(1, 1, 2, 5), *past)
    step = ov.convert_model(_Step(model.decoder), example_input=example)
    embedded, mask, *old = step.inputs
    shapes = {embedded: [-1, -1, config.embed_dim], mask: [-1, 1, -1, -1]}
    step.reshape(shapes | {each: [-1, heads, -1, width] for each in old})
    _keep_state(step)
    _save(step, bits[1], folder / "decoder.xml")


def _keep_state(step: ov.Model) -> None:
    """Make keys and values a state of the model instead of inputs and outputs."""
    pairs = {}
    for number, (old, new) in enumerate(zip(step.inputs[2:], step.outputs[1:], strict=True)):
        names = f"past.{number}", f"present.{number}"
        for end, name in zip((old, new), names, strict=True):
            end.get_tensor().set_names({name})
        pairs[names[0]] = names[1]
    manager = Manager()
    manager.register_pass(MakeStateful(pairs))
    manager.run_passes(step)


def _save(model: ov.Model, bits: int, file: Path) -> None:
    """Compress the weights to so many bits, as the library's guide does, and write the model."""
    if bits == 8:
        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    elif bits == 4:
        mode = nncf.CompressWeightsMode.INT4_SYM
        model = nncf.compress_weights(model, mode=mode, group_size=_GROUP_SIZE)
    ov.save_model(model, file, compress_to_fp16=False)
