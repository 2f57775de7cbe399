"""Answers read token by token equal the whole answers of `transformers` and the parser."""

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.grounding.answers import NewEntity, NewText
from app.grounding.markup import END_OF_IMAGE, parse, parse_markup
from app.grounding.markup_stream import find_answer
from app.grounding.token_decoder import TokenDecoder
from app.grounding.tokenizer import Kosmos2Tokenizer
from tests.grounding.token_sequences import PROMPTS, event_texts, read, sequences
from training.examples import examples_of
from training.world import plan_scene


@given(st.data())
def test_decoding_token_by_token_equals_decoding_at_once(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], data: st.DataObject
) -> None:
    """The tokens include bytes, skipped tokens, and spaces before punctuation."""
    ids = data.draw(sequences(vocabulary))
    sizes = iter(data.draw(st.lists(st.integers(1, 3))))
    decoder, markup, rest = TokenDecoder(tokenizer), "", ids
    while rest:
        size = next(sizes, 1)
        markup += decoder.push(rest[:size])
        rest = rest[size:]
    at_once = tokenizer.decode([*tokenizer.prefix_ids, *ids])
    assert markup + decoder.finish() == at_once.partition(END_OF_IMAGE)[2]


@pytest.mark.slow
@pytest.mark.parametrize("prompt", PROMPTS)
@given(data=st.data())
def test_the_events_add_up_to_the_answer(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], prompt: str, data: st.DataObject
) -> None:
    """This holds for any tokens and for any end, because every prefix is an answer, too."""
    prompt_ids = tokenizer.encode_prompt(prompt)
    new_ids = data.draw(sequences(vocabulary))
    sent, grounded = read(tokenizer, prompt_ids, new_ids)
    events = [event for events in sent for event in events]
    found = [event for event in events if isinstance(event, NewEntity)]
    assert "".join(event_texts(sent)) == grounded.answer == grounded.text[grounded.answer_start :]
    assert [event.entity for event in found] == list(grounded.entities)
    assert [event.index for event in found] == list(range(len(found)))
    assert all(event.text for event in events if isinstance(event, NewText))


@pytest.mark.parametrize("prompt", PROMPTS)
@given(data=st.data())
def test_an_answer_equals_the_parsed_whole_text(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], prompt: str, data: st.DataObject
) -> None:
    """The only exception is a second `</image>`, which is an ordinary tag here."""
    prompt_ids = tokenizer.encode_prompt(prompt)
    new_ids = data.draw(sequences(vocabulary))
    _, grounded = read(tokenizer, prompt_ids, new_ids)
    decoded = tokenizer.decode([*prompt_ids, *new_ids])
    parsed = parse_markup(decoded.partition(END_OF_IMAGE)[2]).cleaned()
    if decoded.count(END_OF_IMAGE) == 1:
        assert parsed == parse(decoded).cleaned()
    assert (grounded.markup, grounded.text) == (parsed.markup, parsed.text)
    assert grounded.answer_start == find_answer(
        parse(tokenizer.decode(prompt_ids)).text, parsed.text
    )
    assert [
        (entity.phrase, entity.span, [box.patch_indices for box in entity.boxes])
        for entity in grounded.entities
    ] == [
        (entity.phrase, entity.span, [box.patch_indices for box in entity.boxes])
        for entity in parsed.entities
    ]


@pytest.mark.slow
def test_the_right_answers_about_200_scenes_are_streamed_correctly(
    tokenizer: Kosmos2Tokenizer,
) -> None:
    """For all tasks, the stream gives the same text and the same entities as the whole answer."""
    rng = random.Random(0)
    for _ in range(200):
        for example in islice(examples_of(plan_scene(rng).objects, rng), 7):
            prompt_ids = tokenizer.encode_prompt(example.prompt)
            new_ids = tokenizer.encode_prompt(example.answer)[67:]
            sent, grounded = read(tokenizer, prompt_ids, new_ids)
            found = [e.entity for events in sent for e in events if isinstance(e, NewEntity)]
            assert "".join(event_texts(sent)) == grounded.answer
            assert tuple(found) == grounded.entities
