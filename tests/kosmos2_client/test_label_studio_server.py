"""The HTTP side of the backend of Label Studio, over real connections."""

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import loopback
from harness.scripted_service import Script
from harness.standard_servers import running_server
from kosmos2_client.cli import main
from kosmos2_client.label_studio.addresses import Addresses
from kosmos2_client.label_studio.backend import Backend, BackendOptions
from kosmos2_client.label_studio.fetching import FetchLimits
from kosmos2_client.label_studio.server import (
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    BackendServer,
    Credentials,
)
from tests.kosmos2_client.answers import detections, problem

CONFIG = (
    '<View><Image name="photo" value="$picture"/><RectangleLabels name="boxes" toName="photo">'
    '<Label value="cat"/><Label value="dog"/></RectangleLabels></View>'
)
MISSING = "/data/upload/missing.jpg"


class Network:
    """Label Studio and the service, passed to the backend as a transport."""

    def __init__(self) -> None:
        self.service = Script(by_image=self._detect)
        self.authorizations = list[str | None]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "service.example":
            return self.service(request)
        assert request.url.host == "labels.example"
        self.authorizations.append(request.headers.get("Authorization"))
        if request.url.path == MISSING:
            return httpx.Response(404)
        return httpx.Response(200, content=request.url.path.encode())

    def _detect(self, picture: bytes) -> Any:
        if picture == b"/data/upload/damaged.jpg":
            return problem(400, "invalid_image", "not a picture")
        return detections("cat", "dog")


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


def serve(network: Network, credentials: Credentials | None = None) -> BackendServer:
    options = BackendOptions(
        "http://service.example",
        Addresses("http://labels.example"),
        token="the-token",
        limits=FetchLimits(max_bytes=1000, timeout_s=5),
    )
    backend = Backend(options, httpx.MockTransport(network))
    return BackendServer(("127.0.0.1", 0), backend, credentials, log=lambda _: None)


@pytest.fixture(scope="module")
def client(network: Network) -> Iterator[httpx.Client]:
    with (
        running_server(serve(network)) as address,
        httpx.Client(base_url=f"http://{address}", trust_env=False) as http,
    ):
        yield http


def predict(client: httpx.Client, *pictures: Any) -> httpx.Response:
    tasks = [{"id": n, "data": {"picture": value}} for n, value in enumerate(pictures)]
    return client.post("/predict", json={"tasks": tasks, "label_config": CONFIG, "params": {}})


def test_a_prediction_has_percent_boxes_with_the_names_of_the_configuration(
    client: httpx.Client, network: Network
) -> None:
    [result] = predict(client, "/data/upload/a.jpg").json()["results"]
    assert (result["model_version"], result["score"]) == ("kosmos-2", 0.895)
    cat, dog = result["result"]
    assert (cat["from_name"], cat["to_name"], cat["type"]) == ("boxes", "photo", "rectanglelabels")
    expected = {"x": 10, "y": 20, "width": 10, "height": 40, "rotation": 0}
    assert cat["value"] == expected | {"rectanglelabels": ["cat"]}
    assert (dog["value"]["rectanglelabels"], dog["original_width"]) == (["dog"], 200)
    assert json.loads(network.service.fields[-1]["classes"]) == ["cat", "dog"]
    assert network.authorizations[-1] == "Token the-token"


def test_a_failed_task_has_no_result_and_the_others_do(client: httpx.Client) -> None:
    """Label Studio stores nothing for it; an empty result would mean that nothing is there."""
    pictures = (MISSING, "/data/upload/a.jpg", "/data/upload/damaged.jpg", None)
    results = predict(client, *pictures).json()["results"]
    assert ["result" in one for one in results] == [False, True, False, False]
    assert "404" in results[0]["error"]
    assert "not a picture" in results[2]["error"]


def test_a_request_whose_tasks_all_failed_is_an_error(client: httpx.Client) -> None:
    response = predict(client, MISSING)
    assert (response.status_code, "404" in response.json()["error"]) == (502, True)


