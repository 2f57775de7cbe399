"""The RayJob of KubeRay has valid pods, and a command that exists."""

import shlex
import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from app.commands.cli import cli
from app.commands.ray_plan import with_ray_address
from app.settings import PUBLISHED_MODEL, PUBLISHED_REVISION
from harness.deployment import DEPLOY

VERSION = "1.34"
JOB: dict[str, Any] = yaml.safe_load((DEPLOY / "ray" / "rayjob.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]


def pod_of(group: dict[str, Any]) -> dict[str, Any]:
    """Return the pod that KubeRay creates for a group, without what it adds itself."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **group["template"]}


@pytest.mark.parametrize("group", GROUPS, ids=["head", "worker"])
def test_the_pods_are_valid(group: dict[str, Any]) -> None:
    """KubeRay's own schema embeds that of pods."""
    kubernetes_validate.validate(pod_of(group), VERSION, strict=True)


def test_an_unknown_field_of_a_pod_is_found() -> None:
    """The check above can fail."""
    pod = pod_of(GROUPS[0])
    broken = {**pod, "spec": {**pod["spec"], "containerz": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSION, strict=True)


def test_the_command_and_its_options_exist() -> None:
    program, name, *arguments = with_ray_address(shlex.split(JOB["spec"]["entrypoint"]))
    assert (program, name) == ("kosmos2", "batch")
    command = get_command(cli).commands["batch"]  # type: ignore[attr-defined]
    parsed = command.make_context("batch", list(arguments)).params
    assert (parsed["model"], parsed["revision"]) == (PUBLISHED_MODEL, PUBLISHED_REVISION)
    assert parsed["ray"] == "auto"
    [mount] = GROUPS[1]["template"]["spec"]["containers"][0]["volumeMounts"]
    paths = [*parsed["sources"], str(parsed["out"])]
    assert all(path.startswith(f"{mount['mountPath']}/") for path in paths)


def test_the_image_and_the_cluster_have_the_same_ray() -> None:
    """Ray refuses to connect processes of different versions."""
    constraints = (DEPLOY.parent / "constraints.txt").read_text().splitlines()
    assert f"ray=={CLUSTER['rayVersion']}" in constraints
    extras = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    assert any(name.startswith("ray[data]") for name in extras["optional-dependencies"]["ray"])
    assert "ARG RAY=\n" in (DEPLOY.parent / "Dockerfile").read_text()
    containers = [group["template"]["spec"]["containers"][0] for group in GROUPS]
    assert len({container["image"] for container in containers}) == 1
