"""The fields of a checkpoint's `config.json` that its computation depends on.

The defaults are the published ones, those of `transformers`' `Kosmos2Config`, because a checkpoint
may omit a field that has its default. `transformers` is not imported: that would add more than a
second of processor time to every start of an engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from app.checkpoint.picture_size import PICTURE_SIDE

Part = TypeVar("Part", "TextConfig", "VisionConfig")


@dataclass(frozen=True)
class TextConfig:
    """The text decoder, with the names of the checkpoint's `text_config`."""

    activation_function: str = "gelu"
    add_cross_attention: bool = False
    attention_heads: int = 32
    embed_dim: int = 2048
    eos_token_id: int | list[int] = 2
    ffn_dim: int = 8192
    layer_norm_eps: float = 1e-5
    layers: int = 24
    pad_token_id: int = 1
    scale_embedding: bool = True
    tie_word_embeddings: bool = True
    vocab_size: int = 65037

    def __post_init__(self) -> None:
        _check_heads(self.embed_dim, self.attention_heads)

    @property
    def end_token_ids(self) -> frozenset[int]:
        """Ids of the tokens that end an answer; `eos_token_id` may be one or a list."""
        stored = self.eos_token_id
        return frozenset([stored] if isinstance(stored, int) else stored)


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower, with the names of the checkpoint's `vision_config`."""

    hidden_act: str = "quick_gelu"
    hidden_size: int = 1024
    image_size: int = PICTURE_SIDE
    intermediate_size: int = 4096
    layer_norm_eps: float = 1e-5
    num_attention_heads: int = 16
    num_channels: int = 3
    num_hidden_layers: int = 24
    patch_size: int = 14

    def __post_init__(self) -> None:
        _check_heads(self.hidden_size, self.num_attention_heads)
        if self.image_size != PICTURE_SIDE:
            raise ValueError(f"image_size is {self.image_size}, but only {PICTURE_SIDE} is served")


@dataclass(frozen=True)
class ModelConfig:
    """A model.

    Attributes:
        latent_query_num: number of tokens that stand for a picture.
    """

    text_config: TextConfig = field(default_factory=TextConfig)
    vision_config: VisionConfig = field(default_factory=VisionConfig)
    latent_query_num: int = 64

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ModelConfig":
        """Return the configuration that the content of a `config.json` describes.

        Raises:
            ValueError: a value is of the wrong type, too small, or does not match another.

        >>> ModelConfig.from_json({"text_config": {"layers": 4}}).text_config.layers
        4
        """
        return cls(
            text_config=_part(TextConfig, stored.get("text_config")),
            vision_config=_part(VisionConfig, stored.get("vision_config")),
            latent_query_num=_checked("latent_query_num", stored.get("latent_query_num", 64), 64),
        )

    @property
    def num_prefix_tokens(self) -> int:
        """The number of prefix tokens: `<s>`, `<image>`, the picture's tokens, `</image>`."""
        return self.latent_query_num + 3


def _part(part: type[Part], stored: Mapping[str, Any] | None) -> Part:
    defaults = {one.name: one.default for one in fields(part)}
    return part(
        **{
            name: _checked(name, value, defaults[name])
            for name, value in (stored or {}).items()
            if name in defaults
        }
    )


def _checked(name: str, value: Any, default: Any) -> Any:
    """Return a stored value.

    Raises:
        ValueError: it is not of its default's type, or too small.
    """
    if name == "eos_token_id" and isinstance(value, list):
        return [_checked(name, one, default) for one in value]
    kind = (float, int) if isinstance(default, float) else type(default)
    smallest = 0 if name.endswith(("token_id", "eps")) else 1
    is_number = not isinstance(default, bool | str)
    if not isinstance(value, kind) or (is_number and (value is True or not value >= smallest)):
        raise ValueError(f"{name} must not be {value!r}")
    return value


def _check_heads(width: int, num_heads: int) -> None:
    if width % num_heads:
        raise ValueError(f"{num_heads} attention heads do not divide a width of {width}")
