"""The tokenizer gives the ids and texts of the reference."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from app.errors import CheckpointError
from app.grounding.markup import patch_tag
from app.grounding.token_decoder import TokenDecoder
from app.grounding.tokenizer import NUM_IMAGE_TOKENS, Kosmos2Tokenizer
from app.settings import EMBEDDED_CHECKPOINT
from tests.grounding.prompt_texts import CARD_PROMPTS, tag_like_texts


def reference_ids(processor: Any, prompt: str) -> list[int]:
    ids: list[int] = processor(images=Image.new("RGB", (2, 2)), text=prompt)["input_ids"]
    return ids


@pytest.mark.parametrize("prompt", CARD_PROMPTS)
def test_the_prompts_of_the_model_card_have_the_ids_of_the_reference(
    tokenizer: Kosmos2Tokenizer, processor: Any, prompt: str
) -> None:
    """Other ids would be another question for the model."""
    assert tokenizer.encode_prompt(prompt) == reference_ids(processor, prompt)


@given(text=tag_like_texts)
def test_any_prompt_has_the_ids_of_the_reference(
    tokenizer: Kosmos2Tokenizer, processor: Any, text: str
) -> None:
    """The prompts include white space, unknown characters and tags."""
    assert tokenizer.encode_prompt(text) == reference_ids(processor, text)


@given(numbers=st.lists(st.integers(min_value=0), max_size=40))
def test_any_ids_are_decoded_as_in_the_reference(
    tokenizer: Kosmos2Tokenizer, processor: Any, numbers: list[int]
) -> None:
    """Spaces before punctuation are removed, `</s>` is omitted, tags are kept."""
    ids = [number % len(processor.tokenizer) for number in numbers]
    (read,) = processor.batch_decode([ids], skip_special_tokens=True)
    assert tokenizer.decode(ids) == read


def test_every_prompt_starts_with_the_tokens_of_the_picture(tokenizer: Kosmos2Tokenizer) -> None:
    """The first 67 tokens depend only on the picture, so they can be cached."""
    assert len(tokenizer.prefix_ids) == NUM_IMAGE_TOKENS + 3 == 67
    assert tuple(tokenizer.encode_prompt("")) == tokenizer.prefix_ids
    for prompt in CARD_PROMPTS:
        assert tuple(tokenizer.encode_prompt(prompt)[:67]) == tokenizer.prefix_ids


def test_the_shortest_caption_prompt_has_71_tokens(published: Kosmos2Tokenizer) -> None:
    """As published: 67 tokens of the picture, `<grounding>` and three words."""
    assert len(published.encode_prompt("<grounding> An image of")) == 71


def test_ids_are_read_from_the_tokenizer(tokenizer: Kosmos2Tokenizer, processor: Any) -> None:
    """Another checkpoint has other ids."""
    vocabulary = processor.tokenizer
    assert tokenizer.eos_id == vocabulary.eos_token_id
    assert tokenizer.pad_id == vocabulary.pad_token_id
    assert len(tokenizer.patch_ids) == 1024
    for token_id, cell in tokenizer.patch_ids.items():
        assert vocabulary.convert_ids_to_tokens(token_id) == patch_tag(cell)


def test_the_ids_of_the_location_tokens_are_consecutive(tokenizer: Kosmos2Tokenizer) -> None:
    """The engine reads their logits as one slice."""
    ids = tokenizer.location_token_ids
    assert [tokenizer.patch_ids[token_id] for token_id in ids] == list(range(1024))


def test_location_tokens_with_scattered_ids_are_rejected(tokenizer: Kosmos2Tokenizer) -> None:
    scattered = copy(tokenizer)
    scattered.patch_ids = dict(reversed(tokenizer.patch_ids.items()))
    with pytest.raises(CheckpointError, match="not consecutive"):
        _ = scattered.location_token_ids


def save_changed(directory: Path, **config: object) -> Kosmos2Tokenizer:
    """Return the embedded tokenizer, stored with truncation, padding and another configuration."""
    backend = Tokenizer.from_file(str(EMBEDDED_CHECKPOINT / "tokenizer.json"))
    backend.enable_truncation(70)
    backend.enable_padding(length=100)
    backend.save(str(directory / "tokenizer.json"))
    stored = json.loads((EMBEDDED_CHECKPOINT / "tokenizer_config.json").read_text())
    (directory / "tokenizer_config.json").write_text(json.dumps(stored | config))
    return Kosmos2Tokenizer.load(directory)


def test_prompts_are_encoded_whole_and_without_padding(tmp_path: Path) -> None:
    """The stored tokenizer truncates and pads. A special token may be an object with `content`."""
    tokenizer = save_changed(tmp_path, eos_token={"content": "</s>", "lstrip": False})
    embedded = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
    assert tokenizer.eos_id == embedded.eos_id
    for prompt in ("", "<grounding> An image of a red circle and a blue square"):
        assert tokenizer.encode_prompt(prompt) == embedded.encode_prompt(prompt)


def test_spaces_before_punctuation_stay_if_the_checkpoint_keeps_them(tmp_path: Path) -> None:
    tokenizer = save_changed(tmp_path, clean_up_tokenization_spaces=False)
    start = len(tokenizer.prefix_ids)
    ids = [i for word in ("a circle", ".") for i in tokenizer.encode_prompt(word)[start:]]
    decoder = TokenDecoder(tokenizer)
    read = "".join(decoder.push([token_id]) for token_id in ids) + decoder.finish()
    assert read.split() == tokenizer.decode(ids).split() == ["a", "circle", "."]


def test_threads_can_share_one_tokenizer(tokenizer: Kosmos2Tokenizer) -> None:
    """Requests are prepared in several threads."""

    def encode_and_decode(prompt: str) -> tuple[list[int], str]:
        tokenizer.refuse_control_tokens_in_raw("text", prompt)
        ids = tokenizer.encode_prompt(prompt)
        return ids, tokenizer.decode(ids)

    prompts = list(CARD_PROMPTS) * 50
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(encode_and_decode, prompts))
    assert together == [encode_and_decode(prompt) for prompt in prompts]


@pytest.mark.processes
def test_using_the_tokenizer_imports_neither_torch_nor_transformers(directory: Path) -> None:
    """HTTP processes need neither their memory nor their threads."""
    script = (
        "import sys; from pathlib import Path\n"
        "from app.grounding.tokenizer import Kosmos2Tokenizer\n"
        f"tokenizer = Kosmos2Tokenizer.load(Path({str(directory)!r}))\n"
        "tokenizer.refuse_control_tokens('text', 'a dog')\n"
        "tokenizer.decode(tokenizer.encode_prompt('<grounding> An image of'))\n"
        "assert not {'transformers', 'torch'} & sys.modules.keys()\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "cannot be read"),
        ('{"version": "1.0", "added_tokens": [', "cannot be read"),
        ("{}", "cannot be read"),
        (
            Tokenizer(WordLevel({"word": 0}, unk_token="word")).to_str(),
            "lacks '<patch_index_0000>'",
        ),
    ],
)
def test_a_damaged_tokenizer_is_reported_at_start(
    tmp_path: Path, content: str | None, message: str
) -> None:
    """The message names the directory."""
    (tmp_path / "tokenizer_config.json").write_text("{}")
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        Kosmos2Tokenizer.load(tmp_path)


def test_a_configuration_that_is_nested_too_deeply_is_reported(tmp_path: Path) -> None:
    """Python's parser raises an error that is no `ValueError`."""
    shutil.copy(EMBEDDED_CHECKPOINT / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Kosmos2Tokenizer.load(tmp_path)


def test_a_missing_directory_is_reported_at_start(tmp_path: Path) -> None:
    """The service does not search for it on the network."""
    with pytest.raises(CheckpointError, match="is not a directory"):
        Kosmos2Tokenizer.load(tmp_path / "nowhere")
