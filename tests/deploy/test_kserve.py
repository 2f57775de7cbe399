"""The manifest for KServe has a valid pod, and agrees with the service and the other manifests."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import PUBLISHED_MODEL, PUBLISHED_REVISION, Settings
from harness.deployment import DEPLOY
from tests.deploy.test_files import AFTER_GRACE_S
from tests.deploy.test_kubernetes import VERSION, container, pod, settings_of, startup_s

MANIFEST = DEPLOY / "kubernetes" / "kserve.yaml"
OF_KSERVE = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "timeout"}
"""Fields of a predictor that are not those of a pod."""


@pytest.fixture(scope="module")
def predictor() -> dict[str, Any]:
    manifest = yaml.safe_load(MANIFEST.read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == (
        "serving.kserve.io/v1beta1", "InferenceService",
    )  # fmt: skip
    spec: dict[str, Any] = manifest["spec"]["predictor"]
    return spec


@pytest.fixture
def only(predictor: dict[str, Any]) -> dict[str, Any]:
    (container,) = predictor["containers"]
    return dict(container)


def as_pod(predictor: dict[str, Any]) -> dict[str, Any]:
    spec = {name: value for name, value in predictor.items() if name not in OF_KSERVE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "kosmos2"}, "spec": spec}


def test_the_rest_of_the_predictor_is_a_valid_pod(predictor: dict[str, Any]) -> None:
    assert predictor.keys() >= OF_KSERVE
    kubernetes_validate.validate(as_pod(predictor), VERSION, strict=True)
    broken = as_pod(predictor | {"contianers": []})
    with pytest.raises(kubernetes_validate.ValidationError, match="contianers"):
        kubernetes_validate.validate(broken, VERSION, strict=True)


def test_every_named_setting_exists(only: dict[str, Any]) -> None:
    named = {entry["name"].removeprefix("KOSMOS2_").lower() for entry in only["env"]}
    assert named <= Settings.model_fields.keys()
    values = {entry["name"]: entry.get("value") for entry in only["env"]}
    assert values["KOSMOS2_MODEL"] == PUBLISHED_MODEL
    assert values["KOSMOS2_REVISION"] == PUBLISHED_REVISION


def test_kserve_finds_the_port_and_health(predictor: dict[str, Any], only: dict[str, Any]) -> None:
    """KServe passes requests to the only port."""
    (port,) = only["ports"]
    values = {entry["name"]: entry.get("value") for entry in only["env"]}
    assert str(port["containerPort"]) == values["KOSMOS2_PORT"]
    probes = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    for name, path in probes.items():
        assert only[name]["httpGet"] == {"path": path, "port": port["containerPort"]}
    assert predictor["timeout"] > Settings().deadline_s


def test_a_replica_ends_before_kubernetes_kills_it(
    predictor: dict[str, Any], only: dict[str, Any]
) -> None:
    """Its requests get an answer with `Retry-After` instead of a closed connection."""
    assert "terminationGracePeriodSeconds" not in predictor, "Knative refuses it"
    values = {entry["name"]: entry.get("value") for entry in only["env"]}
    grace_s = float(values["KOSMOS2_GRACE_PERIOD_S"])
    default_s = 30  # of terminationGracePeriodSeconds
    assert Settings().drain_delay_s + grace_s + AFTER_GRACE_S < default_s


def test_the_pod_has_the_rights_and_resources_of_a_gpu_replica(
    predictor: dict[str, Any], only: dict[str, Any]
) -> None:
    other = container("gpu-per-pod")
    for name in ("securityContext", "volumeMounts", "resources"):
        assert only[name] == other[name]
    # A replica responds to no probe before its weights are downloaded.
    assert startup_s(only) == startup_s(other)
    # Memory and processors are for these numbers of processes.
    values = {entry["name"]: entry.get("value") for entry in only["env"]}
    for name in ("KOSMOS2_HTTP_WORKERS", "KOSMOS2_PICTURE_PROCESSES"):
        assert values[name] == settings_of("gpu-per-pod")[name]
    ours, theirs = predictor["securityContext"], pod("gpu-per-pod")["securityContext"]
    assert ours.items() <= theirs.items()
    assert predictor["automountServiceAccountToken"] is False
