"""Prompts about a class name have a fitting article, and their answers have one token each."""

from pathlib import Path

import pytest

from app.checkpoint.calibration import Calibration
from app.errors import CheckpointError
from app.grounding.class_prompts import (
    insert_class,
    phrase_prompt,
    presence_prompt,
    presence_token_ids,
)
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.settings import EMBEDDED_CHECKPOINT


@pytest.mark.parametrize(
    ("template", "class_name", "written"),
    [
        ("a {class}", "red circle", "a red circle"),
        ("a {class}", "orange heart", "an orange heart"),
        ("A {class}", "Orange heart", "An Orange heart"),
        ("an {class}", "dog", "a dog"),
        ("a {class}", "a red circle", "a red circle"),
        ("a {class}", "An owl", "An owl"),
        ("a {class}", "the owl", "the owl"),
        ("the {class}", "owl", "the owl"),
        ("the {class}", "an owl", "an owl"),
        ("{class}", "owl", "owl"),
        ("{class}", " owl ", "owl"),
        ("a {class}", "antelope", "an antelope"),
        ("a {class}", "theatre", "a theatre"),
        ("a {class}", "{class}", "a {class}"),
        ("a {class}", r"back\slash \1", r"a back\slash \1"),
        ("Is there a {class}?", "owl", "Is there an owl?"),
        ("pizza {class}", "owl", "pizza owl"),
        ("pizza: {class}", "owl", "pizza: owl"),
    ],
)
def test_a_class_name_gets_a_fitting_article(template: str, class_name: str, written: str) -> None:
    """Class lists have bare names, while the model was trained with articles."""
    assert insert_class(template, class_name) == written


def test_the_prompts_are_those_of_the_tasks() -> None:
    calibration = Calibration(class_phrase="the {class}", presence_question="Any {class}?")
    assert phrase_prompt(calibration, "owl") == "<grounding><phrase> the owl</phrase>"
    assert presence_prompt(calibration, "owl") == "<grounding> Question: Any owl? Answer:"


@pytest.fixture(scope="module", params=["published", "embedded"])
def tokenizer(request: pytest.FixtureRequest) -> Kosmos2Tokenizer:
    if request.param == "embedded":
        return Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
    shared: Path = request.getfixturevalue("shared_kosmos2")
    return Kosmos2Tokenizer.load(shared / "processor")


def test_the_ids_of_the_answers_are_those_after_the_question(tokenizer: Kosmos2Tokenizer) -> None:
    """The token includes the space before the word."""
    prompt = presence_prompt(Calibration(), "red circle")
    ids = presence_token_ids(tokenizer, Calibration())
    answered = [tokenizer.encode_prompt(f"{prompt} {word}") for word in ("Yes", "No")]
    assert answered == [[*tokenizer.encode_prompt(prompt), token_id] for token_id in ids]


@pytest.mark.parametrize("word", ["Unquestionably", "☃"])
def test_an_answer_of_several_tokens_or_of_none_is_rejected(
    tokenizer: Kosmos2Tokenizer, word: str
) -> None:
    """The engine returns the probability of single tokens."""
    with pytest.raises(CheckpointError, match="presence_answers"):
        presence_token_ids(tokenizer, Calibration(presence_answers=(word, "No")))
