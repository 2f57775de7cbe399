"""Writes the two prompts about a class name: its phrase, and the question whether it is there."""

import re

from app.checkpoint.calibration import CLASS, Calibration
from app.errors import CheckpointError
from app.grounding.tasks import TASKS, write_prompt
from app.grounding.tokenizer import Kosmos2Tokenizer

_ARTICLES = ("a", "an", "the")
_SLOT = re.compile(rf"(?:\b(?P<article>an?|the) )?{re.escape(CLASS)}", re.IGNORECASE)


def insert_class(template: str, class_name: str) -> str:
    """Return the template with a class name in the place of `{class}`, and a fitting article.

    A class name with an article of its own replaces that of the template; `a` before a vowel
    becomes `an`.

    Args:
        template: contains `{class}` once.
        class_name: not blank, without control tokens.

    >>> insert_class("Is there a {class}?", "orange heart")
    'Is there an orange heart?'
    >>> insert_class("a {class}", "the red circle")
    'the red circle'
    """
    words = class_name.strip()

    def written(slot: re.Match[str]) -> str:
        article = slot["article"]
        if article is None or words.split()[0].lower() in _ARTICLES:
            return words
        if article.lower() in ("a", "an"):
            article = article[0] + ("n" if words[0].lower() in "aeiou" else "")
        return f"{article} {words}"

    return _SLOT.sub(written, template, count=1)


def phrase_prompt(calibration: Calibration, class_name: str) -> str:
    """Return the prompt that generates the boxes of a class.

    >>> phrase_prompt(Calibration(), "red circle")
    '<grounding><phrase> a red circle</phrase>'
    """
    text = insert_class(calibration.class_phrase, class_name)
    return write_prompt(TASKS["phrase_grounding"], text=text, regions=(), grounding=True)


def presence_prompt(calibration: Calibration, class_name: str) -> str:
    """Return the prompt whose first answer token states whether a class is in the picture.

    >>> presence_prompt(Calibration(), "red circle")
    '<grounding> Question: Is there a red circle? Answer:'
    """
    text = insert_class(calibration.presence_question, class_name)
    return write_prompt(TASKS["grounded_vqa"], text=text, regions=(), grounding=True)


def presence_token_ids(tokenizer: Kosmos2Tokenizer, calibration: Calibration) -> tuple[int, int]:
    """Return the ids of the first answer tokens that mean yes and no.

    Args:
        tokenizer: must belong to the checkpoint of the calibration.

    Raises:
        CheckpointError: an answer is not a single token after the question.
    """
    prompt = presence_prompt(calibration, "thing")
    ids = tokenizer.encode_prompt(prompt)
    found = []
    for word in calibration.presence_answers:
        *start, last = tokenizer.encode_prompt(f"{prompt} {word}")
        if start != ids or tokenizer.decode([last]).strip() != word:
            raise CheckpointError(f"presence_answers: {word!r} is not one token of the tokenizer")
        found.append(last)
    yes, no = found
    return yes, no
