"""Health, metrics, version, CORS and the OpenAPI document."""

import json
import sys

import httpx
import pytest

from app.checkpoint.files import DEMO_NOTICE, read_calibration
from app.settings import EMBEDDED_CHECKPOINT
from app.telemetry.metrics import OUTCOMES
from harness.service import RunningService
from tests.service.test_ground import ask


def test_a_running_service_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_the_version_reports_model_defaults_and_limits(client: httpx.Client) -> None:
    content = client.get("/version").json()
    assert content["model"] == {
        "name": "kosmos2-shapes-demo",
        "revision": None,
        "embedded": True,
        "calibrated": True,
        "notice": DEMO_NOTICE,
        "default_threshold": read_calibration(EMBEDDED_CHECKPOINT).default_threshold,
        "dtype": "float32",
        "device": "cpu",
    }
    assert content["defaults"]["no_repeat_ngram_size"] == 0
    assert content["limits"]["max_image_pixels"] == 1_000_000
    assert content["limits"]["slots"] == 32
    assert content["limits"]["max_requests"] == 32 + 4 * 32


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines picture processes")
def test_the_version_reports_what_picture_processes_are_denied(client: httpx.Client) -> None:
    """This kernel supports seccomp, as every Linux since 3.17 that runs containers."""
    found = client.get("/version").json()["picture_processes"]
    assert found == {
        "reads_heic": True,
        "files": "denied",
        "network": "denied",
        "programs": "denied",
    }


def test_requests_are_counted_by_task_and_outcome(
    client: httpx.Client, service: RunningService
) -> None:
    """Each request is counted once, for every outcome."""

    def count(task: str, outcome: str) -> float:
        assert outcome in OUTCOMES
        labels = f'{{door="kosmos2",outcome="{outcome}",task="{task}"}}'
        return service.metric(f"kosmos2_requests_total{labels}")

    kinds = (("brief_caption", "completed"), ("brief_caption", "length"), ("unknown", "invalid"))
    before = [count(*kind) for kind in kinds]
    ask(client, task="brief_caption")
    ask(client, task="brief_caption", max_new_tokens="1")
    ask(client, task="dance")
    assert [count(*kind) for kind in kinds] == [number + 1 for number in before]


def test_one_process_reports_the_metrics_of_all_processes(
    client: httpx.Client, service: RunningService
) -> None:
    ask(client, task="brief_caption")
    assert service.metric("kosmos2_kv_slots_total") == 32  # the engine's
    assert service.metric("kosmos2_http_workers") == 1  # the supervisor's
    assert service.metric("kosmos2_http_workers_configured") == 1
    assert service.metric("kosmos2_time_to_first_token_seconds_count") > 0  # the HTTP process's
    assert service.metric('kosmos2_engine_step_seconds_count{phase="decode"}') > 0
    assert service.metric('kosmos2_device_memory_bytes{kind="weights"}') > 0


def test_every_documented_route_has_a_summary(client: httpx.Client) -> None:
    content = client.get("/openapi.json").json()
    operations = [(p, m, op) for p, ms in content["paths"].items() for m, op in ms.items()]
    assert {path for path, _, _ in operations} >= {
        "/v1/ground",
        "/livez",
        "/readyz",
        "/metrics",
        "/version",
    }
    assert all(operation.get("summary") for _, _, operation in operations)


def test_every_field_of_the_form_is_documented(client: httpx.Client) -> None:
    content = client.get("/openapi.json").json()
    body = content["paths"]["/v1/ground"]["post"]["requestBody"]
    properties = body["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"image", "task", "text", "regions", "temperature", "seed"} <= properties.keys()
    assert all("description" in field for field in properties.values())


def test_fixed_length_lists_are_described_without_prefix_items(client: httpx.Client) -> None:
    """Generators of mobile clients fail on `prefixItems`."""
    assert "prefixItems" not in client.get("/openapi.json").text


def test_a_browser_of_a_listed_origin_may_call_and_read_errors(client: httpx.Client) -> None:
    """Errors have the CORS headers too: otherwise a web page could not read the cause."""
    for path in ("/livez", "/nowhere"):
        answered = client.get(path, headers={"Origin": "https://app.example"})
        assert answered.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "X-Request-ID" in answered.headers["Access-Control-Expose-Headers"]


def test_a_browser_of_another_origin_may_not_call(client: httpx.Client) -> None:
    answered = client.get("/livez", headers={"Origin": "https://other.example"})
    assert "Access-Control-Allow-Origin" not in answered.headers


@pytest.mark.parametrize(
    "requested", ["traceparent", "baggage,sentry-trace", "X-Requested-With, A"]
)
def test_a_browser_may_send_any_header(client: httpx.Client, requested: str) -> None:
    """Browser tools for tracing and error reports add headers to every request of a page."""
    answered = client.options(
        "/v1/ground",
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": requested,
            "Access-Control-Request-Private-Network": "true",
        },
    )
    assert answered.status_code == 200
    allowed = answered.headers["Access-Control-Allow-Headers"].lower()
    assert {name.strip() for name in requested.lower().split(",")} <= set(
        allowed.replace(" ", "").split(",")
    )
    assert answered.headers["Access-Control-Allow-Private-Network"] == "true"


def test_a_preflight_of_another_origin_is_rejected(client: httpx.Client) -> None:
    headers = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    answered = client.options("/v1/ground", headers=headers)
    assert answered.status_code == 400
    assert "Access-Control-Allow-Origin" not in answered.headers


@pytest.mark.parametrize(
    "path",
    ["/livez", "/readyz", "/metrics", "/version", "/v1/tasks", "/docs", "/openapi.json", "/no"],
)
def test_head_is_answered_as_get_without_a_body(client: httpx.Client, path: str) -> None:
    """Monitors and load balancers use `HEAD`."""
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert head.content == b""


def test_head_is_not_allowed_where_get_is_not(client: httpx.Client) -> None:
    assert client.head("/v1/ground").status_code == 405


def test_the_log_names_the_route_of_head(client: httpx.Client, service: RunningService) -> None:
    client.head("/v1/tasks")
    lines = [json.loads(line) for line in service.log if '"method": "HEAD"' in line]
    assert "/v1/tasks" in {line["route"] for line in lines}
