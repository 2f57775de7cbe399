"""Every setting of the service: `KOSMOS2_*` in the environment, or an option of `kosmos2 serve`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_serializer, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_PREFIX = "KOSMOS2_"
EMBEDDED_CHECKPOINT = Path(__file__).parent / "demo"
MAX_API_KEYS = 64
BATCH_MARK = "batch:"
"""Before a configured key: its requests are confined to the priority `batch`."""

MAX_HTTP_WORKERS = 64
MAX_NGRAM_SIZE = 8  # of a request and of a checkpoint
MAX_SLOTS = 1024
# A host name or a bracketed IPv6 address, and an optional port.
_AUTHORITY = re.compile(r"([\w.-]+|\[[\da-f:]+\])(:\d+)?", re.ASCII)
_ROUTE = re.compile(r"/[^\s{}?#%]*")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
PUBLISHED_MODEL = "microsoft/kosmos-2-patch14-224"
PUBLISHED_REVISION = "e91cfbcb4ce051b6a55bfb5f96165a3bbf5eb82c"
"""The commit of `PUBLISHED_MODEL` that the deployment files pin."""


class Settings(BaseSettings):
    """The settings of a service; names carry the unit, types the limits.

    >>> Settings(port=9000).port
    9000
    """

    # `extra`: a misspelled option of a program raises an error instead of having no effect.
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        frozen=True,
        extra="forbid",
        populate_by_name=True,  # in addition to the names that Vertex AI sets
    )

    model: str = Field(
        str(EMBEDDED_CHECKPOINT),
        description="Directory or Hugging Face hub id of a checkpoint. Default: the embedded "
        "checkpoint, which recognizes drawn shapes only. The published model is "
        f"{PUBLISHED_MODEL}.",
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit of the hub id. Default: the main branch."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="auto: CUDA if a kernel runs on it; the CPU if there is no CUDA device; an "
        "error if there is an NVIDIA device on which no kernel runs.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Data type of weights and of the key-value cache. auto: float32 on the CPU; on "
        "CUDA bfloat16, or float16 below compute capability 8.0.",
    )
    quantize: Literal["none", "int8"] = Field(
        "none", description="int8: run the decoder's linear layers in 8 bits; CPU only."
    )
    quantized_cache: Path | None = Field(
        None,
        description="Directory in which the 8-bit weights of a large model are kept for the next "
        "start; 1.3 GB for the published one. Default: `assets/kosmos2` in the hub's cache "
        "(`HF_HOME`).",
    )

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. `0.0.0.0` is all IPv4 addresses, `::` all of IPv4 and "
        "IPv6.",
    )
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        validation_alias="AIP_HTTP_PORT",
        description="Port to listen on. 0: any free port. Vertex AI sets it as `AIP_HTTP_PORT`.",
    )
    ops_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Separate port for /livez, /readyz and /metrics; the main port then does not "
        "serve them. 0: any free port. Default: the main port serves them.",
    )
    health_route: str | None = Field(
        None,
        validation_alias="AIP_HEALTH_ROUTE",
        description="Another path for /readyz, on the main port; no other route may have it. "
        "Vertex AI sets it as `AIP_HEALTH_ROUTE`.",
    )
    predict_route: str | None = Field(
        None,
        validation_alias="AIP_PREDICT_ROUTE",
        description="Another path for /invocations; no other route may have it. Vertex AI sets it "
        "as `AIP_PREDICT_ROUTE`.",
    )
    invocation_options: str = Field(
        "task=brief_caption",
        description="Fields of a picture that /invocations receives without any, as a query "
        "string, such as `classes=cat,dog`.",
    )
    http_workers: int = Field(
        1,
        ge=1,
        le=MAX_HTTP_WORKERS,
        description="Number of HTTP processes. More than the processors that the service may use "
        "are of no use; `kosmos2 info` prints their number.",
    )

    slots: int | None = Field(
        None,
        ge=1,
        le=MAX_SLOTS,
        description="Sequences decoded at once. Default: chosen for the device and the model.",
    )
    # At least 80, because the picture alone takes 67 tokens.
    max_sequence_length: int = Field(
        512,
        ge=80,
        le=2048,
        description="Tokens per slot: picture, prompt and answer together. A detection needs about "
        "210, of which 128 are for boxes.",
    )
    max_waiting: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Requests that may wait for a slot, in the whole service. Default: 4 x slots.",
    )
    max_prefill_tokens: int | None = Field(
        None,
        ge=512,
        description="Prompt tokens per engine step, at most. Default: 600 on the CPU, 2048 on "
        "CUDA.",
    )
    max_pictures_per_step: int | None = Field(
        None,
        ge=1,
        le=64,
        description="New pictures encoded per engine step, at most. Default: 16 on CUDA; on the "
        "CPU 4, or 8 where encoding runs in the background.",
    )
    picture_cache_bytes: int | None = Field(
        None,
        ge=0,
        description="Memory for the keys and values of recent pictures. 0: no cache. Default: 256 "
        "MiB; on CUDA also half of the memory that remains after the slots, up to 2000 pictures.",
    )
    recordings: bool = Field(
        True,
        description="Record CUDA graphs at the start; no effect on the CPU. Turn it off where "
        "recording fails: the service then starts faster and decodes more slowly.",
    )

    deadline_s: float = Field(
        120.0, gt=0, le=3600, description="Time limit of a request, from its headers to its answer."
    )
    header_timeout_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="Time limit for the headers of a request, from their first byte.",
    )
    body_timeout_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Longest pause in a body, and the delay that a body may accumulate against 1 "
        "KiB/s. The whole body has to arrive before the deadline.",
    )
    # Above the usual 60 s of load balancers: the side that sends the requests should close first.
    keep_alive_s: int = Field(
        75,
        ge=1,
        le=86400,
        description="How long an idle connection stays open for its next request. It must exceed "
        "the idle timeout of the load balancer.",
    )
    max_body_bytes: int = Field(20 * 2**20, ge=1024, description="Largest body of a request.")
    max_bodies_bytes: int = Field(
        512 * 2**20,
        ge=1024,
        description="Memory for the bodies of all unanswered requests, shared equally by the HTTP "
        "processes, each of which can hold at least one whole body. Further requests get 503 "
        "with Retry-After.",
    )
    max_image_pixels: int = Field(
        50_000_000,
        ge=2**16,  # each picture process draws a picture of this size before it is ready
        le=10**9,
        description="Largest picture, width x height in pixels.",
    )
    picture_processes: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Processes that decode pictures, over the whole service; at least one per HTTP "
        "process. Default: one per processor that the service may use (affinity, and the quota of "
        "its container), at most 8.",
    )

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        max_length=MAX_API_KEYS,
        description="Accepted API keys of visible ASCII, separated by commas. A key directly after "
        "`batch:` may only send requests with the priority batch. Default: no key is required.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File with more API keys, one per line, also with `batch:` before them; reread "
        "after every change. Replace it in one step (`mv`), or half of it may be read.",
    )
    requests_per_minute: int | None = Field(
        None,
        ge=1,
        description="Requests per key and minute, over all HTTP processes; needs keys. Default: no "
        "limit.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Browser origins that may call the service (CORS), separated by commas. "
        "Default: none.",
    )
    playground: bool = Field(
        True,
        description="Serve a page at / where people try the model in a browser. The page needs no "
        "key, its requests do.",
    )

    drain_delay_s: float = Field(
        5.0,
        ge=0,
        le=86400,
        description="Time after SIGTERM in which /readyz reports `draining` and new requests are "
        "still served.",
    )
    grace_period_s: float = Field(
        30.0,
        ge=0,
        le=86400,
        description="Time after the drain delay in which running requests may finish.",
    )
    max_engine_restarts: int = Field(
        5,
        ge=0,
        description="Engine restarts in a row that may fail before the service stops.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level of the log lines that are written."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="json: one JSON object per line. text: readable lines. auto: text if standard "
        "error is a terminal, otherwise json.",
    )
    tracing: bool = Field(
        False,
        description="Send an OpenTelemetry trace of each request; the OTEL_* variables configure "
        "the exporter. It needs the extra `tracing`.",
    )

    @field_validator("api_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Split the text of an environment variable into its items."""
        if not isinstance(value, str):
            return value
        if not value.replace(",", " ").split():
            # An operator who sets the variable wants to restrict access, not to open the service.
            raise ValueError("has no value; unset it instead")
        return tuple(value.replace(",", " ").split())

    @field_validator("model", "revision", "host", "quantized_cache", "api_keys_file", mode="before")
    @classmethod
    def _check_not_empty(cls, value: object) -> object:
        """Refuse an empty text: as a path it is the working directory, as a host all addresses."""
        if value == "":
            raise ValueError("is empty; unset it instead")
        return value

    @field_validator("health_route", "predict_route")
    @classmethod
    def _check_route(cls, route: str | None) -> str | None:
        if route is not None and not _ROUTE.fullmatch(route):
            raise ValueError(f"{route} is not a path, such as /predict; none of {{}}?#% is allowed")
        return route

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(is_usable_key(key.get_secret_value()) for key in keys):
            raise ValueError(
                f"a key is missing after {BATCH_MARK} or has characters other than visible ASCII"
            )
        return keys

    @field_validator("cors_origins")
    @classmethod
    def _normalize(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_origin_of, origins))

    # Only in JSON: a log or a traceback that shows the settings still hides the keys.
    @field_serializer("api_keys", when_used="json")
    def _reveal(self, keys: tuple[SecretStr, ...]) -> list[str]:
        """Return keys in clear text: child processes read them from the private run directory."""
        return [key.get_secret_value() for key in keys]


def is_usable_key(text: str) -> bool:
    """Return whether clients can send a configured key; without its mark, it must not be empty.

    >>> [is_usable_key(text) for text in ("secret", "batch:secret", "batch:", "schlüssel")]
    [True, True, False, False]
    """
    key = text.removeprefix(BATCH_MARK)
    return bool(key) and key.isascii() and key.isprintable()


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which every setting of a service has its default."""
    aliases = {field.validation_alias for field in Settings.model_fields.values()}
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(_PREFIX) and name.upper() not in aliases
    }


def _origin_of(text: str) -> str:
    """Return an origin as browsers send it: lower case, no trailing slash, no default port.

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
