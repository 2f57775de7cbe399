"""Traces of requests by OpenTelemetry, whose SDK is imported only where tracing is switched on.

OpenTelemetry's own environment variables set the destination, the sampling rate and the service
name: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME` and others.
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
    """Check that OpenTelemetry is installed.

    Raises:
        StartupError: the SDK or its exporter is not installed.
    """
    modules = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        are_installed = all(find_spec(module) for module in modules)
    except ModuleNotFoundError:  # `find_spec` imports the packages that contain the module
        are_installed = False
    if not are_installed:
        raise StartupError("tracing needs more packages: pip install 'kosmos2-server[tracing]'")


class Tracer:
    """Sends the spans of one process to a collector.

    Args:
        clock: the monotonic clock of the timelines, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        name = os.environ.get("OTEL_SERVICE_NAME", SERVICE_NAME)
        self._provider = TracerProvider(
            # `close` shuts the provider down, within `FLUSH_S`.
            resource=Resource.create({"service.name": name}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._clock = clock

    def begin(self, name: str, headers: Mapping[str, str], received_at: float) -> "RequestTrace":
        """Begin the trace of a request, or continue the trace that its client began.

        Args:
            headers: headers of the request; W3C's `traceparent` and `tracestate` are read.
            received_at: time at which the headers were complete, seconds on the clock.
        """
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # Spans need the time of day; timelines use a clock that is never adjusted.
        offset_ns = time_ns() - int(self._clock() * 1e9)
        span = self._provider.get_tracer(SERVICE_NAME).start_span(
            name,
            TraceContextTextMapPropagator().extract(headers),
            kind=SpanKind.SERVER,
            start_time=int(received_at * 1e9) + offset_ns,
        )
        return RequestTrace(self, span, offset_ns)

    def close(self) -> None:
        """Send the remaining spans, but give up after `FLUSH_S` seconds."""
        # In a thread, since `shutdown` waits much longer for a collector that does not answer.
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_S)

    def add_phases(self, span: "Span", timeline: Timeline, offset_ns: int) -> None:
        """Add one span per phase below the request's span."""
        from opentelemetry.trace import set_span_in_context

        tracer, context = self._provider.get_tracer(SERVICE_NAME), set_span_in_context(span)
        for phase in timeline.phases:
            began_ns = int(phase.began_at * 1e9) + offset_ns
            child = tracer.start_span(phase.name, context, start_time=began_ns)
            child.end(int(phase.ended_at * 1e9) + offset_ns)


class RequestTrace:
    """The trace of one request; made by `Tracer.begin`.

    Args:
        span: span of the whole request.
        offset_ns: nanoseconds to add to the monotonic clock for the time of day.
    """

    def __init__(self, tracer: Tracer, span: "Span", offset_ns: int) -> None:
        self._tracer, self._span, self._offset_ns = tracer, span, offset_ns

    @property
    def traceresponse(self) -> str:
        """Value of W3C's `traceresponse` header, which names the trace to the client."""
        context = self._span.get_span_context()
        flags = int(context.trace_flags)
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"

    def end(self, timeline: Timeline, attributes: Attributes, *, is_failure: bool) -> None:
        """End the request's span and add its phases below it.

        Args:
            timeline: phases that the request completed.
            attributes: sizes, times and ids for the span, never content that a user sent.
            is_failure: whether the service, not the client, caused the failure.
        """
        from opentelemetry.trace import StatusCode

        if self._span.is_recording():
            self._tracer.add_phases(self._span, timeline, self._offset_ns)
            self._span.set_attributes(dict(attributes))
            if is_failure:
                self._span.set_status(StatusCode.ERROR)
        self._span.end()
