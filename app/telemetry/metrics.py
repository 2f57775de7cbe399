"""Every Prometheus series of the service.

All processes write their series with `prometheus_client`'s multiprocess mode, into the directory
that `app/ipc/run_directory.py` creates, so any HTTP process can return all of them. Tests pass a
registry to read the series of one object alone.
"""

from typing import Final, Literal, get_args

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

OutcomeName = Literal[
    "completed", "length", "cancelled", "deadline", "rejected", "invalid", "failed"
]
OUTCOMES: tuple[OutcomeName, ...] = get_args(OutcomeName)

DoorName = Literal["kosmos2", "openai", "roboflow", "moondream", "sagemaker", "vertex"]
"""The project whose clients a route serves; `kosmos2` is this project."""

RejectionReason = Literal[
    "overloaded", "payload_too_large", "rate_limited", "unauthorized", "unavailable"
]
"""Equal to the `code` of the problem that the client receives."""

# Up to the default deadline: a quantile above the last bucket would be shown as that bucket.
_REQUEST_BUCKETS_S = (
    0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0,
)  # fmt: skip
# From a small model on a GPU to the published one on a CPU, whose passes take seconds.
_PASS_BUCKETS_S = (
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, *_REQUEST_BUCKETS_S[7:],
)  # fmt: skip
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
# `mark_process_dead` only removes gauges whose mode begins with `live`. Otherwise the last values
# of a dead engine would stay until the next one is ready.
_OF_LIVING: Final = "livemostrecent"


