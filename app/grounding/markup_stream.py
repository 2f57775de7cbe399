"""Parses markup while the model writes it: returns text once final, entities once complete."""

import re
from os.path import commonprefix

from app.grounding.markup import END_OF_OBJECT, OBJECT, ParsedEntity, entities_of

_BRACKETS = re.compile("([<>\n])")


class MarkupStream:
    """Parses piece by piece, with the same result as `parse_markup(…).cleaned()` on the whole.

    The returned texts, joined, are the whole text. The entities are returned in order, each after
    the text before it. The stream holds back white space, which may turn out to be trailing, and
    everything after a `<` until its line ends or a `>` follows, since that would be a tag. The time
    is proportional to the length of the markup, however it is split.

    >>> stream = MarkupStream()
    >>> stream.push("A<phrase> red"), stream.push(" cat "), stream.push("sits < "), stream.finish()
    (['A', ' red'], [' cat'], [' sits'], [' <'])
    """

    def __init__(self) -> None:
        self._open_tag: list[str] = []
        self._since_object: list[str] = []
        self._object_start = 0
        self._white_space = ""
        self._text_length = 0

    def push(self, markup: str) -> list[str | ParsedEntity]:
        """Process the next piece of markup and return the items that no later piece can change."""
        found: list[str | ParsedEntity] = []
        for part in _BRACKETS.split(markup):
            self._since_object.append(part)
            if not self._open_tag and part != "<":
                found.append(self._take_text(part))
                continue
            self._open_tag.append(part)
            if part == "\n":  # a tag never spans lines
                found.append(self._take_text(self._close_tag()))
            elif part == ">" and self._close_tag().endswith(END_OF_OBJECT):
                found += self._finish_object()
        return [item for item in found if item != ""]

    def finish(self) -> list[str | ParsedEntity]:
        """Return the remaining text. Call it after the last piece."""
        rest = self._take_text(self._close_tag())
        return [rest] if rest else []

    def _close_tag(self) -> str:
        tag = "".join(self._open_tag)
        self._open_tag.clear()
        return tag

    def _take_text(self, text: str) -> str:
        """Return the final part of the text; hold back white space at its start and end."""
        text = self._white_space + text
        if not self._text_length:
            text = text.lstrip()
        final = text.rstrip()
        self._white_space = text[len(final) :]
        self._text_length += len(final)
        return final

    def _finish_object(self) -> list[ParsedEntity]:
        """Return the entities that an `</object>` completes; empty if it closes no object."""
        markup, start = "".join(self._since_object), self._object_start
        self._since_object.clear()
        self._object_start += len(markup)
        match = OBJECT.search(markup)  # `markup` has one `</object>`, so a match ends there
        if match is None:
            return []
        entities = [entity.cleaned() for entity in entities_of(match, self._text_length, start)]
        return [entity for entity in entities if entity.boxes]


class AnswerText:
    """Separates the answer from the prompt in a growing text.

    Args:
        phrase_start: where the phrase at the end of the prompt begins; `None` without one.

    Attributes:
        lead: that phrase, up to the answer; empty before the answer has begun.
    """

    def __init__(self, prompt_text: str, phrase_start: int | None = None) -> None:
        self.lead = ""
        self._prompt_text, self._phrase_start = prompt_text, phrase_start
        self._text = ""
        self._has_begun = False

    def push(self, text: str) -> str:
        """Process the next piece, which must not end in white space; return the answer's part."""
        if self._has_begun:
            return text
        self._text += text
        start = find_answer(self._prompt_text, self._text)
        answer = self._text[start:]
        self._has_begun = answer != ""
        if self._has_begun and self._phrase_start is not None:
            self.lead = self._text[self._phrase_start : start]
        return answer


def find_answer(prompt_text: str, text: str) -> int:
    """Return the offset of the answer in a text without trailing white space.

    Usually the answer starts right after the prompt. There are exceptions: the clean-up of spaces
    works across the border, and a `>` in the answer makes a tag of text after a `<` in the prompt.

    >>> find_answer("An image of", "An image of a dog."), find_answer("Is n'", "Isn't it?")
    (12, 2)
    """
    start = len(commonprefix([prompt_text, text]))  # noqa: RUF071 - characters are meant
    return start + len(text[start:]) - len(text[start:].lstrip())
