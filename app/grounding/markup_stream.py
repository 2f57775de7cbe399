"""Reads markup while it is being written: text as soon as it is final, entities once complete."""

import re
from os.path import commonprefix

from app.grounding.markup import END_OF_OBJECT, OBJECT, ParsedEntity, entities_of

_BRACKETS = re.compile("([<>\n])")


class MarkupStream:
    """Reads piece by piece what `parse_markup(…).cleaned()` reads of the whole.

    The texts it returns, joined, are the whole text; the entities are the whole's, in order, each
    behind the text before it. Held back are white space, which may turn out to be the last, and
    everything behind a `<` for which a `>` may still come in the same line, since that would be a
    tag. Time is in proportion to the markup's length, however it is cut.

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
        """Take the next piece of markup; return what no later one can change."""
        found: list[str | ParsedEntity] = []
        for part in _BRACKETS.split(markup):
            self._since_object.append(part)
            if not self._open_tag and part != "<":
                found.append(self._take_text(part))
                continue
            self._open_tag.append(part)
            if part == "\n":  # no tag goes beyond its line
                found.append(self._take_text(self._close_tag()))
            elif part == ">" and self._close_tag().endswith(END_OF_OBJECT):
                found += self._finish_object()
        return [item for item in found if item != ""]

    def finish(self) -> list[str | ParsedEntity]:
        """Return what is left, now that no more will come."""
        rest = self._take_text(self._close_tag())
        return [rest] if rest else []

    def _close_tag(self) -> str:
        tag = "".join(self._open_tag)
        self._open_tag.clear()
        return tag

    def _take_text(self, text: str) -> str:
        """Return the text that is final, white space at its beginning and end kept back."""
        text = self._white_space + text
        if not self._text_length:
            text = text.lstrip()
        final = text.rstrip()
        self._white_space = text[len(final) :]
        self._text_length += len(final)
        return final

    def _finish_object(self) -> list[ParsedEntity]:
        """Return the entities that an `</object>` completes: none if it closes no object."""
        markup, start = "".join(self._since_object), self._object_start
        self._since_object.clear()
        self._object_start += len(markup)
        match = OBJECT.search(markup)  # it ends here if at all: there is one `</object>` in it
        if match is None:
            return []
        entities = [entity.cleaned() for entity in entities_of(match, self._text_length, start)]
        return [entity for entity in entities if entity.boxes]


class AnswerText:
    """Tells the answer from the prompt in a text that grows.

    Args:
        prompt_text: the text of the prompt alone.
    """

    def __init__(self, prompt_text: str) -> None:
        self._prompt_text = prompt_text
        self._text = ""
        self._has_begun = False

    def push(self, text: str) -> str:
        """Take the next piece of the text, none ending in white space; return the answer's part."""
        if self._has_begun:
            return text
        self._text += text
        answer = self._text[find_answer(self._prompt_text, self._text) :]
        self._has_begun = answer != ""
        return answer


def find_answer(prompt_text: str, text: str) -> int:
    """Return where the answer begins in a text without white space at its end.

    Mostly that is behind the prompt, but anything is possible: the clean-up of spaces works across
    the border, and a `>` in the answer makes a tag of what follows a `<` in the prompt.

    >>> find_answer("An image of", "An image of a dog."), find_answer("Is n'", "Isn't it?")
    (12, 2)
    """
    start = len(commonprefix([prompt_text, text]))  # noqa: RUF071 - characters are meant
    return start + len(text[start:]) - len(text[start:].lstrip())
