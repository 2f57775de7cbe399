"""Results of a load: one sample per request, and figures over all of them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """The reply to one request.

    Attributes:
        status: HTTP status; 0 if there was no response.
        code: code of the failure: that of `problem+json`, or the client's own `connection_failed`,
            `client_timeout`, `stream_cut`, `malformed_answer` or `http_…`; `None` after success.
        answer: answer of `POST /v1/ground`; `None` after a failure.
        request_id: value of the `X-Request-ID` header.
        first_event_at: arrival of a stream's first event, seconds on the event loop's clock.
        retry_after_s: value of the `Retry-After` header in seconds, if there is one.
    """

    status: int
    code: str | None
    answer: dict[str, Any] | None = None
    request_id: str | None = None
    first_event_at: float | None = None
    retry_after_s: int | None = None


@dataclass(frozen=True)
class Sample:
    """One request of a load and its times in seconds.

    Attributes:
        number: index of the request in its workload.
        intended_s: intended sending time, from the beginning of the load.
        sent_s: actual sending time, from the beginning of the load; later than intended only if
            the generator itself was too slow.
        latency_s: time from the intended sending time to the end of the answer.
        time_to_first_token_s: time from the intended sending time to the first event of a stream;
            `None` without a stream.
    """

    number: int
    intended_s: float
    sent_s: float
    latency_s: float
    time_to_first_token_s: float | None
    reply: Reply

    @property
    def is_good(self) -> bool:
        """Whether the service answered the request."""
        return self.reply.code is None

    def count(self, usage: str) -> int:
        """Return a field of the answer's `usage`; 0 after a failure."""
        return int((self.reply.answer or {}).get("usage", {}).get(usage, 0))


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of times in seconds; each is one of the measured times.

    >>> Percentiles.of([0.1, 0.2, 0.3, 0.4])
    Percentiles(p50=0.2, p95=0.4, p99=0.4, highest=0.4)
    """

    p50: float
    p95: float
    p99: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles | None":
        """Return the percentiles of `values`, or `None` if it is empty."""
        if not values:
            return None
        ordered = sorted(values)
        return cls(*(percentile(ordered, share) for share in (0.50, 0.95, 0.99, 1.0)))


@dataclass(frozen=True)
class LoadResult:
    """Figures of a load.

    Attributes:
        num_good: number of requests that the service answered.
        errors: number of failed requests by code.
        seconds: seconds from the beginning to the last reply.
        goodput_per_s: answered requests per second.
        tokens_per_s: generated tokens of answered requests, per second.
        cached_share: share of the prompt tokens that the service had cached, 0…1.
        latency_s: percentiles over the answered requests, if any.
        time_to_first_token_s: percentiles over the answered streams, if any.
        max_send_delay_s: largest delay of the generator itself, which the latencies include.
    """

    num_requests: int
    num_good: int
    errors: dict[str, int]
    seconds: float
    goodput_per_s: float
    tokens_per_s: float
    cached_share: float
    latency_s: Percentiles | None
    time_to_first_token_s: Percentiles | None
    max_send_delay_s: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "LoadResult":
        """Return the figures of samples, at least one."""
        good = [sample for sample in samples if sample.is_good]
        seconds = max(sample.intended_s + sample.latency_s for sample in samples)
        prompt_tokens = sum(sample.count("prompt_tokens") for sample in good)
        first = [s.time_to_first_token_s for s in good if s.time_to_first_token_s is not None]
        return cls(
            num_requests=len(samples),
            num_good=len(good),
            errors=dict(Counter(s.reply.code for s in samples if s.reply.code is not None)),
            seconds=seconds,
            goodput_per_s=len(good) / seconds,
            tokens_per_s=sum(sample.count("completion_tokens") for sample in good) / seconds,
            # Without answers there are no prompt tokens.
            cached_share=sum(s.count("cached_tokens") for s in good) / max(prompt_tokens, 1),
            latency_s=Percentiles.of([sample.latency_s for sample in good]),
            time_to_first_token_s=Percentiles.of(first),
            max_send_delay_s=max(sample.sent_s - sample.intended_s for sample in samples),
        )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed (nearest rank).

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0

    Args:
        ordered: values in ascending order, at least one.
        share: fraction of the values, above 0 and up to 1.
    """
    return ordered[math.ceil(share * len(ordered)) - 1]
