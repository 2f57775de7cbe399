"""The tokenizer gives the reference's ids and texts, and rejects control tokens."""

import re
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import Kosmos2Processor

from app.errors import CheckpointError, InvalidRequest
from app.grounding.markup import parse, patch_tag
from app.grounding.tasks import TASKS, Region, write_prompt
from app.grounding.tokenizer import MAX_CHARACTERS, NUM_IMAGE_TOKENS, Kosmos2Tokenizer

SNOWMAN = "<object><patch_index_0044><patch_index_0863></object>"
FIRE = "<object><patch_index_0005><patch_index_0911></object>"
CARD_PROMPTS = (
    "<grounding>An image of",
    "<grounding><phrase> a snowman</phrase>",
    "<grounding><phrase> a snowman next to a fire</phrase>",
    f"<grounding><phrase> It</phrase>{SNOWMAN} is",
    "<grounding> Question: What is special about this image? Answer:",
    f"<grounding> Question: Where is<phrase> the fire</phrase>{FIRE} next to? Answer:",
    "<grounding> An image of",
    "<grounding> Describe this image in detail:",
)
words = st.sampled_from(
    [
        "<phrase>",
        "</phrase>",
        "<object>",
        "</object>",
        "<patch_index_0044>",
        "<patch_index_5000>",
        "<grounding>",
        "</delimiter_of_multi_objects/>",
        "<pad>",
        "</s>",
        "<unk>",
        "<image>",
        "</image>",
        "＜pad＞",
        "＜object＞",
        "＜/image＞",
        "＜patch_index_0044＞",
        "＞",
        "＜",
        "ob",
        "ject",
        "\u0338",
        "\u200b",
        "𓀀",
        "☃",
        "▁",
        " ",
        " a dog's , don't .",
        "\n",
        "é",
    ]
)
texts = st.lists(words | st.text(max_size=3), max_size=8).map("".join)


EMBEDDED = Path(__file__).parents[2] / "app" / "demo"


@pytest.fixture(
    scope="module", params=[pytest.param("published", marks=pytest.mark.slow), "embedded"]
)
def directory(request: pytest.FixtureRequest) -> Path:
    """The tokenizer of the published model and that of the embedded checkpoint."""
    if request.param == "published":
        shared: Path = request.getfixturevalue("shared_kosmos2")
        return shared / "processor"
    if not (EMBEDDED / "tokenizer.json").is_file():
        pytest.skip("the embedded checkpoint is not built: python -m training.build")
    return EMBEDDED


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Kosmos2Tokenizer:
    return Kosmos2Tokenizer.load(directory)


@pytest.fixture(scope="module")
def processor(directory: Path) -> Any:
    return Kosmos2Processor.from_pretrained(directory)


@pytest.fixture(scope="module")
def published(shared_kosmos2: Path) -> Kosmos2Tokenizer:
    return Kosmos2Tokenizer.load(shared_kosmos2 / "processor")


def reference_ids(processor: Any, prompt: str) -> list[int]:
    ids: list[int] = processor(images=Image.new("RGB", (2, 2)), text=prompt)["input_ids"]
    return ids


def control_tokens(processor: Any, ids: list[int]) -> list[str]:
    """Return the names of the added tokens after the picture, without `<unk>`."""
    added = processor.tokenizer.added_tokens_decoder
    names = [added[token_id].content for token_id in ids[67:] if token_id in added]
    return [name for name in names if name != "<unk>"]


def is_accepted(refuse: Any, text: str) -> bool:
    try:
        refuse("text", text)
    except InvalidRequest:
        return False
    return True


@pytest.mark.parametrize("prompt", CARD_PROMPTS)
def test_the_prompts_of_the_model_card_have_the_ids_of_the_reference(
    tokenizer: Kosmos2Tokenizer, processor: Any, prompt: str
) -> None:
    """Other ids would be another question for the model."""
    assert tokenizer.encode_prompt(prompt) == reference_ids(processor, prompt)


@given(text=texts)
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


@pytest.mark.parametrize(
    "text",
    [
        "Is there a fire?",
        "3 < 5 > 2 <3 <b> </div>",
        "☃ 𓀀 \x00 \ufffd",
        "zero\u200bwidth",
        "﷽",
        "e\u0301té",
        "<un\xadk>",
        "▁",
    ],
)
def test_plain_text_is_accepted(tokenizer: Kosmos2Tokenizer, text: str) -> None:
    """Characters that the vocabulary lacks are allowed."""
    tokenizer.refuse_control_tokens("text", text)
    tokenizer.refuse_control_tokens_in_raw("text", text)


@pytest.mark.parametrize(
    "token",
    ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<image>", "</image>", "</doc>", "</chunk>"],
)
@pytest.mark.parametrize("around", ["{}", "a{}b", " {} ", "𓀀{}", "<pa{}d>"])
def test_a_control_token_is_rejected_everywhere(
    tokenizer: Kosmos2Tokenizer, token: str, around: str
) -> None:
    """`<pad>` breaks positions, and `</image>` cuts the answer; raw prompts do not need them."""
    text = around.format(token)
    with pytest.raises(
        InvalidRequest, match=f"question: must not contain the control token {token}"
    ):
        tokenizer.refuse_control_tokens("question", text)
    with pytest.raises(InvalidRequest, match=f"text: must not contain the control token {token}"):
        tokenizer.refuse_control_tokens_in_raw("text", text)


