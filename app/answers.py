"""From generated tokens to the answer: text, entities with boxes and scores, what was used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from os.path import commonprefix

from app.engine.messages import FinishReason, NewToken
from app.grounding.boxes import Box, CellPair, scale_box
from app.grounding.markup import ParsedBox, ParsedEntity, parse, patch_tag_offsets
from app.tokenizer import Kosmos2Tokenizer


@dataclass(frozen=True)
class AnswerBox:
    """A place in the picture.

    Attributes:
        xyxy: in pixels of the upright picture.
        xyxy_normalized: 0…1.
        patch_indices: the cells of its upper-left and lower-right corner.
        score: the geometric mean of the probabilities of its two location tokens; none for a box
            that the prompt brought.
    """

    xyxy: Box
    xyxy_normalized: Box
    patch_indices: CellPair
    score: float | None


@dataclass(frozen=True)
class Entity:
    """A phrase of the text and where it is in the picture.

    Attributes:
        phrase: none for a box without one.
        span: start and end in the text, in code points; empty without a phrase.
        from_prompt: whether the boxes were sent with the request.
        boxes: one or more.
    """

    phrase: str | None
    span: tuple[int, int]
    from_prompt: bool
    boxes: tuple[AnswerBox, ...]


@dataclass(frozen=True)
class ImageFacts:
    """The picture that the boxes refer to.

    Attributes:
        width: of the upright picture, pixels.
        height: likewise.
        exif_orientation: what the file asked for, 1…8.
    """

    width: int
    height: int
    exif_orientation: int


@dataclass(frozen=True)
class Usage:
    """Tokens.

    Attributes:
        prompt_tokens: those of the picture included.
        completion_tokens: generated, the end token included.
        cached_tokens: prompt tokens whose keys and values were at hand.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True)
class Timings:
    """Seconds, from the complete headers on.

    Attributes:
        queue_s: waiting for a slot.
        preprocess_s: decoding and squashing the picture.
        time_to_first_token_s: until the first token.
        total_s: until the answer.
    """

    queue_s: float
    preprocess_s: float
    time_to_first_token_s: float
    total_s: float


@dataclass(frozen=True)
class Grounded:
    """What the tokens say.

    Attributes:
        text: prompt and answer, without tags.
        answer: the text from `answer_start` on.
        answer_start: in code points.
        entities: in the order written, those of the prompt first.
        markup: prompt and answer, tags included.
        finish_reason: `stop`, or `length` when the limit ended the answer.
    """

    text: str
    answer: str
    answer_start: int
    entities: tuple[Entity, ...]
    markup: str
    finish_reason: FinishReason


@dataclass(frozen=True)
class Answer:
    """The whole answer to one request.

    Attributes:
        id: of the request.
        model: what the model is called.
        task: as asked.
        grounded: what the model said.
        image: the picture.
        seed: what randomness came from; none when there was none.
        usage: tokens.
        timings: seconds.
    """

    id: str
    model: str
    task: str
    grounded: Grounded
    image: ImageFacts
    seed: int | None
    usage: Usage
    timings: Timings


def read_tokens(
    tokenizer: Kosmos2Tokenizer,
    prompt_ids: Sequence[int],
    new_tokens: Sequence[NewToken],
    image: ImageFacts,
) -> Grounded:
    """Parse what was generated.

    Args:
        tokenizer: of the checkpoint that generated it.
        prompt_ids: the whole prompt, the picture's places included.
        new_tokens: all of the answer, one or more.
        image: gives the boxes their pixels.
    """
    token_ids = [*prompt_ids, *(new_token.token_id for new_token in new_tokens)]
    parsed = parse(tokenizer.decode(token_ids)).cleaned()
    prompt = parse(tokenizer.decode(prompt_ids))
    scores = _scores(tokenizer, prompt_ids, new_tokens, parsed.markup)
    # Anything but a prefix is possible: the clean-up of spaces works across the border.
    answer_start = len(commonprefix([prompt.text, parsed.text]))  # noqa: RUF071 - characters are meant
    answer_start += len(parsed.text[answer_start:]) - len(parsed.text[answer_start:].lstrip())
    return Grounded(
        text=parsed.text,
        answer=parsed.text[answer_start:],
        answer_start=answer_start,
        entities=tuple(
            _entity(entity, scores, len(prompt.markup), image) for entity in parsed.entities
        ),
        markup=parsed.markup,
        finish_reason=new_tokens[-1].finish_reason or "length",
    )


def _entity(
    entity: ParsedEntity, scores: dict[int, float | None], prompt_length: int, image: ImageFacts
) -> Entity:
    return Entity(
        phrase=entity.phrase,
        span=entity.span,
        from_prompt=entity.boxes[0].markup_offset < prompt_length,
        boxes=tuple(_box(box, scores.get(box.markup_offset), image) for box in entity.boxes),
    )


def _box(box: ParsedBox, score: float | None, image: ImageFacts) -> AnswerBox:
    return AnswerBox(
        xyxy=scale_box(box.box, image.width, image.height),
        xyxy_normalized=box.box,
        patch_indices=box.patch_indices,
        score=score,
    )


def _scores(
    tokenizer: Kosmos2Tokenizer,
    prompt_ids: Sequence[int],
    new_tokens: Sequence[NewToken],
    markup: str,
) -> dict[int, float | None]:
    """The score of the box at each offset of the markup; none for what the prompt brought.

    The n-th location tag of the markup is the n-th location token, since no other token reads as
    one; should a tokenizer ever break this, there are no scores rather than wrong ones.
    """
    logarithms: list[float | None] = []
    unscored = ((token_id, None) for token_id in prompt_ids)
    scored = ((token.token_id, token.log_probability) for token in new_tokens)
    end_of_image = tokenizer.prefix_ids[-1]
    for token_id, logarithm in (*unscored, *scored):
        if token_id == end_of_image:  # the markup begins behind the last one
            logarithms.clear()
        elif token_id in tokenizer.patch_ids:
            logarithms.append(logarithm)
    offsets = patch_tag_offsets(markup)
    if len(offsets) != len(logarithms):
        return {}
    pairs = pairwise(logarithms)
    return {
        offset: None if first is None or second is None else math.exp((first + second) / 2)
        for offset, (first, second) in zip(offsets, pairs, strict=False)
    }
