"""What came of a load: a sample for each request, and the figures of them all."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What came back for one request.

    Attributes:
        status: of HTTP; 0 when nothing came back.
        code: names the failure, as `problem+json` does, or for one on the way: `connection_failed`,
            `client_timeout`, `stream_cut`, `malformed_answer`, `http_…`; none: it was answered.
        answer: as `POST /v1/ground` gives it; none for a failure.
        request_id: of the response's headers.
        first_event_at: when the first event of a stream was here, on the event loop's clock.
        retry_after_s: when a refusal asks the client to come back; none: it does not say.
    """

    status: int
    code: str | None
    answer: dict[str, Any] | None = None
    request_id: str | None = None
    first_event_at: float | None = None
    retry_after_s: int | None = None


@dataclass(frozen=True)
class Sample:
    """One request of a load. Times are seconds; the first two count from the load's beginning.

    Attributes:
        number: of the request in its workload.
        intended_s: when it was to be sent.
        sent_s: when it was sent; later only when the generator itself could not keep up.
        latency_s: from the intended time to the end of the answer.
        time_to_first_token_s: from the intended time to the first event of a stream; else none.
        reply: what came back.
    """

    number: int
    intended_s: float
    sent_s: float
    latency_s: float
    time_to_first_token_s: float | None
    reply: Reply

    @property
    def is_good(self) -> bool:
        """Whether the request was answered."""
        return self.reply.code is None

    def count(self, usage: str) -> int:
        """A figure of the answer's `usage`; 0 for a failure."""
        return int((self.reply.answer or {}).get("usage", {}).get(usage, 0))


@dataclass(frozen=True)
class Percentiles:
    """Of some times, seconds; each is a time that was measured.

    >>> Percentiles.of([0.1, 0.2, 0.3, 0.4])
    Percentiles(p50=0.2, p95=0.4, p99=0.4, highest=0.4)
    """

    p50: float
    p95: float
    p99: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles | None":
        """Of at least one time; none of none."""
        if not values:
            return None
        ordered = sorted(values)
        return cls(*(percentile(ordered, share) for share in (0.50, 0.95, 0.99, 1.0)))


@dataclass(frozen=True)
class LoadResult:
    """The figures of a load.

    Attributes:
        num_requests: sent.
        num_good: answered.
        errors: how many failed, by code.
        seconds: from the beginning to the last reply.
        goodput_per_s: requests answered, per second.
        tokens_per_s: generated tokens of those, per second.
        cached_share: of their prompt tokens, which the service had at hand.
        latency_s: of those.
        time_to_first_token_s: of those, if they were streamed.
        max_send_delay_s: by how much the generator itself fell behind; included in the latencies.
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
        """The figures of at least one sample."""
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
            cached_share=sum(s.count("cached_tokens") for s in good) / max(prompt_tokens, 1),
            latency_s=Percentiles.of([sample.latency_s for sample in good]),
            time_to_first_token_s=Percentiles.of(first),
            max_send_delay_s=max(sample.sent_s - sample.intended_s for sample in samples),
        )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least a share of all values do not exceed (nearest rank).

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0

    Args:
        ordered: ascending, at least one.
        share: above 0, up to 1.
    """
    return ordered[math.ceil(share * len(ordered)) - 1]