@pytest.mark.parametrize(
    "text",
    [
        "＜pad＞",
        "﹤pad﹥",
        "<ｐad>",
        "＜/s＞",
        "＜s＞",
        "＜unk＞",
        "<ｕnk>",
        "𓀀＜unk＞",
        "＜mask＞",
    ],
)
def test_a_disguised_control_token_is_rejected(tokenizer: Kosmos2Tokenizer, text: str) -> None:
    """Normalisation would turn it into the real token."""
    assert not is_accepted(tokenizer.refuse_control_tokens, text)
    assert not is_accepted(tokenizer.refuse_control_tokens_in_raw, text)


@pytest.mark.parametrize("text", CARD_PROMPTS)
def test_tags_of_grounding_are_allowed_in_raw_prompts_only(
    tokenizer: Kosmos2Tokenizer, text: str
) -> None:
    """In other prompts, only the service writes them."""
    assert not is_accepted(tokenizer.refuse_control_tokens, text)
    assert is_accepted(tokenizer.refuse_control_tokens_in_raw, text)


@pytest.mark.parametrize(
    "text",
    [
        "＜object＞",
        "＜patch_index_0005＞",
        "<patch_index_5000>",
        "<patch_index_7>",
        "<object> ＜object＞",
    ],
)
def test_text_that_looks_like_a_tag_is_rejected(tokenizer: Kosmos2Tokenizer, text: str) -> None:
    """It is not a token for the model, but the parser would read a box from it."""
    assert not is_accepted(tokenizer.refuse_control_tokens, text)
    assert not is_accepted(tokenizer.refuse_control_tokens_in_raw, text)


def test_text_that_decodes_to_a_tag_is_rejected(published: Kosmos2Tokenizer) -> None:
    """Decoding drops a character that this vocabulary lacks."""
    assert not is_accepted(published.refuse_control_tokens, "<obj𓀀ect>")
    assert not is_accepted(published.refuse_control_tokens_in_raw, "<object> <obj𓀀ect>")


@given(text=texts)
def test_an_accepted_text_adds_no_control_token_to_a_prompt(
    tokenizer: Kosmos2Tokenizer, processor: Any, text: str
) -> None:
    """The only tags of the prompt are those of the template."""
    assume(is_accepted(tokenizer.refuse_control_tokens, text))
    ids = tokenizer.encode_prompt(f"<grounding><phrase> {text}</phrase>")
    tags = ["<grounding>", "<phrase>", "</phrase>"]
    assert control_tokens(processor, ids) == tags


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.filter_too_much], max_examples=40)
@given(start=texts, phrase=texts, end=texts)
def test_placing_an_accepted_phrase_in_an_accepted_text_adds_no_control_token(
    tokenizer: Kosmos2Tokenizer, processor: Any, start: str, phrase: str, end: str
) -> None:
    """The tags split the text, and its parts are normalised separately."""
    text = start + phrase + end
    try:
        tokenizer.refuse_control_tokens("text", text)
        tokenizer.refuse_control_tokens("regions[0].phrase", phrase)
        prompt = write_prompt(
            TASKS["grounded_vqa"],
            text=text,
            regions=[Region(phrase, ((44, 863),))],
            grounding=True,
        )
    except InvalidRequest:
        assume(False)
    ids = tokenizer.encode_prompt(prompt)
    assert control_tokens(processor, ids) == [
        "<grounding>",
        "<phrase>",
        "</phrase>",
        "<object>",
        "<patch_index_0044>",
        "<patch_index_0863>",
        "</object>",
    ]


@given(text=texts)
def test_in_an_accepted_raw_prompt_every_location_tag_is_a_token(
    tokenizer: Kosmos2Tokenizer, text: str
) -> None:
    """So the n-th tag belongs to the n-th token."""
    assume(is_accepted(tokenizer.refuse_control_tokens_in_raw, text))
    ids = tokenizer.encode_prompt(text)
    cells = [tokenizer.patch_ids[token_id] for token_id in ids if token_id in tokenizer.patch_ids]
    markup = parse(tokenizer.decode(ids)).markup
    assert len(re.findall(r"<patch_index_\d+>", markup)) == len(cells)


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc80 dog"])
def test_a_lone_surrogate_is_rejected(tokenizer: Kosmos2Tokenizer, text: str) -> None:
    """JSON can contain a lone surrogate, for which the tokenizer would raise a TypeError."""
    with pytest.raises(InvalidRequest, match="text: contains a lone surrogate"):
        tokenizer.refuse_control_tokens("text", text)


@pytest.mark.parametrize("text", ["a" * (MAX_CHARACTERS + 1), "ﷺ" * (MAX_CHARACTERS // 10)])
def test_a_text_too_long_for_the_model_is_not_tokenised(
    tokenizer: Kosmos2Tokenizer, text: str
) -> None:
    """Megabytes would take seconds of a processor; one character can become eighteen."""
    assert len(unicodedata.normalize("NFKC", text)) > MAX_CHARACTERS
    with pytest.raises(InvalidRequest, match=f"at most {MAX_CHARACTERS} characters"):
        tokenizer.refuse_control_tokens_in_raw("text", text)


def test_the_maximum_number_of_boxes_is_not_too_long(tokenizer: Kosmos2Tokenizer) -> None:
    """A later check counts the tokens and reports both numbers."""
    box = "<patch_index_0001><patch_index_0044></delimiter_of_multi_objects/>"
    tokenizer.refuse_control_tokens_in_raw("text", box * (2048 // 3))


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


def test_a_missing_directory_is_reported_at_start(tmp_path: Path) -> None:
    """The service does not search for it on the network."""
    with pytest.raises(CheckpointError, match="is not a directory"):
        Kosmos2Tokenizer.load(tmp_path / "nowhere")
