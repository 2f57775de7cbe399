"""Reads an answer token by token: returns final parts early, and the whole answer at the end."""

import math
from collections.abc import Sequence

from app.checkpoint.calibration import UNCALIBRATED, Calibration
from app.grounding.answers import (
    AnswerBox,
    AnswerEvent,
    AnswerToken,
    Entity,
    GroundedText,
    ImageFacts,
    NewEntity,
    NewText,
)
from app.grounding.localization import CellDistribution, Localization, localize
from app.grounding.markup import (
    ParsedBox,
    ParsedEntity,
    find_last_phrase,
    parse,
    parse_markup,
    patch_tag,
    restore_brackets,
)
from app.grounding.markup_stream import AnswerText, MarkupStream, find_answer
from app.grounding.token_decoder import TokenDecoder
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import FinishReason, NewToken
from app.pictures.marks import scale_box

_LENGTH_OF_PATCH_TAG = len(patch_tag(0))


class AnswerReader:
    """Reads one answer.

    The markup of the answer starts after the picture's tokens in the prompt. If the model writes an
    `</image>`, this reader treats it like any other tag. The reference would drop all text before
    it, but text that was already streamed cannot be withdrawn.

    Args:
        tokenizer: must belong to the checkpoint that generates the answer.
        prompt_ids: the whole prompt, including the picture's tokens.
        keeps_literals: whether a `<` in the prompt that starts no control token is kept as text.
            The reference always treats it as the start of a tag.
        calibration: of the checkpoint.
    """

    def __init__(
        self,
        tokenizer: Kosmos2Tokenizer,
        prompt_ids: Sequence[int],
        image: ImageFacts,
        *,
        keeps_literals: bool = False,
        calibration: Calibration = UNCALIBRATED,
    ) -> None:
        self._patch_ids, self._image = tokenizer.patch_ids, image
        self._calibration = calibration
        mark_literals = tokenizer.mark_literals if keeps_literals else str
        prompt = parse(mark_literals(tokenizer.decode(prompt_ids)))
        self._prompt_text = restore_brackets(prompt.text)
        self._phrase_start = find_last_phrase(prompt)
        self._decoder, self._stream = TokenDecoder(tokenizer), MarkupStream()
        self._answer_text = AnswerText(self._prompt_text, self._phrase_start)
        self._eos_id, self._log_probabilities = tokenizer.eos_id, list[float]()
        self._location_tokens: dict[int, NewToken] = {}
        self._boxes: dict[int, AnswerBox] = {}
        self._num_entities = 0
        self._finish_reason: FinishReason = "length"
        markup = mark_literals(self._decoder.push(prompt_ids[len(tokenizer.prefix_ids) :]))
        self._markup, self._markup_length = [markup], len(markup)
        self._prompt_length = len(markup)
        self._events_of_prompt = self._to_events(self._stream.push(markup))

    def read(self, new_token: NewToken) -> list[AnswerEvent]:
        """Process the next token and return the events that are final now.

        The first call also returns the entities of the prompt; the call with the last token returns
        all remaining events.
        """
        markup = self._keep(self._decoder.push([new_token.token_id]))
        found = self._stream.push(markup)
        if new_token.token_id != self._eos_id:
            self._log_probabilities.append(new_token.log_probability)
        if new_token.token_id in self._patch_ids:  # the decoder never holds back a location tag
            offset = self._markup_length - _LENGTH_OF_PATCH_TAG
            self._location_tokens[offset] = new_token
        if new_token.finish_reason is not None:
            self._finish_reason = new_token.finish_reason
            found += self._stream.push(self._keep(self._decoder.finish()))
            found += self._stream.finish()
        events, self._events_of_prompt = self._events_of_prompt, []
        return events + self._to_events(found)

    @property
    def tokens(self) -> tuple[AnswerToken, ...]:
        """The tokens read so far, without the end token."""
        _prompt, *pieces = self._markup
        if last := len(self._log_probabilities):
            # What was held back until the end belongs to the last token.
            pieces = [*pieces[: last - 1], "".join(pieces[last - 1 :])]
        pairs = zip(pieces, self._log_probabilities, strict=False)  # the end token has only a piece
        return tuple(AnswerToken(restore_brackets(piece), number) for piece, number in pairs)

    def grounded(self) -> GroundedText:
        """Return the whole answer. Call it after the last token has been read."""
        parsed = parse_markup("".join(self._markup)).cleaned()
        text = restore_brackets(parsed.text)
        answer_start = find_answer(self._prompt_text, text)
        phrase_start = answer_start if self._phrase_start is None else self._phrase_start
        return GroundedText(
            text=text,
            answer=text[answer_start:],
            answer_start=answer_start,
            content_start=min(phrase_start, answer_start),
            entities=tuple(self._entity(entity) for entity in parsed.entities),
            markup=restore_brackets(parsed.markup),
            finish_reason=self._finish_reason,
        )

    def _keep(self, markup: str) -> str:
        self._markup.append(markup)
        self._markup_length += len(markup)
        return markup

    def _to_events(self, found: list[str | ParsedEntity]) -> list[AnswerEvent]:
        events: list[AnswerEvent] = []
        text = ""
        for item in found:
            if isinstance(item, str):
                text += self._answer_text.push(restore_brackets(item))
                continue
            events += self._new_text(text)
            events.append(NewEntity(self._num_entities, self._entity(item)))
            self._num_entities += 1
            text = ""
        return [*events, *self._new_text(text)]

    def _new_text(self, text: str) -> list[AnswerEvent]:
        if not text:
            return []
        lead, self._answer_text.lead = self._answer_text.lead, ""
        return [NewText(text, lead)]

    def _entity(self, entity: ParsedEntity) -> Entity:
        return Entity(
            phrase=entity.phrase and restore_brackets(entity.phrase),
            span=entity.span,
            from_prompt=entity.boxes[0].markup_offset < self._prompt_length,
            boxes=tuple(self._box(box) for box in entity.boxes),
        )

    def _box(self, box: ParsedBox) -> AnswerBox:
        """Return the box; an event and the whole answer share it."""
        if box.markup_offset not in self._boxes:
            self._boxes[box.markup_offset] = self._compute_box(box)
        return self._boxes[box.markup_offset]

    def _compute_box(self, box: ParsedBox) -> AnswerBox:
        width, height = self._image.width, self._image.height
        # A box has two location tokens; those of the prompt were not generated.
        first = self._location_tokens.get(box.markup_offset)
        second = self._location_tokens.get(box.markup_offset + _LENGTH_OF_PATCH_TAG)
        localization = _localize(box, first, second, self._calibration)
        return AnswerBox(
            xyxy=scale_box(box.box, width, height),
            xyxy_normalized=box.box,
            patch_indices=box.patch_indices,
            score=_score(first, second),
            xyxy_refined=scale_box(localization.box, width, height) if localization else None,
            xyxy_refined_normalized=localization.box if localization else None,
            confidence=localization.confidence if localization else None,
        )


def _score(first: NewToken | None, second: NewToken | None) -> float | None:
    """Return the score of a box with these location tokens, or `None` if one is of the prompt."""
    if first is None or second is None:
        return None
    return math.exp((first.log_probability + second.log_probability) / 2)


def _localize(
    box: ParsedBox, first: NewToken | None, second: NewToken | None, calibration: Calibration
) -> Localization | None:
    """Return the refined box, or `None` if a corner has no distribution."""
    if first is None or second is None or first.location is None or second.location is None:
        return None
    return localize(
        box.patch_indices,
        CellDistribution.from_message(first.location),
        CellDistribution.from_message(second.location),
        calibration,
    )