class HttpMetrics:
    """Series of an HTTP process: whole requests, as clients see them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.requests_total = Counter(
            "kosmos2_requests_total",
            "Requests by task, outcome and door. "
            f"Outcomes: {', '.join(OUTCOMES)}. Doors: {', '.join(get_args(DoorName))}.",
            ("task", "outcome", "door"),
            registry=registry,
        )
        # A series that does not exist yet has no rate; one that exists has the rate 0.
        for outcome in OUTCOMES:
            self.requests_total.labels("unknown", outcome, "kosmos2")
        self.admission_rejections_total = Counter(
            "kosmos2_admission_rejections_total",
            "Requests rejected before any work was done for them, by reason.",
            ("reason",),
            registry=registry,
        )
        self.e2e_request_latency_seconds = Histogram(
            "kosmos2_e2e_request_latency_seconds",
            "Seconds from complete request headers to the complete answer.",
            ("task",),
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.image_preprocess_seconds = Histogram(
            "kosmos2_image_preprocess_seconds",
            "Seconds to decode a picture, rotate it upright and resize it.",
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.time_to_first_token_seconds = Histogram(
            "kosmos2_time_to_first_token_seconds",
            "Seconds from complete request headers to the first token.",
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.inter_token_latency_seconds = Histogram(
            "kosmos2_inter_token_latency_seconds",
            "Seconds between two consecutive tokens of one answer.",
            buckets=_PASS_BUCKETS_S,
            registry=registry,
        )


class EngineMetrics:
    """Series of the engine: tokens, steps, slots and pictures."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._add_gauges(registry)
        self._add_counters(registry)
        self._add_histograms(registry)

    def _add_gauges(self, registry: CollectorRegistry | None) -> None:
        self.num_requests_running = _gauge(
            registry,
            "num_requests_running",
            "Sequences that the engine has started and not yet finished.",
        )
        self.num_requests_waiting = _gauge(
            registry, "num_requests_waiting", "Sequences in the queue."
        )
        self.kv_slots_used = _gauge(registry, "kv_slots_used", "KV slots in use.")
        self.kv_slots_total = _gauge(registry, "kv_slots_total", "KV slots in total.")
        self.recorded_passes = _gauge(
            registry, "recorded_passes", "Passes recorded as CUDA graphs; 0 on the CPU."
        )
        self.recordable_passes = _gauge(
            registry,
            "recordable_passes",
            "Passes that can be recorded as CUDA graphs; 0 on the CPU.",
        )
        self.device_memory_bytes = Gauge(
            "kosmos2_device_memory_bytes",
            "Device memory in use, by purpose (weights, kv_slots, picture_cache).",
            ("kind",),
            multiprocess_mode=_OF_LIVING,
            registry=registry,
        )

    def _add_counters(self, registry: CollectorRegistry | None) -> None:
        self.prompt_tokens_total = _counter(
            registry, "prompt_tokens_total", "Prompt tokens, including those of the picture."
        )
        self.generation_tokens_total = _counter(
            registry, "generation_tokens_total", "Generated tokens, including end tokens."
        )
        self.drafts_total = _counter(
            registry, "drafts_total", "Probable next tokens that a pass read to verify them."
        )
        self.drafts_accepted_total = _counter(
            registry,
            "drafts_accepted_total",
            "Drafts that were the next token, so that the pass gave two tokens.",
        )
        self.image_cache_queries_total = _counter(
            registry, "image_cache_queries_total", "Pictures looked up in the picture cache."
        )
        self.image_cache_hits_total = _counter(
            registry, "image_cache_hits_total", "Pictures found in the picture cache."
        )
        self.pictures_encoded_total = _counter(
            registry, "pictures_encoded_total", "Pictures and tiles that the vision tower encoded."
        )
        self.picture_bytes_received_total = _counter(
            registry,
            "picture_bytes_received_total",
            "Bytes of pictures and tiles that the engine received, 150,528 each.",
        )
        self.requests_replayed_total = _counter(
            registry,
            "requests_replayed_total",
            "Requests that a new engine continued after a crash.",
        )
        self.engine_busy_seconds_total = _counter(
            registry, "engine_busy_seconds_total", "Seconds that the engine spent in steps."
        )

    def _add_histograms(self, registry: CollectorRegistry | None) -> None:
        self.engine_step_seconds = Histogram(
            "kosmos2_engine_step_seconds",
            "Seconds of one phase of a step (vision, prefill, decode), until the host has its "
            "result. On CUDA, vision covers only the launch, and decode the wait for an earlier "
            "launch.",
            ("phase",),
            buckets=_PASS_BUCKETS_S,
            registry=registry,
        )
        self.engine_batch_size = Histogram(
            "kosmos2_engine_batch_size",
            "Sequences per decode step.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.request_queue_time_seconds = _histogram(
            registry,
            "request_queue_time_seconds",
            "Seconds from arrival at the engine to the start.",
        )
        self.request_prefill_time_seconds = _histogram(
            registry, "request_prefill_time_seconds", "Seconds from the start to the first token."
        )
        self.request_decode_time_seconds = _histogram(
            registry, "request_decode_time_seconds", "Seconds from the first token to the last."
        )


class ServiceMetrics:
    """Series of the supervisor: processes, restarts, the build."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.http_workers = _gauge(registry, "http_workers", "HTTP processes that are running.")
        self.http_workers_configured = _gauge(
            registry, "http_workers_configured", "HTTP processes that should run."
        )
        self.engine_restarts_total = _counter(
            registry, "engine_restarts_total", "Engine processes restarted after a crash."
        )
        self.build_info = Gauge(
            "kosmos2_build_info",
            "Always 1; the labels hold the version, model and revision that run.",
            ("version", "model", "revision"),
            multiprocess_mode=_OF_LIVING,
            registry=registry,
        )


def drop_gauges_of(pid: int) -> None:
    """Remove the gauges of a dead process from the exported series."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def render_metrics() -> tuple[bytes, str]:
    """Return all series of all processes in Prometheus' text format, and its content type."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _counter(registry: CollectorRegistry | None, name: str, help_text: str) -> Counter:
    return Counter(f"kosmos2_{name}", help_text, registry=registry)


def _gauge(registry: CollectorRegistry | None, name: str, help_text: str) -> Gauge:
    return Gauge(f"kosmos2_{name}", help_text, multiprocess_mode=_OF_LIVING, registry=registry)


def _histogram(registry: CollectorRegistry | None, name: str, help_text: str) -> Histogram:
    return Histogram(f"kosmos2_{name}", help_text, buckets=_REQUEST_BUCKETS_S, registry=registry)
