"""The shipped files are what their programs take, and agree with the service and each other."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings
from harness.deployment import DEPLOY, REPLICAS

ROOT = DEPLOY.parent
COMPOSE, COMPOSE_GPU = ROOT / "docker-compose.yml", ROOT / "docker-compose.gpu.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# Answers that end with the grace period need a moment to leave.
AFTER_GRACE_S = 3


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment that runs the tests."""
    command = [Path(sys.executable).with_name(program), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def services_of(file: Path) -> dict[str, Any]:
    """The services of a compose file."""
    services: dict[str, Any] = yaml.safe_load(file.read_text())["services"]
    return services


def stopping_s() -> float:
    """How long a replica may take to leave once it gets SIGTERM."""
    settings = Settings()
    return settings.drain_delay_s + settings.grace_period_s + AFTER_GRACE_S


def test_the_dockerfile_has_no_lint() -> None:
    """What is left out, and why, is in .hadolint.yaml."""
    done = run("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_installs_a_python_that_the_project_takes() -> None:
    """Debian 12 has Python 3.11, and no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "FROM debian:bookworm-slim" in DOCKERFILE
    assert project["requires-python"].startswith(">=3.11,")


def test_the_image_names_no_place_that_packages_come_from() -> None:
    """Those who build it say that, by TORCH_INDEX_URL and by pip's own configuration."""
    assert re.findall(r"https?://(?!127\.0\.0\.1)\S+", DOCKERFILE) == []
    assert "ARG TORCH_INDEX_URL=\n" in DOCKERFILE


def test_what_goes_into_the_build_is_named() -> None:
    """Not git's history, not training runs, not secrets that lie about."""
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE))
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == {
        name for names in copied for name in names.split()
    }


@pytest.mark.parametrize("file", [COMPOSE, COMPOSE_GPU], ids=lambda path: path.name)
def test_compose_takes_the_file(file: Path) -> None:
    """By the schema of the compose specification."""
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    assert done.returncode == 0, done.stdout


def test_the_schema_finds_what_compose_would_not_take(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE.read_text().replace("restart:", "restarts:"))
    assert (
        run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", broken).returncode == 1
    )


def test_one_port_is_public() -> None:
    """Prometheus and Grafana are for those on the machine."""
    ports = [port for service in services_of(COMPOSE).values() for port in service.get("ports", [])]
    public = [port for port in ports if not port.startswith("127.0.0.1:")]
    assert public == ["${KOSMOS2_PUBLIC_PORT:-8080}:8080"]


def test_what_compose_mounts_is_there() -> None:
    mounts = [
        mount for service in services_of(COMPOSE).values() for mount in service.get("volumes", [])
    ]
    folders = [mount.partition(":")[0] for mount in mounts if mount.startswith("./")]
    assert folders
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_all_files_mean_the_same_replicas() -> None:
    names = {name.partition(":")[0] for name in REPLICAS}
    for file in (COMPOSE, COMPOSE_GPU):
        assert names == {name for name in services_of(file) if name.startswith("kosmos2")}


def test_gpus_are_scraped_where_compose_runs_their_exporter() -> None:
    """And only there, so that a machine without a GPU has no target that is always down."""
    services = services_of(COMPOSE_GPU)
    (mount,) = services["prometheus"]["volumes"]
    source, target, _ = mount.split(":")
    (file,) = (ROOT / source).iterdir()
    ((address,),) = [each["targets"] for each in yaml.safe_load(file.read_text())]
    assert address.partition(":")[0] in services
    assert f"{target}/*.yml" in (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    assert target not in COMPOSE.read_text()


@pytest.mark.parametrize("file", [".env.example", "docker-compose.yml", "docker-compose.gpu.yml"])
def test_settings_that_are_named_exist(file: str) -> None:
    """Beside the service's own there are a few of compose's."""
    named = set(re.findall(r"KOSMOS2_(\w+)", (ROOT / file).read_text()))
    own = {name.upper() for name in Settings.model_fields}
    assert named - own <= {"PUBLIC_PORT", "GPU_1", "GPU_2"}


def test_everything_in_the_example_is_used() -> None:
    """A variable that compose never reads would be a promise."""
    offered = re.findall(r"^#?([A-Z]\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    read = COMPOSE.read_text() + COMPOSE_GPU.read_text()
    assert [name for name in offered if name not in read] == ["COMPOSE_FILE"]


def test_containers_have_the_time_to_drain() -> None:
    """A shorter one would kill what runs."""
    for name, service in services_of(COMPOSE).items():
        if name.startswith("kosmos2"):
            assert int(service["stop_grace_period"].rstrip("s")) >= stopping_s()


def test_the_balancer_notices_before_a_replica_closes() -> None:
    """Its checks come each second, and two that fail are enough."""
    config = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    (interval_s, falls), *others = re.findall(r"check inter (\d+)s fall (\d+)", config)
    assert others == []
    assert int(interval_s) * int(falls) < Settings().drain_delay_s


def test_the_balancer_waits_longer_than_the_service() -> None:
    """The service says why there is no answer; the balancer could not."""
    config = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    (timeout_s,) = re.findall(r"timeout server (\d+)s", config)
    (leaving_s,) = re.findall(r"hard-stop-after (\d+)s", config)
    assert Settings().deadline_s < int(timeout_s) < int(leaving_s)
