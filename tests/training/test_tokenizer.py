"""The tokenizer has the structure of the reference processor and encodes every text."""

import pytest
from transformers import CLIPImageProcessorPil, Kosmos2Processor

from training.tokenizer import (
    SPECIAL_TOKENS,
    TAGS,
    as_served,
    encode,
    encode_answer,
    train_tokenizer,
)
from training.world import COLOURS, PLURALS, SHAPES

pytestmark = pytest.mark.slow  # trains a tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(seed=0)


def test_the_processor_finds_every_token_that_it_would_add(tokenizer):
    """It adds tags and cells to tokenizers that lack them; ours must have all of them."""
    size = len(tokenizer)
    Kosmos2Processor(CLIPImageProcessorPil(), tokenizer)
    assert len(tokenizer) == size


def test_ids_are_in_the_reference_s_order(tokenizer):
    vocabulary = tokenizer.get_vocab()
    assert [vocabulary[token] for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    assert vocabulary["<image_place_00>"] == tokenizer.unk_token_id + 1
    assert vocabulary["<image_place_63>"] == tokenizer.unk_token_id + 64
    first = vocabulary["<mask>"] + 1
    tags = [*TAGS, *(f"<patch_index_{index:04d}>" for index in range(1024))]
    assert [vocabulary[tag] for tag in tags] == list(range(first, first + len(tags)))
    assert len(tokenizer) == first + len(tags)


def test_the_prompt_s_prefix_has_67_tokens(tokenizer):
    assert len(as_served(tokenizer).prefix_ids) == 67


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog; isn't it 42?",
        "naïve café — 漢字 🙂 \u200b ﬁ",
        "<0x41> <image_place_00> a < b > c",
        "ALL CAPS and\ttabs",
    ],
)
def test_every_text_is_encoded_and_decoded_unchanged(tokenizer, text):
    """No text may crash, become `<unk>` or match a reserved token."""
    ids = encode(tokenizer, text)
    assert tokenizer.unk_token_id not in ids
    assert not any(4 <= token < 68 for token in ids)
    normalised = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    decoded = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert decoded.split() == normalised.split()


def test_the_world_s_words_are_single_tokens(tokenizer):
    """Short prompts and answers take less time."""
    for word in [*COLOURS, *SHAPES, *PLURALS.values(), "Question", "between", "largest"]:
        assert len(encode(tokenizer, word)) == 1, word


def test_an_answer_has_no_lone_space_before_punctuation(tokenizer):
    answer = (
        "<phrase> a star</phrase><object><patch_index_0001><patch_index_0099></object>,"
        "<phrase> a ring</phrase><object><patch_index_0003><patch_index_0100></object>."
    )
    ids = encode_answer(tokenizer, answer)
    assert tokenizer.convert_tokens_to_ids("▁") not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == answer
    assert ids[-1] == tokenizer.eos_token_id


def test_training_encodes_prompts_as_the_service_does(tokenizer):
    prompt = "<grounding> Question: What is<phrase> the shape</phrase><object><patch_index_0001>"
    served = as_served(tokenizer).encode_prompt(prompt)
    assert encode(tokenizer, prompt) == served[67:]


def test_the_same_seed_gives_the_same_tokenizer(tokenizer):
    """A resumed run trains its tokenizer again and needs the same ids."""
    again = train_tokenizer(seed=0)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
