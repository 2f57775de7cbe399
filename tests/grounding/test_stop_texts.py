"""An answer ends before a stop text; a stream never sends a part of one."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import AnswerEvent, GroundedText, ImageFacts, NewEntity, NewText
from app.grounding.markup import write_object, write_phrase
from app.grounding.stop_texts import StoppingReader
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import NewToken

EMBEDDED = Path(__file__).parents[2] / "app" / "demo"
IMAGE = ImageFacts(640, 480, 1)
ANSWER = (
    f"{write_phrase(' a red circle')}{write_object([(44, 863)])}, "
    f"{write_phrase('a blue square')}{write_object([(5, 100)])} and a star."
)
TEXT = "a red circle, a blue square and a star."


@pytest.fixture(scope="module")
def tokenizer() -> Kosmos2Tokenizer:
    return Kosmos2Tokenizer.load(EMBEDDED)


def read(
    tokenizer: Kosmos2Tokenizer, stops: list[str], prompt: str = "<grounding> An image of"
) -> tuple[list[AnswerEvent], GroundedText, int]:
    """Return the events and the answer, and the number of tokens that were read."""
    start = len(tokenizer.encode_prompt(prompt))
    prompt_ids = tokenizer.encode_prompt(prompt)
    new_ids = [*tokenizer.encode_prompt(prompt + ANSWER)[start:], tokenizer.eos_id]
    reader = StoppingReader(AnswerReader(tokenizer, prompt_ids, IMAGE), stops)
    events: list[AnswerEvent] = []
    num_read = 0
    for number, token_id in enumerate(new_ids):
        reason = "stop" if number == len(new_ids) - 1 else None
        events += reader.read(NewToken(0, token_id, -0.5, reason, 0.0, 0))
        num_read += 1
        if reader.has_stopped:
            break
    return events, reader.grounded(), num_read


def text_of(events: list[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, NewText))


@given(stops=st.lists(st.sampled_from([TEXT[a : a + n] for a in range(39) for n in (1, 2, 7)])))
@example(stops=[" and", "circle, b"])
@example(stops=["zebra"])
def test_a_stream_equals_the_answer_before_the_stop_text_that_ends_first(
    tokenizer: Kosmos2Tokenizer, stops: list[str]
) -> None:
    events, grounded, _ = read(tokenizer, stops)
    found = [(TEXT.find(stop), stop) for stop in stops if stop in TEXT]
    spans = [(start + len(stop), start) for start, stop in found]
    _, end = min(spans, default=(0, len(TEXT)))
    assert text_of(events) == grounded.answer == TEXT[:end]
    sent = [event.entity for event in events if isinstance(event, NewEntity)]
    assert tuple(sent) == grounded.entities
    assert all(entity.span[1] <= len(grounded.text) for entity in sent)
    assert grounded.finish_reason == "stop"


def test_reading_ends_at_the_stop_text(tokenizer: Kosmos2Tokenizer) -> None:
    """So that the engine stops to generate."""
    _, grounded, num_read = read(tokenizer, [","])
    _, _, num_tokens = read(tokenizer, [])
    assert num_read < num_tokens
    assert grounded.text == "An image of a red circle"
    assert [entity.phrase for entity in grounded.entities] == ["a red circle"]


def test_a_stop_text_at_the_end_of_the_last_token_is_left_out(tokenizer: Kosmos2Tokenizer) -> None:
    """The longest answer may end with a stop text."""
    prompt_ids = tokenizer.encode_prompt("<grounding> An image of")
    reader = StoppingReader(AnswerReader(tokenizer, prompt_ids, IMAGE), ["circle"])
    *first, last = tokenizer.encode_prompt("a red circle")[len(tokenizer.prefix_ids) :]
    events = [event for t in first for event in reader.read(NewToken(0, t, -0.5, None, 0.0, 0))]
    events += reader.read(NewToken(0, last, -0.5, "length", 0.0, 0))
    assert text_of(events) == reader.grounded().answer == "a red "
    assert reader.grounded().finish_reason == "stop"


def test_an_entity_follows_the_text_that_was_held_back_before_it(
    tokenizer: Kosmos2Tokenizer,
) -> None:
    events, _, _ = read(tokenizer, ["circle and"])
    names = [type(event).__name__ for event in events]
    held = next(event for event in events if isinstance(event, NewText) and "circle" in event.text)
    assert names.index("NewEntity") > events.index(held)


@pytest.mark.parametrize(
    ("prompt", "content"),
    [
        ("<grounding> An image of", TEXT),
        ("<grounding> See<phrase> a dog</phrase>", f"a dog {TEXT}"),
        ("<grounding><phrase> It</phrase><object><patch_index_0044><patch_index_0863></object> is",
         TEXT),
    ],
)  # fmt: skip
def test_the_content_begins_with_the_phrase_at_the_end_of_the_prompt(
    tokenizer: Kosmos2Tokenizer, prompt: str, content: str
) -> None:
    events, grounded, _ = read(tokenizer, [], prompt)
    assert grounded.content == content
    streamed = "".join(event.lead + event.text for event in events if isinstance(event, NewText))
    assert streamed == content
    for entity in grounded.content_entities:
        assert content[slice(*entity.span)] == entity.phrase
    assert [entity.phrase for entity in grounded.content_entities] == [
        "a red circle", "a blue square",
    ]  # fmt: skip


def test_the_tokens_are_those_of_the_markup_without_the_end(tokenizer: Kosmos2Tokenizer) -> None:
    prompt_ids = tokenizer.encode_prompt("<grounding> An image of")
    reader = StoppingReader(AnswerReader(tokenizer, prompt_ids, IMAGE), [])
    for token_id in (*tokenizer.encode_prompt("a red circle")[len(tokenizer.prefix_ids) :], 2):
        reader.read(NewToken(0, token_id, -0.5, None, 0.0, 0))
    assert tokenizer.eos_id == 2
    assert "".join(token.markup for token in reader.tokens).split() == ["a", "red", "circle"]
