"""Writes the prompts of a detection's classes as token ids, after checking the names."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.checkpoint.calibration import Calibration
from app.errors import InvalidRequest
from app.grounding.class_prompts import phrase_prompt, presence_prompt
from app.grounding.tokenizer import Kosmos2Tokenizer


@dataclass(frozen=True)
class ClassPrompts:
    """The prompts of one class, as token ids.

    Attributes:
        presence: the question whether the class is in the picture.
        phrase: the phrase whose boxes the model writes next.
    """

    presence: list[int]
    phrase: list[int]


def write_class_prompts(
    tokenizer: Kosmos2Tokenizer,
    calibration: Calibration,
    classes: Sequence[str],
    max_sequence_length: int,
    max_new_tokens: int,
) -> list[ClassPrompts]:
    """Return the prompts of all classes.

    Args:
        max_sequence_length: tokens per slot: prompt and answer together.
        max_new_tokens: of the answer.

    Raises:
        InvalidRequest: a name is blank, too long, or contains a control token.
    """
    written = []
    for number, name in enumerate(classes):
        field = f"classes[{number}]"
        if not name.strip():
            raise InvalidRequest(field, "must not be blank")
        tokenizer.refuse_control_tokens(field, name)
        prompts = ClassPrompts(
            tokenizer.encode_prompt(presence_prompt(calibration, name)),
            tokenizer.encode_prompt(phrase_prompt(calibration, name)),
        )
        longest = max(len(prompts.presence), len(prompts.phrase))
        if longest + max_new_tokens > max_sequence_length:
            message = (
                f"makes a prompt of {longest} tokens; with {max_new_tokens} tokens for its boxes "
                f"it exceeds the limit of {max_sequence_length}"
            )
            raise InvalidRequest(field, message)
        written.append(prompts)
    return written
