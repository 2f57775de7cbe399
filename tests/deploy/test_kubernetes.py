"""The manifests, rendered by kustomize, are valid and agree with the service."""

import subprocess
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import PUBLISHED_MODEL, PUBLISHED_REVISION, Settings
from harness.deployment import DEPLOY
from harness.queries import autoscaler_queries
from harness.requirements import require_programs
from tests.deploy.test_files import max_stop_s

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("cpu", "gpu", "gpu-per-pod")
PUBLISHED = OVERLAYS[1:]
KINDS = {
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget",
    "Service", "ServiceMonitor",
}  # fmt: skip
VERSION = "1.34"
NAME = {"app.kubernetes.io/name": "kosmos2"}


@cache
def rendered(overlay: str) -> dict[str, Any]:
    """Return the manifests that `kubectl apply -k` would send, by kind."""
    require_programs("kubectl")
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, check=True)
    manifests = list(yaml.safe_load_all(done.stdout))
    by_kind = {manifest["kind"]: manifest for manifest in manifests}
    # Two manifests of one kind would hide each other in the dictionary.
    assert len(by_kind) == len(manifests)
    return by_kind


def pod(overlay: str) -> dict[str, Any]:
    """Return the specification of the pods."""
    spec: dict[str, Any] = rendered(overlay)["Deployment"]["spec"]["template"]["spec"]
    return spec


def container(overlay: str) -> dict[str, Any]:
    """Return the only container of the pods."""
    (only,) = pod(overlay)["containers"]
    return dict(only)


def settings_of(overlay: str) -> dict[str, str]:
    """Return the environment variables of the pods."""
    data: dict[str, str] = rendered(overlay)["ConfigMap"]["data"]
    return data


