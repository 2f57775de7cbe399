"""Traces as a collector receives them; without the setting, nothing is traced."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from app.settings import EMBEDDED_CHECKPOINT
from harness import loopback
from harness.collector import Collector, running_collector
from harness.pictures import picture_file
from harness.service import RunningService, running_service
from harness.waiting import eventually

PHASES = ["admission", "picture", "queue", "vision", "prefill", "decode", "parse"]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[RunningService]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with running_service(tracing=True) as running:
            yield running


def ask(
    service: RunningService, path: str = "/v1/ground", *, flags: str = "01", **data: str
) -> httpx.Response:
    """Send a request whose client traces as well."""
    fields = {"task": "brief_caption"} | data
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}
    url, files = service.url + path, {"image": picture_file()}
    return loopback.post(url, files=files, data=fields, headers=headers, timeout=60)


def spans_of(collector: Collector, response: httpx.Response) -> tuple[Span, list[Span]]:
    """Return the span of a request, and its child spans in the order of their start."""
    name = response.headers["traceresponse"].split("-")[2]

    def with_name() -> list[Span]:
        return [span for span in collector.spans if span.span_id.hex() == name]

    assert eventually(lambda: bool(with_name()))
    (root,) = with_name()
    below = [span for span in collector.spans if span.parent_span_id == root.span_id]
    return root, sorted(below, key=lambda span: span.start_time_unix_nano)


def attributes_of(span: Span) -> dict[str, str]:
    """Return the attributes of a span that are strings."""
    return {attribute.key: attribute.value.string_value for attribute in span.attributes}


def test_the_phases_of_a_request_are_adjacent_spans(
    collector: Collector, traced: RunningService
) -> None:
    """Each begins where the previous one ends; all are within the span of the request."""
    root, phases = spans_of(collector, ask(traced))
    assert [span.name for span in phases] == PHASES
    ends = [root.start_time_unix_nano, *(span.end_time_unix_nano for span in phases)]
    assert [span.start_time_unix_nano for span in phases] == ends[:-1]
    assert ends == sorted(ends)
    assert ends[-1] <= root.end_time_unix_nano


def test_the_trace_of_the_client_is_continued(collector: Collector, traced: RunningService) -> None:
    """The response names the span in `traceresponse`."""
    response = ask(traced)
    root, _ = spans_of(collector, response)
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert response.headers["traceresponse"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert collector.service_names == {"kosmos2"}


def test_the_answer_and_the_trace_have_the_same_times(
    collector: Collector, traced: RunningService
) -> None:
    """Both are derived from the same timeline."""
    response = ask(traced)
    _, phases = spans_of(collector, response)
    seconds = {
        span.name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 for span in phases
    }
    timings = response.json()["timings"]
    assert seconds["picture"] == pytest.approx(timings["preprocess_s"], abs=1e-4)
    assert sum(seconds.values()) == pytest.approx(timings["total_s"], abs=1e-4)
    assert seconds["queue"] >= timings["queue_s"]


def test_a_trace_has_the_request_id_and_no_user_data(
    collector: Collector, traced: RunningService
) -> None:
    """It has ids, sizes and times, but no texts and no addresses."""
    response = ask(traced, task="phrase_grounding", text="my secret")
    root, _ = spans_of(collector, response)
    attributes = attributes_of(root)
    assert attributes["kosmos2.request_id"] == response.headers["X-Request-ID"]
    assert attributes["kosmos2.task"] == "phrase_grounding"
    assert attributes["kosmos2.outcome"] == "completed"
    assert "secret" not in str(collector.spans)
    assert "127.0.0.1" not in str(collector.spans)


def test_a_stream_is_traced_to_its_end(collector: Collector, traced: RunningService) -> None:
    root, phases = spans_of(collector, ask(traced, stream="true"))
    assert [span.name for span in phases] == PHASES
    assert attributes_of(root)["kosmos2.outcome"] == "completed"


def test_an_annotated_picture_has_the_additional_phase_draw(
    collector: Collector, traced: RunningService
) -> None:
    _, phases = spans_of(collector, ask(traced, "/v1/annotate"))
    assert [span.name for span in phases] == [*PHASES, "draw"]


def test_the_trace_of_an_invalid_request_ends_at_the_failed_phase(
    collector: Collector, traced: RunningService
) -> None:
    """Its status is not an error, because the mistake is the client's."""
    root, phases = spans_of(collector, ask(traced, max_new_tokens="600"))
    assert [span.name for span in phases] == ["admission", "picture"]
    assert attributes_of(root)["kosmos2.outcome"] == "invalid"
    assert root.status.code == Status.STATUS_CODE_UNSET


def test_a_request_that_times_out_is_an_error(collector: Collector, traced: RunningService) -> None:
    headers = {"X-Request-Timeout": "0.000001"}
    url, files = f"{traced.url}/v1/ground", {"image": picture_file()}
    response = loopback.post(url, files=files, data={"task": "brief_caption"}, headers=headers)
    root, _ = spans_of(collector, response)
    assert response.status_code == 504
    assert root.status.code == Status.STATUS_CODE_ERROR


def test_a_request_that_the_client_does_not_sample_is_not_traced(
    collector: Collector, traced: RunningService
) -> None:
    """When the spans of the next request have arrived, none of this one can follow."""
    response = ask(traced, flags="00")
    name = response.headers["traceresponse"].split("-")[2]
    spans_of(collector, ask(traced))
    assert response.headers["traceresponse"].endswith("-00")
    assert name not in {span.span_id.hex() for span in collector.spans}


def test_only_requests_to_the_model_are_traced(
    collector: Collector, traced: RunningService
) -> None:
    """Health checks arrive every second."""
    assert "traceresponse" not in loopback.get(f"{traced.url}/readyz").headers
    spans_of(collector, ask(traced))
    assert {span.name for span in collector.spans} <= {
        "POST /v1/ground", "POST /v1/annotate", *PHASES, "draw",
    }  # fmt: skip


def test_a_missing_collector_does_not_delay_the_service() -> None:
    """It delays neither requests nor the stop."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        with running_service(tracing=True) as running:
            assert ask(running).status_code == 200
            assert running.stop() == 0


def test_nothing_is_traced_without_the_setting(client: httpx.Client) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    files = {"image": (EMBEDDED_CHECKPOINT / "scenes" / "red_circle.png").read_bytes()}
    data = {"task": "brief_caption"}
    response = client.post("/v1/ground", files=files, data=data, headers=headers)
    assert "traceresponse" not in response.headers


def test_an_http_process_without_tracing_loads_no_sdk() -> None:
    """FastAPI loads only OpenTelemetry's API, which does nothing without the SDK."""
    program = (
        "import sys, app.http.process; "
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
