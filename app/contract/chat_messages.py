"""Finds the picture and the text of a conversation in the form of OpenAI's clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import InvalidRequest

TOO_MANY_IMAGES = "too_many_images"

_TEXTS, _IMAGES = ("text", "input_text"), ("image_url", "input_image")


@dataclass(frozen=True)
class ImagePart:
    """A picture of a message.

    Attributes:
        field: its path in the request.
        uri: as the client wrote it.
    """

    field: str
    uri: str


@dataclass(frozen=True)
class TextPart:
    """A text of a message.

    Attributes:
        field: its path in the request.
    """

    field: str
    text: str


@dataclass(frozen=True)
class Question:
    """The parts of a conversation that the model gets.

    Attributes:
        text: of the last user message; `None` if it has none.
        text_field: path of the text in the request, or where a text is missing.
    """

    image: ImagePart
    text: str | None
    text_field: str


@dataclass(frozen=True)
class _Message:
    content_field: str
    images: Sequence[ImagePart]
    texts: Sequence[TextPart]

    def joined_texts(self) -> TextPart:
        """Return all texts as one, because several parts are one question."""
        parts = [part for part in self.texts if part.text.strip()]
        field = parts[0].field if len(parts) == 1 else self.content_field
        return TextPart(field, " ".join(part.text.strip() for part in parts))


def read_question(messages: Sequence[Mapping[str, Any]]) -> Question:
    """Return the text of the last user message, and its picture or that of the nearest one before.

    Messages of other roles are ignored: the model knows no conversation.

    Raises:
        InvalidRequest: there is no user message, or not exactly one picture, or a part is invalid.
    """
    numbered = [(n, message) for n, message in enumerate(messages) if message.get("role") == "user"]
    asked = [_read_message(f"messages[{number}]", message) for number, message in numbered]
    if not asked:
        raise InvalidRequest("messages", "must have a message with the role user")
    with_image = next((message for message in reversed(asked) if message.images), None)
    if with_image is None:
        raise InvalidRequest(
            "messages", "must have a picture: a part of type image_url with a data URI"
        )
    if len(with_image.images) > 1:
        extra = with_image.images[1].field
        raise InvalidRequest(
            extra, "is the second picture; send one per message", code=TOO_MANY_IMAGES
        )
    asked_text = asked[-1].joined_texts()
    return Question(with_image.images[0], asked_text.text or None, asked_text.field)


def _read_message(field: str, message: Mapping[str, Any]) -> _Message:
    field, content = f"{field}.content", message.get("content")
    if isinstance(content, str):
        return _Message(field, [], [TextPart(field, content)])
    if not isinstance(content, list):
        raise InvalidRequest(field, "must be a text or a list of parts")
    read = [_read_part(f"{field}[{number}]", part) for number, part in enumerate(content)]
    images = [part for part in read if isinstance(part, ImagePart)]
    return _Message(field, images, [part for part in read if isinstance(part, TextPart)])


def _read_part(field: str, part: Any) -> ImagePart | TextPart:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXTS:
        field = f"{field}.text"
        return TextPart(field, _text_of(field, part.get("text")))
    if kind in _IMAGES:
        return _image_of(f"{field}.image_url", part.get("image_url"))
    raise InvalidRequest(f"{field}.type", "must be text or image_url")


def _image_of(field: str, image: Any) -> ImagePart:
    """Return a picture; some clients send the URI itself instead of an object with `url`."""
    if isinstance(image, dict):
        field, image = f"{field}.url", image.get("url")
    return ImagePart(field, _text_of(field, image))


def _text_of(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(field, "must be a text")
    return value
