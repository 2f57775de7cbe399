"""The manifests, rendered by kustomize, are what Kubernetes takes, and agree with the service."""

import subprocess
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from harness.deployment import DEPLOY
from harness.queries import autoscaler_queries
from harness.requirements import require_programs
from tests.deploy.test_files import stopping_s

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("cpu", "gpu")
KINDS = {
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget",
    "Service", "ServiceMonitor",
}  # fmt: skip
VERSION = "1.34"
NAME = {"app.kubernetes.io/name": "kosmos2"}


@cache
def rendered(overlay: str) -> dict[str, Any]:
    """What `kubectl apply -k` would send, by kind."""
    require_programs("kubectl")
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, check=True)
    manifests = list(yaml.safe_load_all(done.stdout))
    by_kind = {manifest["kind"]: manifest for manifest in manifests}
    assert len(by_kind) == len(manifests)
    return by_kind


def pod(overlay: str) -> dict[str, Any]:
    """What runs."""
    spec: dict[str, Any] = rendered(overlay)["Deployment"]["spec"]["template"]["spec"]
    return spec


def container(overlay: str) -> dict[str, Any]:
    """The one container of it."""
    (only,) = pod(overlay)["containers"]
    return dict(only)


def settings_of(overlay: str) -> dict[str, str]:
    """The environment that the pods get."""
    data: dict[str, str] = rendered(overlay)["ConfigMap"]["data"]
    return data


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_there(overlay: str) -> None:
    extra = {"PersistentVolumeClaim"} if overlay == "gpu" else set()
    assert rendered(overlay).keys() == KINDS | extra


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_takes_every_manifest(overlay: str) -> None:
    """All fields are known, and of the right type; the ServiceMonitor's kind is not Kubernetes'."""
    for kind, manifest in rendered(overlay).items():
        if kind != "ServiceMonitor":
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    manifest = yaml.safe_load(yaml.safe_dump(rendered("cpu")["Deployment"]))
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_means_these_pods_and_no_others(overlay: str) -> None:
    """An empty one would mean all pods of the namespace, a missing one none."""
    kinds = rendered(overlay)
    assert kinds["Service"]["spec"]["selector"] == NAME
    assert kinds["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": NAME}
    for kind in ("Deployment", "PodDisruptionBudget", "ServiceMonitor"):
        assert kinds[kind]["spec"]["selector"] == {"matchLabels": NAME}
    assert kinds["Deployment"]["spec"]["template"]["metadata"]["labels"] == NAME
    assert kinds["Service"]["metadata"]["labels"] == NAME


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_the_rights_they_need_and_no_more(overlay: str) -> None:
    """The restricted profile of the Pod Security Standards, and a root file system that stays."""
    spec, only = pod(overlay), container(overlay)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in only["volumeMounts"]} == {
        "/tmp",  # noqa: S108
        "/var/cache/kosmos2",
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_the_time_to_drain(overlay: str) -> None:
    """With that of preStop, during which the service does not know yet that it is to leave."""
    named = settings_of(overlay)
    settings = Settings()
    assert float(named["KOSMOS2_DRAIN_DELAY_S"]) == settings.drain_delay_s
    assert float(named["KOSMOS2_GRACE_PERIOD_S"]) == settings.grace_period_s
    waiting_s = container(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod(overlay)["terminationGracePeriodSeconds"] >= waiting_s + stopping_s()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_that_are_named_exist(overlay: str) -> None:
    named = {name.removeprefix("KOSMOS2_").lower() for name in settings_of(overlay)}
    named |= {each["name"].removeprefix("KOSMOS2_").lower() for each in container(overlay)["env"]}
    assert named <= Settings.model_fields.keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_health_and_metrics_are_asked_where_they_are(overlay: str) -> None:
    """On a port of their own, which no ingress shows to the public."""
    only, kinds = container(overlay), rendered(overlay)
    ports = {port["name"]: str(port["containerPort"]) for port in only["ports"]}
    assert ports == {"http": "8000", "ops": settings_of(overlay)["KOSMOS2_OPS_PORT"]}
    probes = [only[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/readyz", "ops"), ("/readyz", "ops"), ("/livez", "ops"),
    ]  # fmt: skip
    assert [each["port"] for each in kinds["ServiceMonitor"]["spec"]["endpoints"]] == ["ops"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_puts_nothing_into_the_environment(overlay: str) -> None:
    """A Service called kosmos2 would set KOSMOS2_PORT to an address."""
    assert rendered(overlay)["Service"]["metadata"]["name"] == "kosmos2"
    assert pod(overlay)["enableServiceLinks"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_autoscaler_asks_for_metrics_that_the_adapter_makes(overlay: str) -> None:
    metrics = rendered(overlay)["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert {each["pods"]["metric"]["name"] for each in metrics} == autoscaler_queries().keys()


def test_the_embedded_checkpoint_has_no_way_out() -> None:
    """Serving it makes no connection, so none is allowed."""
    assert "egress" not in rendered("cpu")["NetworkPolicy"]["spec"]
    assert "Egress" in rendered("cpu")["NetworkPolicy"]["spec"]["policyTypes"]


def test_the_published_model_is_fetched_once() -> None:
    """For all replicas, into a volume that stays."""
    (volume,) = [each for each in pod("gpu")["volumes"] if each["name"] == "models"]
    claim = rendered("gpu")["PersistentVolumeClaim"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_a_replica_on_a_gpu_asks_for_one() -> None:
    """And may run where only those may that do."""
    assert container("gpu")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert [each["key"] for each in pod("gpu")["tolerations"]] == ["nvidia.com/gpu"]
    assert settings_of("gpu")["KOSMOS2_DEVICE"] == "cuda"