def test_setup_returns_the_version_and_ignores_the_host_of_the_request(
    client: httpx.Client, network: Network
) -> None:
    body = {"schema": CONFIG, "hostname": "http://other.example", "access_token": "stolen"}
    assert client.post("/setup", json=body).json() == {"model_version": "kosmos-2"}
    predict(client, "/data/upload/a.jpg")
    assert network.authorizations[-1] == "Token the-token"


def test_health_and_webhook(client: httpx.Client) -> None:
    assert client.get("/health").json()["status"] == "UP"
    assert client.get("/").json()["status"] == "UP"
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"url": "/setup", "json": {"schema": "<View/>"}}, 400),
        ({"url": "/setup", "json": []}, 400),
        ({"url": "/setup", "content": b"{", "headers": JSON}, 400),
        ({"url": "/setup", "content": b"[" * 100_000, "headers": JSON}, 400),
        ({"url": "/setup", "content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"url": "/setup", "content": iter([b"{}"]), "headers": JSON}, 411),
        ({"url": "/setup", "json": {}, "headers": {"Host": "attacker.example:9090"}}, 403),
        ({"url": "/predict", "json": {"tasks": {}, "label_config": CONFIG}}, 400),
        ({"url": "/predict", "json": {"tasks": [1], "label_config": CONFIG}}, 400),
        ({"url": "/predict", "json": {"tasks": [{}] * 1001, "label_config": CONFIG}}, 400),
        ({"url": "/predict", "json": {"tasks": [], "label_config": "<View>"}}, 400),
        ({"url": "/train", "json": {}}, 404),
    ],
)
def test_wrong_requests_are_refused(
    arguments: dict[str, Any], status: int, client: httpx.Client
) -> None:
    response = client.post(**arguments)
    assert response.status_code == status
    assert response.json()["error"]
    assert client.get("/health").status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), 5) as peer:
        peer.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)
        )
        assert peer.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_more_connections_than_the_limit_are_closed(client: httpx.Client) -> None:
    host = (client.base_url.host, client.base_url.port or 0)
    idle = [socket.create_connection(host, 5) for _ in range(MAX_CONNECTIONS)]
    try:
        with socket.create_connection(host, 5) as one_more:
            assert one_more.recv(1) == b""
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Basic " + base64.b64encode(b"user:wrong").decode(), 401),
        ("Basic " + base64.b64encode(b"user:p\xc3\xa4ss").decode(), 200),
    ],
)
def test_a_password_protects_all_but_health(
    authorization: str | None, status: int, network: Network
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    named = headers | {"Host": "any.example"}
    with running_server(serve(network, Credentials("user", "päss"))) as address:
        response = loopback.post(f"http://{address}/setup", json={"schema": CONFIG}, headers=named)
        assert response.status_code == status
        assert loopback.get(f"http://{address}/health").status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bind", "192.0.2.1"], "needs --basic-auth-file"),
        (["--basic-auth-file", "{folder}/empty"], "is empty"),
        (["--basic-auth-file", "{folder}/word"], "must be user:password"),
        (["--label-studio-url", "ftp://labels.example"], "only addresses of http"),
        (["--url", "service.example"], "must start with http"),
        (["--url", "http://service.example/?key=1"], "must end with its path"),
        (["--allow-host", "http://pictures.example"], "must be host or host:port"),
        (["--allow-host", "pictures.example/folder"], "must be host or host:port"),
        (["--allow-host", ""], "must be host or host:port"),
        (["--picture-timeout", "nan"], "must be more than 0"),
        (["--max-picture-bytes", "0"], "must be more than 0"),
    ],
)
def test_the_command_refuses_options_that_are_unsafe_or_have_no_effect(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "word").write_text("secret\n")
    urls = ["--url", "http://service.example", "--label-studio-url", "http://labels.example"]
    given = [option.format(folder=tmp_path) for option in options]
    assert main(["label-studio", *urls, "--port", "0", *given]) == 1
    assert message in capsys.readouterr().err
