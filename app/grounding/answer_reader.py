"""Reads the answer while its tokens come: what can be told at once, and at the end the whole."""

import math
from collections.abc import Sequence

from app.grounding.answers import (
    AnswerBox,
    AnswerEvent,
    Entity,
    GroundedText,
    ImageFacts,
    NewEntity,
    NewText,
)
from app.grounding.markup import (
    ParsedBox,
    ParsedEntity,
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

    Its markup begins behind the picture's place in the prompt, and an `</image>` that the model
    writes is a tag like any other. The reference would drop all that stands before it; what has
    been told cannot be taken back.

    Args:
        tokenizer: of the checkpoint that writes the answer.
        prompt_ids: the whole prompt, the picture's place included.
        image: gives the boxes their pixels.
        keeps_literals: whether a `<` of the prompt that begins no control token is text. The
            reference always takes it for the beginning of a tag.
    """

    def __init__(
        self,
        tokenizer: Kosmos2Tokenizer,
        prompt_ids: Sequence[int],
        image: ImageFacts,
        *,
        keeps_literals: bool = False,
    ) -> None:
        self._patch_ids, self._image = tokenizer.patch_ids, image
        mark_literals = tokenizer.mark_literals if keeps_literals else str
        prompt = parse(mark_literals(tokenizer.decode(prompt_ids)))
        self._prompt_text = restore_brackets(prompt.text)
        self._decoder, self._stream = TokenDecoder(tokenizer), MarkupStream()
        self._answer_text = AnswerText(self._prompt_text)
        self._log_probabilities: dict[int, float] = {}
        self._num_entities = 0
        self._finish_reason: FinishReason = "length"
        markup = mark_literals(self._decoder.push(prompt_ids[len(tokenizer.prefix_ids) :]))
        self._markup, self._markup_length = [markup], len(markup)
        self._prompt_length = len(markup)
        self._events_of_prompt = self._tell(self._stream.push(markup))

    def read(self, new_token: NewToken) -> list[AnswerEvent]:
        """Take the next token; return what is final now, and with the last token all that is left.

        The entities of the prompt come with the first token.
        """
        found = self._stream.push(self._keep(self._decoder.push([new_token.token_id])))
        if new_token.token_id in self._patch_ids:  # nothing of its tag is ever held back
            offset = self._markup_length - _LENGTH_OF_PATCH_TAG
            self._log_probabilities[offset] = new_token.log_probability
        if new_token.finish_reason is not None:
            self._finish_reason = new_token.finish_reason
            found += self._stream.push(self._keep(self._decoder.finish()))
            found += self._stream.finish()
        events, self._events_of_prompt = self._events_of_prompt, []
        return events + self._tell(found)

    def grounded(self) -> GroundedText:
        """Return what all tokens say, once the last has been read."""
        parsed = parse_markup("".join(self._markup)).cleaned()
        text = restore_brackets(parsed.text)
        answer_start = find_answer(self._prompt_text, text)
        return GroundedText(
            text=text,
            answer=text[answer_start:],
            answer_start=answer_start,
            entities=tuple(self._entity(entity) for entity in parsed.entities),
            markup=restore_brackets(parsed.markup),
            finish_reason=self._finish_reason,
        )

    def _keep(self, markup: str) -> str:
        self._markup.append(markup)
        self._markup_length += len(markup)
        return markup

    def _tell(self, found: list[str | ParsedEntity]) -> list[AnswerEvent]:
        events: list[AnswerEvent] = []
        text = ""
        for item in found:
            if isinstance(item, str):
                text += self._answer_text.push(restore_brackets(item))
                continue
            events += [NewText(text)] if text else []
            events.append(NewEntity(self._num_entities, self._entity(item)))
            self._num_entities += 1
            text = ""
        return [*events, NewText(text)] if text else events

    def _entity(self, entity: ParsedEntity) -> Entity:
        return Entity(
            phrase=entity.phrase and restore_brackets(entity.phrase),
            span=entity.span,
            from_prompt=entity.boxes[0].markup_offset < self._prompt_length,
            boxes=tuple(self._box(box) for box in entity.boxes),
        )

    def _box(self, box: ParsedBox) -> AnswerBox:
        return AnswerBox(
            xyxy=scale_box(box.box, self._image.width, self._image.height),
            xyxy_normalized=box.box,
            patch_indices=box.patch_indices,
            score=self._score(box.markup_offset),
        )

    def _score(self, offset: int) -> float | None:
        """The score of the box whose tags begin there, if both were generated location tokens."""
        first = self._log_probabilities.get(offset)
        second = self._log_probabilities.get(offset + _LENGTH_OF_PATCH_TAG)
        return None if first is None or second is None else math.exp((first + second) / 2)
