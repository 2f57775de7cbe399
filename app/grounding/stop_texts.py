"""Ends an answer before one of the texts that the client names."""

from collections.abc import Sequence
from dataclasses import replace

from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import AnswerEvent, AnswerToken, GroundedText, NewEntity, NewText
from app.ipc.engine_messages import NewToken


class StoppingReader:
    """Reads one answer, up to the stop text that is complete first.

    The end of the text is held back while it may be the beginning of a stop text.

    Args:
        reader: has read no token yet.
        stops: none of them is empty; without any, the whole answer is read.

    Attributes:
        has_stopped: whether a stop text was found; there is nothing more to read.
    """

    def __init__(self, reader: AnswerReader, stops: Sequence[str]) -> None:
        self.has_stopped = False
        self._reader, self._stops = reader, stops
        self._answer = self._lead = ""
        self._num_sent = 0
        self._num_entities = 0
        self._held: list[tuple[int, NewEntity]] = []

    @property
    def tokens(self) -> tuple[AnswerToken, ...]:
        """The tokens read so far, without the end token."""
        return self._reader.tokens

    def read(self, new_token: NewToken) -> list[AnswerEvent]:
        """Process the next token and return the events that are final now."""
        events: list[AnswerEvent] = []
        for event in self._reader.read(new_token):
            if isinstance(event, NewText):
                self._answer += event.text
                self._lead += event.lead
            else:
                self._held.append((len(self._answer), event))
            events += self._release(self._find_end())
        if new_token.finish_reason is not None and not self.has_stopped:
            events += self._release(len(self._answer))
        return events

    def grounded(self) -> GroundedText:
        """Return the answer up to the stop text. Call it after the last token has been read."""
        grounded = self._reader.grounded()
        if not self.has_stopped:
            return grounded
        end = grounded.answer_start + self._num_sent
        return replace(
            grounded,
            text=grounded.text[:end],
            answer=grounded.answer[: self._num_sent],
            entities=grounded.entities[: self._num_entities],
            finish_reason="stop",
        )

    def _find_end(self) -> int:
        """Return up to where the answer is final, and note whether a stop text begins there."""
        if self.has_stopped:
            return self._num_sent
        # Text that was sent cannot contain the beginning of a stop text.
        found = [(self._answer.find(stop, self._num_sent), stop) for stop in self._stops]
        # The one that is complete first: this does not depend on how the text was cut into tokens.
        spans = [(start + len(stop), start) for start, stop in found if start >= 0]
        self.has_stopped = bool(spans)
        if spans:
            return min(spans)[1]
        return len(self._answer) - max(map(self._num_open, self._stops), default=0)

    def _num_open(self, stop: str) -> int:
        """Return how many characters at the end may be the beginning of a stop text."""
        return next((n for n in range(len(stop) - 1, 0, -1) if self._answer.endswith(stop[:n])), 0)

    def _release(self, end: int) -> list[AnswerEvent]:
        """Return the events of the answer up to `end`; an entity follows the text before it."""
        events: list[AnswerEvent] = []
        while self._held and self._held[0][0] <= end:
            text_end, entity = self._held.pop(0)
            events += self._release_text(text_end)
            events.append(entity)
            self._num_entities += 1
        return events + self._release_text(end)

    def _release_text(self, end: int) -> list[AnswerEvent]:
        text = self._answer[self._num_sent : end]
        if not text:
            return []
        self._num_sent = end
        lead, self._lead = self._lead, ""
        return [NewText(text, lead)]
