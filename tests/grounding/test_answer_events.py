"""Each part of an answer is sent as soon as it is final."""

import pytest

from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import NewEntity, NewText
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import NewToken
from tests.grounding.token_sequences import IMAGE, OBJECT, PROMPTS, event_texts, ids_of, read


@pytest.mark.parametrize(
    ("tokens", "sent"),
    [
        ("▁a ▁red ▁dog .", ["a", " red", " dog", "."]),
        ("▁a ▁ . ▁ ▁", ["a", "", ".", "", ""]),
        ("▁a ▁dog ' s", ["a", " dog", "'", "s"]),
        ("▁a ▁dog ▁ ' s ▁a", ["a", " dog", "", "", "'s", " a"]),
        ("▁a ▁dog ▁ ' a ▁a", ["a", " dog", "", "", " 'a", " a"]),
        (f"{OBJECT} ▁a", ["", "a", " red", " dog", "", "", "", "", "", " a"]),
        ("▁a ▁ < ▁red", ["a", "", "", " < red"]),
        ("▁a ▁ < ▁red >", ["a", "", "", "", ""]),
        ("▁a ▁ < ▁red > ▁dog", ["a", "", "", "", "", "  dog"]),
        ("▁a </image> ▁dog", ["a", "", " dog"]),
        ("▁a </s>", ["a", ""]),
    ],
)
def test_text_is_sent_as_soon_as_it_is_final(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], tokens: str, sent: list[str]
) -> None:
    """A client need not wait for the last token."""
    new_ids = [vocabulary[name] for name in tokens.split()]
    assert event_texts(read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)[0]) == sent


@pytest.mark.parametrize(
    ("tokens", "sent"),
    [
        ("▁ <0xC3> <0xA9> .", ["", "", "", "é."]),
        ("▁ <0xC3> <0xA9>", ["", "", "é"]),
        ("▁a <0xC3>", ["a", "\ufffd"]),
        ("▁a <0xC3> <0xA9> <0xFF> .", ["a", "", "", "", "\ufffd\ufffd\ufffd."]),
    ],
)
def test_bytes_are_held_back_until_their_row_ends(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], tokens: str, sent: list[str]
) -> None:
    """If one byte is invalid, none of them forms a character."""
    if "<0xC3>" not in vocabulary:
        pytest.skip("this vocabulary has no bytes")
    new_ids = [vocabulary[name] for name in tokens.split()]
    assert event_texts(read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)[0]) == sent


def test_the_entities_of_the_prompt_are_sent_first(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """They are sent with the first token, because before it a failure is an ordinary error."""
    sent, _ = read(tokenizer, tokenizer.encode_prompt(PROMPTS[2]), ids_of(vocabulary, "▁a"))
    first, second = sent[0]
    assert isinstance(first, NewEntity)
    assert (first.index, first.entity.phrase, first.entity.from_prompt) == (0, "It", True)
    assert second == NewText("a")


def test_an_entity_is_sent_when_it_is_complete(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """So a client can draw it while the model continues the sentence."""
    new_ids = ids_of(vocabulary, f"{OBJECT} ▁a")
    sent, _ = read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)
    assert [len(events) for events in sent[-3:]] == [0, 1, 1]
    assert isinstance(sent[-2][0], NewEntity)


@pytest.mark.parametrize("num_tokens", range(1, 8))
def test_an_unfinished_object_is_only_in_the_markup(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], num_tokens: int
) -> None:
    """The token limit may end an answer anywhere; the words of the phrase are kept."""
    new_ids = ids_of(vocabulary, OBJECT)[:num_tokens]
    _, grounded = read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)
    written = "".join(OBJECT.replace("▁", "_").split()[:num_tokens]).replace("_", " ")
    assert grounded.markup.replace("_", " ") == f"{PROMPTS[0]}{written}".replace("_", " ")
    assert grounded.entities == ()
    assert grounded.answer == "a red dog"[: len(grounded.answer)]


@pytest.mark.parametrize("names", ["▁a ▁dog ▁ ' </s>", "▁a ▁dog ▁ '", "▁a ▁ </s>", "▁a . ▁n"])
def test_the_texts_of_the_tokens_add_up_to_the_markup(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], names: str
) -> None:
    """Text that is held back until the answer ends belongs to the last token."""
    prompt_ids = tokenizer.encode_prompt(PROMPTS[0])
    new_ids = [vocabulary[name] for name in names.split()]
    reader = AnswerReader(tokenizer, prompt_ids, IMAGE)
    for number, token_id in enumerate(new_ids, 1):
        is_last = number == len(new_ids)
        reader.read(NewToken(1, token_id, -0.5, "length" if is_last else None, 0.0, 0))
    markup = tokenizer.decode([*prompt_ids, *new_ids])
    prompt_markup = tokenizer.decode(prompt_ids)
    assert prompt_markup + "".join(token.markup for token in reader.tokens) == markup
    assert len(reader.tokens) == len(new_ids) - ("</s>" in names)