def startup_s(only: dict[str, Any]) -> int:
    """Return how long a container may take to become ready, in seconds."""
    probe = only["startupProbe"]
    return int(probe["periodSeconds"] * probe["failureThreshold"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_kind_of_manifest_exists(overlay: str) -> None:
    extra = {"PersistentVolumeClaim"} if overlay == "gpu" else set()
    assert rendered(overlay).keys() == KINDS | extra


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_valid(overlay: str) -> None:
    """All fields exist and have the right type. The ServiceMonitor is not a kind of Kubernetes."""
    for kind, manifest in rendered(overlay).items():
        if kind != "ServiceMonitor":
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_an_unknown_field_in_a_manifest_is_found() -> None:
    # A copy, because `rendered` caches its result for the other tests.
    manifest = yaml.safe_load(yaml.safe_dump(rendered("cpu")["Deployment"]))
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_matches_exactly_these_pods(overlay: str) -> None:
    """An empty selector would match all pods of the namespace, a missing one no pod."""
    kinds = rendered(overlay)
    assert kinds["Service"]["spec"]["selector"] == NAME
    assert kinds["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": NAME}
    for kind in ("Deployment", "PodDisruptionBudget", "ServiceMonitor"):
        assert kinds[kind]["spec"]["selector"] == {"matchLabels": NAME}
    assert kinds["Deployment"]["spec"]["template"]["metadata"]["labels"] == NAME
    assert kinds["Service"]["metadata"]["labels"] == NAME


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_minimal_rights(overlay: str) -> None:
    """The restricted profile of the Pod Security Standards, and a read-only root file system."""
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
    """The time of preStop counts too, because SIGTERM is sent after it."""
    named = settings_of(overlay)
    settings = Settings()
    assert float(named["KOSMOS2_DRAIN_DELAY_S"]) == settings.drain_delay_s
    assert float(named["KOSMOS2_GRACE_PERIOD_S"]) == settings.grace_period_s
    waiting_s = container(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod(overlay)["terminationGracePeriodSeconds"] >= waiting_s + max_stop_s()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_upgrade_does_not_count_as_failed_while_a_pod_starts(overlay: str) -> None:
    """Kubernetes reports a failure if no pod became ready for ten minutes, by default."""
    deadline_s = rendered(overlay)["Deployment"]["spec"].get("progressDeadlineSeconds", 600)
    assert deadline_s > startup_s(container(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_that_are_not_ready_do_not_block_the_drain_of_a_node(overlay: str) -> None:
    budget = rendered(overlay)["PodDisruptionBudget"]["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_named_setting_exists(overlay: str) -> None:
    named = {name.removeprefix("KOSMOS2_").lower() for name in settings_of(overlay)}
    others = {entry["name"] for entry in container(overlay)["env"]} - {"HF_HUB_OFFLINE"}
    named |= {name.removeprefix("KOSMOS2_").lower() for name in others}
    assert named <= Settings.model_fields.keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_and_monitor_use_the_ops_port(overlay: str) -> None:
    """Health and metrics have a separate port, which no ingress exposes."""
    only, kinds = container(overlay), rendered(overlay)
    ports = {port["name"]: str(port["containerPort"]) for port in only["ports"]}
    assert ports == {"http": "8000", "ops": settings_of(overlay)["KOSMOS2_OPS_PORT"]}
    probes = [only[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/readyz", "ops"), ("/readyz", "ops"), ("/livez", "ops"),
    ]  # fmt: skip
    assert [endpoint["port"] for endpoint in kinds["ServiceMonitor"]["spec"]["endpoints"]] == [
        "ops"
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_sets_no_environment_variables(overlay: str) -> None:
    """A Service called kosmos2 would set KOSMOS2_PORT to an address."""
    assert rendered(overlay)["Service"]["metadata"]["name"] == "kosmos2"
    assert pod(overlay)["enableServiceLinks"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_autoscaler_uses_metrics_that_the_adapter_provides(overlay: str) -> None:
    metrics = rendered(overlay)["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert {metric["pods"]["metric"]["name"] for metric in metrics} == autoscaler_queries().keys()


def test_pods_with_the_embedded_checkpoint_may_not_connect_anywhere() -> None:
    """Serving it needs no outgoing connection."""
    assert "egress" not in rendered("cpu")["NetworkPolicy"]["spec"]
    assert "Egress" in rendered("cpu")["NetworkPolicy"]["spec"]["policyTypes"]


def test_all_replicas_share_one_download_of_the_published_model() -> None:
    """The volume is persistent, and several nodes can mount it."""
    (volume,) = [volume for volume in pod("gpu")["volumes"] if volume["name"] == "models"]
    claim = rendered("gpu")["PersistentVolumeClaim"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize("overlay", PUBLISHED)
def test_the_published_model_is_pinned_to_a_commit(overlay: str) -> None:
    """So that every pod serves the same weights, also after the hub's branch has moved."""
    assert settings_of(overlay)["KOSMOS2_MODEL"] == PUBLISHED_MODEL
    assert settings_of(overlay)["KOSMOS2_REVISION"] == PUBLISHED_REVISION


def test_a_pod_with_its_own_volume_downloads_before_it_starts_offline() -> None:
    """No claim, a volume with room for the weights, and the same image and settings."""
    spec, (weights,) = pod("gpu-per-pod"), pod("gpu-per-pod")["initContainers"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "models"]
    assert volume == {"name": "models", "emptyDir": {"sizeLimit": "10Gi"}}
    only = container("gpu-per-pod")
    assert weights["args"] == ["info"]
    for name in ("image", "envFrom", "volumeMounts", "securityContext"):
        assert weights[name] == only[name]
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in only["env"]
    assert {"name": "KOSMOS2_DEVICE", "value": "cpu"} in weights["env"]


def test_a_gpu_replica_requests_one_gpu() -> None:
    """It also tolerates the taint of GPU nodes."""
    assert container("gpu")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert [toleration["key"] for toleration in pod("gpu")["tolerations"]] == ["nvidia.com/gpu"]
    assert settings_of("gpu")["KOSMOS2_DEVICE"] == "cuda"
