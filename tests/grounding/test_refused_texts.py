"""Text of a user must not contain control tokens or tags, however they are written."""

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from app.errors import InvalidRequest
from app.grounding.markup import parse
from app.grounding.tasks import TASKS, Region, write_prompt
from app.grounding.tokenizer import MAX_CHARACTERS, Kosmos2Tokenizer
from tests.grounding.prompt_texts import CARD_PROMPTS, tag_like_texts


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


@given(text=tag_like_texts)
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
@given(start=tag_like_texts, phrase=tag_like_texts, end=tag_like_texts)
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


@given(text=tag_like_texts)
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
