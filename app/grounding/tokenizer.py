"""The tokenizer of the HTTP processes: encodes prompts, decodes answers, rejects control tokens.

It gives the same ids and texts as the reference processor, but uses only the `tokenizers` library.
A user's text is checked by its ids, by its normalised form and by the text that its ids decode to.
Checking the string itself is not enough: normalisation turns full-width `＜pad＞` into `<pad>`, and
decoding drops characters that the vocabulary lacks, so that `<obj☃ect>` decodes to `<object>`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tokenizers import Tokenizer

from app.errors import CheckpointError, InvalidRequest
from app.grounding.boxes import GRID
from app.grounding.markup import (
    END_OF_IMAGE,
    LITERAL_BRACKET,
    MARKUP_TAGS,
    patch_tag,
)
from app.grounding.space_cleaner import clean_up_spaces

NUM_IMAGE_TOKENS = 64
"""Placeholders of the picture in a prompt; `num_image_tokens` of the reference processor."""

MAX_CHARACTERS = 50_000
"""Longer texts are rejected before they are tokenised. The model accepts 2048 tokens, which are
shorter than this even if all of them are location tags (22 characters each)."""

LONE_SURROGATE = "contains a lone surrogate, not a character"
"""The message of a text that has no UTF-8: JSON can express half a character."""

_IMAGE = "<image>"
_BYTE_TOKEN = re.compile("<0x[0-9A-Fa-f]{2}>")


@dataclass(frozen=True)
class SpecialTokens:
    """Names of the special tokens; the defaults are those of the published model."""

    bos: str = "<s>"
    eos: str = "</s>"
    pad: str = "<pad>"
    unk: str = "<unk>"


class Kosmos2Tokenizer:
    """Encodes prompts and decodes answers. Several threads may share it, because it has no state.

    Args:
        backend: the vocabulary and its rules; this class switches off truncation and padding.
        cleans_up_spaces: whether decoding removes the spaces before punctuation.

    Attributes:
        prefix_ids: the start of every prompt: `<s>`, `<image>`, the placeholders, `</image>`.
        eos_id: the token that ends an answer.
        tag_ids: maps each tag of `MARKUP_TAGS` to its id.
        pad_id: the token that no prompt may contain.
        patch_ids: maps the id of each location token to its cell.

    Raises:
        KeyError: the vocabulary lacks a token of Kosmos-2.
    """

    def __init__(
        self, backend: Tokenizer, special_tokens: SpecialTokens, *, cleans_up_spaces: bool
    ) -> None:
        self._backend, self._special_tokens = backend, special_tokens
        self._backend.no_truncation()
        self._backend.no_padding()
        vocabulary = self._backend.get_vocab()
        self.patch_ids: Mapping[int, int] = MappingProxyType(
            {vocabulary[patch_tag(cell)]: cell for cell in range(GRID * GRID)}
        )
        self.eos_id: int = vocabulary[special_tokens.eos]
        self.tag_ids: Mapping[str, int] = MappingProxyType(
            {tag: vocabulary[tag] for tag in MARKUP_TAGS}
        )
        self.pad_id: int = vocabulary[special_tokens.pad]
        self._unk_id: int = vocabulary[special_tokens.unk]
        self.cleans_up_spaces = cleans_up_spaces
        added_tokens = self._backend.get_added_tokens_decoder()
        self._control_tokens = {token_id: token.content for token_id, token in added_tokens.items()}
        self._skipped_ids = {token_id for token_id, token in added_tokens.items() if token.special}
        self._markup_ids = {*self.tag_ids.values(), *self.patch_ids}
        self._tag = _tag_pattern(self._control_tokens.values())
        self._literal_bracket = re.compile(f"(?!{self._tag.pattern})<")
        # The ids after `<unk>` serve as placeholders, as in the reference processor.
        first = self._unk_id + 1
        self.prefix_ids: tuple[int, ...] = (
            vocabulary[special_tokens.bos],
            vocabulary[_IMAGE],
            *range(first, first + NUM_IMAGE_TOKENS),
            vocabulary[END_OF_IMAGE],
        )

    @property
    def location_token_ids(self) -> range:
        """Ids of the location tokens, in the order of their cells.

        Raises:
            CheckpointError: they are not consecutive.
        """
        ids = list(self.patch_ids)
        consecutive = range(ids[0], ids[0] + len(ids))
        if ids != list(consecutive):
            raise CheckpointError("the ids of the location tokens are not consecutive")
        return consecutive

    @classmethod
    def load(cls, directory: Path) -> "Kosmos2Tokenizer":
        """Read the tokenizer of a checkpoint: `tokenizer.json` and `tokenizer_config.json`.

        Raises:
            CheckpointError: a file is missing or damaged, or lacks a token of Kosmos-2.
        """
        if not directory.is_dir():
            raise CheckpointError(f"{directory} is not a directory")
        try:
            backend = Tokenizer.from_buffer((directory / "tokenizer.json").read_bytes())
            config = json.loads((directory / "tokenizer_config.json").read_bytes())
            return cls(
                backend,
                _special_tokens_of(config),
                cleans_up_spaces=config.get("clean_up_tokenization_spaces", False),
            )
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(
                f"the tokenizer in {directory} cannot be read: {error}"
            ) from error
        except KeyError as error:
            raise CheckpointError(f"the tokenizer in {directory} lacks {error}") from error

    def id_of(self, token: str) -> int | None:
        """Return the id of a token, or `None` if the vocabulary lacks it."""
        token_id: int | None = self._backend.token_to_id(token)
        return token_id

    def encode_prompt(self, prompt: str) -> list[int]:
        """Return all ids of a prompt, including the picture's tokens."""
        # The reference encodes the tags before the last one, too, but no id depends on them.
        text = f"{END_OF_IMAGE} {prompt.strip()}"
        _end_of_image, *ids = self._backend.encode(text, add_special_tokens=False).ids
        return [*self.prefix_ids, *ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the markup of ids with cleaned-up spaces and tags, without `</s>` and the like."""
        text: str = self._backend.decode(list(ids), skip_special_tokens=True)
        return clean_up_spaces(text) if self.cleans_up_spaces else text

    def decode_behind_picture(self, ids: Sequence[int]) -> str:
        """Return the markup of ids that follow the picture's tokens, without cleaning up spaces.

        If a sequence is split after tokens for which `ends_character` is true, the decoded parts,
        joined, equal the decoded sequence.
        """
        text: str = self._backend.decode([self.prefix_ids[-1], *ids], skip_special_tokens=True)
        return text.removeprefix(END_OF_IMAGE)

    def mark_literals(self, prompt_markup: str) -> str:
        """Return the markup with `LITERAL_BRACKET` for every `<` that starts no control token.

        `refuse_control_tokens` rejects text that decodes to a control token without being one, so
        every other `<` is a character of the user's text.
        """
        return self._literal_bracket.sub(LITERAL_BRACKET, prompt_markup)

    def ends_character(self, token_id: int) -> bool:
        """Return whether later tokens cannot change the text of the tokens up to this one.

        Consecutive byte tokens are decoded together, and none of them is decoded if one is invalid.
        Skipped tokens between them do not end the sequence.
        """
        token = self._backend.id_to_token(token_id)
        if token is None or token_id in self._skipped_ids:
            return False
        return not _BYTE_TOKEN.fullmatch(token)

    def refuse_control_tokens(self, field: str, text: str) -> None:
        """Raise an error if a text or phrase contains a control token or decodes to one.

        Raises:
            InvalidRequest: also for a text that is too long or not valid Unicode.
        """
        self._refuse_all_but(frozenset(), field, text)

    def refuse_control_tokens_in_raw(self, field: str, text: str) -> None:
        """Raise an error if a raw prompt contains control tokens other than those of grounding.

        Raises:
            InvalidRequest: also for a text that is too long or not valid Unicode.
        """
        self._refuse_all_but(self._markup_ids, field, text)

    def _refuse_all_but(self, allowed: Set[int], field: str, text: str) -> None:
        normalised = self._normalise(field, text)
        ids = self._backend.encode(text, add_special_tokens=False).ids
        # Characters outside the vocabulary also map to the id of `<unk>`; those are allowed.
        control_ids = [i for i in ids if i in self._control_tokens and i != self._unk_id]
        tokens = [self._control_tokens[token_id] for token_id in control_ids]
        for token_id, token in zip(control_ids, tokens, strict=True):
            if token_id not in allowed:
                raise InvalidRequest(field, f"must not contain the control token {token}")
        if self._special_tokens.unk in normalised:
            raise InvalidRequest(
                field, f"must not contain the control token {self._special_tokens.unk}"
            )
        if self._tag.findall(self.decode(ids)) != tokens:
            raise InvalidRequest(field, "must not contain text that the model would read as a tag")

    def _normalise(self, field: str, text: str) -> str:
        """Return the text as the vocabulary sees it; one character can become eighteen."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidRequest(field, LONE_SURROGATE) from None
        if len(text) <= MAX_CHARACTERS:
            normalised: str = self._backend.normalizer.normalize_str(text)
            if len(normalised) <= MAX_CHARACTERS:
                return normalised
        raise InvalidRequest(field, f"must have at most {MAX_CHARACTERS} characters")


def _tag_pattern(control_tokens: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern for control tokens and for location tags of any number."""
    others = (re.escape(token) for token in control_tokens if not token.startswith("<patch_index_"))
    return re.compile("|".join([r"<patch_index_\d+>", *others]))


def _special_tokens_of(config: Mapping[str, Any]) -> SpecialTokens:
    """Read the names from `tokenizer_config.json`, where each is a string or an object."""
    named = {field.name: config.get(f"{field.name}_token") for field in fields(SpecialTokens)}
    contents = {
        name: token["content"] if isinstance(token, dict) else token
        for name, token in named.items()
        if token is not None
    }
    return SpecialTokens(**contents)
