"""Traces of requests by OpenTelemetry, for operators who ask for them; else its SDK is not loaded.

Where spans go, how many, and under which name, OpenTelemetry's own variables of the environment say
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME` …).
"""

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from threading import Thread
from time import time_ns
from typing import TYPE_CHECKING

from app.errors import StartupError
from app.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from opentelemetry.trace import Span

SERVICE_NAME = "kosmos2"
FLUSH_S = 2.0
Attributes = Mapping[str, str | int]


def check_installed() -> None:
    """See that tracing is possible.

    Raises:
        StartupError: OpenTelemetry's SDK or its exporter is not installed.
    """
    for module in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        if find_spec(module) is None:
            raise StartupError("tracing needs more packages: pip install 'kosmos2-server[tracing]'")


class Tracer:
    """Sends the spans of one process to a collector.

    Args:
        clock: monotonic, seconds; that of the timelines.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        name = os.environ.get("OTEL_SERVICE_NAME", SERVICE_NAME)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._clock = clock

    def begin(self, name: str, headers: Mapping[str, str], received_at: float) -> "RequestTrace":
        """Begin the trace of a request, or go on with the one that its sender has begun.

        Args:
            name: of the request's span.
            headers: of the request; W3C's `traceparent` and `tracestate` are read.
            received_at: when they were complete, on the clock.
        """
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # Spans have the time of day, timelines a clock that is never set.
        offset_ns = time_ns() - int(self._clock() * 1e9)
        span = self._provider.get_tracer(SERVICE_NAME).start_span(
            name,
            TraceContextTextMapPropagator().extract(headers),
            kind=SpanKind.SERVER,
            start_time=int(received_at * 1e9) + offset_ns,
        )
        return RequestTrace(self, span, offset_ns)

    def close(self) -> None:
        """Send what is left, but do not wait long for a collector that is not there."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_S)

    def add_phases(self, span: "Span", timeline: Timeline, offset_ns: int) -> None:
        """A span for each phase, below the request's."""
        from opentelemetry.trace import set_span_in_context

        tracer, context = self._provider.get_tracer(SERVICE_NAME), set_span_in_context(span)
        for phase in timeline.phases:
            began_ns = int(phase.began_at * 1e9) + offset_ns
            child = tracer.start_span(phase.name, context, start_time=began_ns)
            child.end(int(phase.ended_at * 1e9) + offset_ns)


class RequestTrace:
    """The trace of one request; made by `Tracer.begin`.

    Args:
        tracer: sends it.
        span: of the whole request.
        offset_ns: from the monotonic clock to the time of day.
    """

    def __init__(self, tracer: Tracer, span: "Span", offset_ns: int) -> None:
        self._tracer, self._span, self._offset_ns = tracer, span, offset_ns

    @property
    def traceresponse(self) -> str:
        """Names the trace to the sender, as W3C's header of that name does."""
        context = self._span.get_span_context()
        flags = int(context.trace_flags)
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"

    def end(self, timeline: Timeline, attributes: Attributes, *, is_failure: bool) -> None:
        """End the request's span, its phases below it.

        Args:
            timeline: of the request, as far as it came.
            attributes: of its span: sizes, times and ids, nothing of the user's.
            is_failure: whether the service is at fault.
        """
        from opentelemetry.trace import StatusCode

        if self._span.is_recording():
            self._tracer.add_phases(self._span, timeline, self._offset_ns)
            self._span.set_attributes(dict(attributes))
            if is_failure:
                self._span.set_status(StatusCode.ERROR)
        self._span.end()
