"""A bracket that the user wrote is text, not the beginning of a tag."""

import pytest

from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import NewEntity
from app.grounding.space_cleaner import clean_up_spaces
from app.grounding.tasks import TASKS, Region, write_prompt
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import NewToken
from tests.grounding.token_sequences import IMAGE, OBJECT, event_texts, ids_of

LITERAL_TEXTS = (
    "Is 3<5? Where is the red circle?",
    "the I <3 NY shirt",
    "a <b> tag",
    "x <- y -> z",
    "<",
    "a << b >> c <",
    "</b>",
    "if a<b and b>c",
    "<patch_index_>",
    "> <",
)


@pytest.mark.parametrize("task", ["grounded_vqa", "phrase_grounding", "raw"])
@pytest.mark.parametrize("text", LITERAL_TEXTS)
def test_a_bracket_of_the_user_is_kept_in_text_phrase_and_stream(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], task: str, text: str
) -> None:
    """Tags that the model writes after the bracket are still parsed."""
    prompt = write_prompt(TASKS[task], text=text, regions=[], grounding=True)
    new_ids = ids_of(vocabulary, f"{OBJECT.partition('</phrase>')[2]} ▁a {OBJECT}")
    reader = AnswerReader(tokenizer, tokenizer.encode_prompt(prompt), IMAGE, keeps_literals=True)
    sent = [
        reader.read(NewToken(0, token_id, -0.1, reason, 0.0, 0))
        for number, token_id in enumerate(new_ids)
        for reason in ["length" if number == len(new_ids) - 1 else None]
    ]
    grounded = reader.grounded()
    written = clean_up_spaces(text)
    assert written in grounded.text
    assert written in grounded.markup
    assert grounded.answer == "a a red dog"
    assert "".join(event_texts(sent)) == grounded.answer
    assert [entity.phrase for entity in grounded.entities] == [
        written if task == "phrase_grounding" else None,
        "a red dog",
    ]
    for entity in grounded.entities:
        assert grounded.text[slice(*entity.span)] == (entity.phrase or "")
    found = [e.entity for events in sent for e in events if isinstance(e, NewEntity)]
    assert tuple(found) == grounded.entities


def test_a_bracket_in_a_regions_phrase_is_kept(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """The test covers questions with regions, and descriptions of one region."""
    region = Region("a <3 shirt", ((44, 863),))
    vqa = write_prompt(
        TASKS["grounded_vqa"], text="Is a <3 shirt > 5?", regions=[region], grounding=True
    )
    alone = write_prompt(
        TASKS["referring_expression_generation"], text=None, regions=[region], grounding=True
    )
    for prompt in (vqa, alone):
        prompt_ids = tokenizer.encode_prompt(prompt)
        reader = AnswerReader(tokenizer, prompt_ids, IMAGE, keeps_literals=True)
        reader.read(NewToken(0, vocabulary["▁a"], -0.1, "length", 0.0, 0))
        [entity] = reader.grounded().entities
        assert entity.phrase == "a <3 shirt"
        assert reader.grounded().text[slice(*entity.span)] == "a <3 shirt"
