"""Every setting of the service: `KOSMOS2_*` in the environment, or an option of `kosmos2 serve`."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_serializer, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

EMBEDDED_CHECKPOINT = Path(__file__).parent / "demo"
MAX_API_KEYS = 64
MAX_HTTP_WORKERS = 64
MAX_SLOTS = 1024
_AUTHORITY = re.compile(r"([\w.-]+|\[[\da-f:]+\])(:\d+)?", re.ASCII)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
PUBLISHED_MODEL = "microsoft/kosmos-2-patch14-224"


class Settings(BaseSettings):
    """What an operator may choose; a unit stands in the name, a limit in the type.

    >>> Settings(port=9000).port
    9000
    """

    model_config = SettingsConfigDict(env_prefix="KOSMOS2_", frozen=True, extra="forbid")

    model: str = Field(
        str(EMBEDDED_CHECKPOINT),
        description="A checkpoint's directory or hub id. Default: the embedded checkpoint, "
        f"which knows drawn shapes only. The published model is {PUBLISHED_MODEL}.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: CUDA if there is a device."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Of weights and KV. auto: float32 on the CPU; on CUDA bfloat16, or float16 "
        "below compute capability 8.0.",
    )
    quantize: Literal["none", "int8"] = Field(
        "none", description="int8: the decoder's linear layers in 8 bits, on the CPU."
    )

    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="0 takes any free port.")
    ops_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="For /livez, /readyz and /metrics, which are then nowhere else; 0 takes any.",
    )
    http_workers: int = Field(1, ge=1, le=MAX_HTTP_WORKERS, description="HTTP processes.")

    slots: int | None = Field(
        None,
        ge=1,
        le=MAX_SLOTS,
        description="Sequences decoded at once. Default: by device and size.",
    )
    max_sequence_length: int = Field(
        512, ge=80, le=2048, description="Tokens of a slot: picture, prompt and answer together."
    )
    max_waiting: int | None = Field(
        None, ge=0, description="Waiting places of the whole service. Default: 4 x slots."
    )
    max_prefill_tokens: int = Field(2048, ge=512, description="Prompt tokens in one step.")
    max_pictures_per_step: int | None = Field(
        None,
        ge=1,
        le=64,
        description="New pictures encoded together. Default: 16 on CUDA; on the CPU 4, or 8 where "
        "no row waits for it.",
    )
    picture_cache_bytes: int | None = Field(
        None,
        ge=0,
        description="For the keys and values of recent pictures; 0: no cache. Default: 256 MiB; on "
        "CUDA also half of what slots leave, up to 2000 pictures.",
    )
    recordings: bool = Field(
        True,
        description="On CUDA, record passes as graphs at the start. off: start faster, decode "
        "slower; for a device where a pass cannot be recorded.",
    )

    deadline_s: float = Field(120.0, gt=0, le=3600, description="Of a request, all included.")
    header_timeout_s: float = Field(
        10.0, gt=0, le=3600, description="For headers to be complete, from their first byte on."
    )
    body_timeout_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="The longest pause in a body; also how far it may fall behind 1 KiB/s. The "
        "whole body has to arrive within the deadline.",
    )
    keep_alive_s: int = Field(
        75, ge=1, le=86400, description="An idle connection is kept open for its next request."
    )
    max_body_bytes: int = Field(20 * 2**20, ge=1024, description="Of a request's body.")
    max_bodies_bytes: int = Field(
        512 * 2**20,
        ge=1024,
        description="Of the bodies of all requests together, until they are answered; beyond, "
        "requests are told to come back. For each HTTP process at least one whole body.",
    )
    max_image_pixels: int = Field(50_000_000, ge=1, description="Of a picture, width x height.")
    picture_processes: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Pictures decoded at once by the whole service, each in a process of its own; "
        "at least one for each HTTP process. Default: as many as processors, at most 8.",
    )

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), max_length=MAX_API_KEYS, description="Who may call, separated by commas; none: all."
    )
    api_keys_file: Path | None = Field(
        None, description="More keys, one a line; read again whenever the file changes."
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Of each key, all HTTP processes together; none: no limit."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Browser origins that may call, separated by commas; none by default."
    )

    drain_delay_s: float = Field(
        5.0, ge=0, description="After SIGTERM: not ready, but still serving new requests."
    )
    grace_period_s: float = Field(
        30.0, ge=0, description="After the drain delay: for finishing what runs."
    )
    max_engine_restarts: int = Field(
        5, ge=0, description="Restarts in a row that did not get ready, before giving up."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    tracing: bool = Field(
        False, description="Send a trace of each request, by OpenTelemetry: where, OTEL_… say."
    )

    @field_validator("api_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """An environment has texts only."""
        if not isinstance(value, str):
            return value
        if value and not value.replace(",", " ").split():
            raise ValueError("holds none")  # meant to hold some: it must not mean all
        return tuple(value.replace(",", " ").split())

    @field_validator("cors_origins")
    @classmethod
    def _normalize(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_origin_of, origins))

    @field_serializer("api_keys", when_used="json")
    def _reveal(self, keys: tuple[SecretStr, ...]) -> list[str]:
        """For the children, by a file that this user alone may read."""
        return [key.get_secret_value() for key in keys]


def _origin_of(text: str) -> str:
    """Return an origin as browsers write it: lower case, no slash at the end, no default port.

    >>> _origin_of("HTTPS://App.example.com:443/")
    'https://app.example.com'

    Raises:
        ValueError: no browser sends such an origin.
    """
    if text in {"*", "null"}:
        return text
    parts = urlsplit(text.lower())
    is_origin = (
        parts.scheme and parts.netloc and text.isascii() and _AUTHORITY.fullmatch(parts.netloc)
    )
    if not is_origin or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(
            f"{text} is not an origin, such as https://app.example.com or http://localhost:3000"
        )
    return f"{parts.scheme}://{parts.netloc.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ':'))}"
