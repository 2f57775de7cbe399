"""Traces as a collector gets them, and that there is nothing of them where nobody asked."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from app.settings import EMBEDDED_CHECKPOINT
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
    """A request of somebody who traces too."""
    fields = {"task": "brief_caption"} | data
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}
    url, files = service.url + path, {"image": picture_file()}
    return httpx.post(url, files=files, data=fields, headers=headers, timeout=60)


def spans_of(collector: Collector, response: httpx.Response) -> tuple[Span, list[Span]]:
    """The span of a request, and those below it in their order."""
    name = response.headers["traceresponse"].split("-")[2]

    def with_name() -> list[Span]:
        return [span for span in collector.spans if span.span_id.hex() == name]

    assert eventually(lambda: bool(with_name()))
    (root,) = with_name()
    below = [span for span in collector.spans if span.parent_span_id == root.span_id]
    return root, sorted(below, key=lambda span: span.start_time_unix_nano)


def attributes_of(span: Span) -> dict[str, str]:
    """Those that are texts."""
    return {each.key: each.value.string_value for each in span.attributes}


def test_each_phase_is_a_span_that_begins_where_the_one_before_ends(
    collector: Collector, traced: RunningService
) -> None:
    """All of them within the request's own."""
    root, phases = spans_of(collector, ask(traced))
    assert [span.name for span in phases] == PHASES
    ends = [root.start_time_unix_nano, *(span.end_time_unix_nano for span in phases)]
    assert [span.start_time_unix_nano for span in phases] == ends[:-1]
    assert ends == sorted(ends)
    assert ends[-1] <= root.end_time_unix_nano


def test_the_senders_trace_goes_on(collector: Collector, traced: RunningService) -> None:
    """And the response says under which name."""
    response = ask(traced)
    root, _ = spans_of(collector, response)
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert response.headers["traceresponse"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert collector.service_names == {"kosmos2"}


def test_the_answer_and_the_trace_tell_the_same_times(
    collector: Collector, traced: RunningService
) -> None:
    """They are made of one record."""
    response = ask(traced)
    _, phases = spans_of(collector, response)
    seconds = {
        span.name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 for span in phases
    }
    timings = response.json()["timings"]
    assert seconds["picture"] == pytest.approx(timings["preprocess_s"], abs=1e-4)
    assert sum(seconds.values()) == pytest.approx(timings["total_s"], abs=1e-4)
    assert seconds["queue"] >= timings["queue_s"]


def test_a_trace_names_the_request_and_nothing_of_the_users(
    collector: Collector, traced: RunningService
) -> None:
    """Ids, sizes and times; texts and addresses are the sender's own."""
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


def test_a_picture_that_is_drawn_has_one_phase_more(
    collector: Collector, traced: RunningService
) -> None:
    _, phases = spans_of(collector, ask(traced, "/v1/annotate"))
    assert [span.name for span in phases] == [*PHASES, "draw"]


def test_a_request_that_is_refused_tells_how_far_it_came(
    collector: Collector, traced: RunningService
) -> None:
    """Whose fault it was, too: this is the sender's."""
    root, phases = spans_of(collector, ask(traced, max_new_tokens="600"))
    assert [span.name for span in phases] == ["admission", "picture"]
    assert attributes_of(root)["kosmos2.outcome"] == "invalid"
    assert root.status.code == Status.STATUS_CODE_UNSET


def test_a_request_that_is_late_is_a_failure(collector: Collector, traced: RunningService) -> None:
    headers = {"X-Request-Timeout": "0.000001"}
    url, files = f"{traced.url}/v1/ground", {"image": picture_file()}
    response = httpx.post(url, files=files, data={"task": "brief_caption"}, headers=headers)
    root, _ = spans_of(collector, response)
    assert response.status_code == 504
    assert root.status.code == Status.STATUS_CODE_ERROR


def test_what_the_sender_does_not_sample_is_not_sent(
    collector: Collector, traced: RunningService
) -> None:
    """It has said so in `traceparent`; the next request shows that nothing is on its way."""
    response = ask(traced, flags="00")
    name = response.headers["traceresponse"].split("-")[2]
    spans_of(collector, ask(traced))
    assert response.headers["traceresponse"].endswith("-00")
    assert name not in {span.span_id.hex() for span in collector.spans}


def test_only_what_the_model_answers_is_traced(
    collector: Collector, traced: RunningService
) -> None:
    """Health is asked for every second."""
    assert "traceresponse" not in httpx.get(f"{traced.url}/readyz").headers
    spans_of(collector, ask(traced))
    assert {span.name for span in collector.spans} <= {
        "POST /v1/ground", "POST /v1/annotate", *PHASES, "draw",
    }  # fmt: skip


def test_a_collector_that_is_gone_holds_nobody_up() -> None:
    """Neither requests nor the end."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        with running_service(tracing=True) as running:
            assert ask(running).status_code == 200
            assert running.stop() == 0


def test_nobody_is_traced_unless_it_is_asked_for(client: httpx.Client) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    files = {"image": (EMBEDDED_CHECKPOINT / "scenes" / "red_circle.png").read_bytes()}
    data = {"task": "brief_caption"}
    response = client.post("/v1/ground", files=files, data=data, headers=headers)
    assert "traceresponse" not in response.headers


def test_an_http_process_without_tracing_loads_no_sdk() -> None:
    """FastAPI loads OpenTelemetry's interface, which does nothing by itself."""
    program = (
        "import sys, app.http.process; "
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
