"""The shipped files are valid, and agree with the service and with each other."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import PUBLISHED_MODEL, PUBLISHED_REVISION, Settings
from harness.deployment import DEPLOY, REPLICAS

ROOT = DEPLOY.parent
COMPOSE, COMPOSE_GPU = ROOT / "docker-compose.yml", ROOT / "docker-compose.gpu.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# After the grace period: 2 s for the last answers, 2 s for the last spans, and the engine's end.
AFTER_GRACE_S = 6


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program from the virtual environment of the tests."""
    command = [Path(sys.executable).with_name(program), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def services_of(file: Path) -> dict[str, Any]:
    """Return the services of a compose file."""
    services: dict[str, Any] = yaml.safe_load(file.read_text())["services"]
    return services


def max_stop_s() -> float:
    """Return how long a replica may need to exit after SIGTERM."""
    settings = Settings()
    return settings.drain_delay_s + settings.grace_period_s + AFTER_GRACE_S


def test_the_dockerfile_has_no_lint() -> None:
    """.hadolint.yaml lists the disabled rules with reasons."""
    done = run("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_installs_a_supported_python() -> None:
    """Debian 12 only has Python 3.11."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "FROM debian:bookworm-slim" in DOCKERFILE
    assert project["requires-python"].startswith(">=3.11,")


def test_the_dockerfile_contains_no_address_of_a_package_index() -> None:
    """TORCH_INDEX_URL and pip's own configuration set it."""
    assert re.findall(r"https?://(?!127\.0\.0\.1)\S+", DOCKERFILE) == []
    assert "ARG TORCH_INDEX_URL=\n" in DOCKERFILE


def test_the_build_context_only_contains_the_copied_files() -> None:
    """No git history, no training runs, no secrets that happen to be in the folder."""
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
def test_a_compose_file_is_valid(file: Path) -> None:
    """The schema is that of the compose specification."""
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    assert done.returncode == 0, done.stdout


def test_an_unknown_key_in_a_compose_file_is_found(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE.read_text().replace("restart:", "restarts:"))
    assert (
        run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", broken).returncode == 1
    )


def test_compose_publishes_one_port() -> None:
    """Prometheus and Grafana only listen on the machine itself."""
    ports = [port for service in services_of(COMPOSE).values() for port in service.get("ports", [])]
    public = [port for port in ports if not port.startswith("127.0.0.1:")]
    assert public == ["${KOSMOS2_PUBLIC_PORT:-8080}:8080"]


def test_every_folder_that_compose_mounts_exists() -> None:
    mounts = [
        mount for service in services_of(COMPOSE).values() for mount in service.get("volumes", [])
    ]
    folders = [mount.partition(":")[0] for mount in mounts if mount.startswith("./")]
    assert folders
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_all_files_name_the_same_replicas() -> None:
    names = {name.partition(":")[0] for name in REPLICAS}
    for file in (COMPOSE, COMPOSE_GPU):
        assert names == {name for name in services_of(file) if name.startswith("kosmos2")}


def test_gpus_are_scraped_only_if_compose_runs_their_exporter() -> None:
    """A machine without a GPU must not have a target that is always down."""
    services = services_of(COMPOSE_GPU)
    (mount,) = services["prometheus"]["volumes"]
    source, target, _ = mount.split(":")
    (file,) = (ROOT / source).iterdir()
    ((address,),) = [group["targets"] for group in yaml.safe_load(file.read_text())]
    assert address.partition(":")[0] in services
    assert f"{target}/*.yml" in (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    assert target not in COMPOSE.read_text()


@pytest.mark.parametrize("file", [".env.example", "docker-compose.yml", "docker-compose.gpu.yml"])
def test_every_named_setting_exists(file: str) -> None:
    """In addition to the service's settings there are a few of compose."""
    named = set(re.findall(r"KOSMOS2_(\w+)", (ROOT / file).read_text()))
    own = {name.upper() for name in Settings.model_fields}
    assert named - own <= {"PUBLIC_PORT", "GPU_1", "GPU_2"}


def test_compose_uses_every_variable_of_the_example() -> None:
    """A variable that compose does not read would have no effect."""
    # Most variables of the example are commented out.
    offered = re.findall(r"^#?([A-Z]\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    read = COMPOSE.read_text() + COMPOSE_GPU.read_text()
    # Docker Compose itself reads COMPOSE_FILE.
    assert [name for name in offered if name not in read] == ["COMPOSE_FILE"]


def test_containers_have_the_time_to_drain() -> None:
    """A shorter period would kill running requests."""
    for name, service in services_of(COMPOSE).items():
        if name.startswith("kosmos2"):
            assert int(service["stop_grace_period"].rstrip("s")) >= max_stop_s()


def test_the_balancer_notices_a_drain_before_the_replica_rejects_requests() -> None:
    """Two failed checks, one second apart, mark a replica as down."""
    config = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    (interval_s, falls), *others = re.findall(r"check inter (\d+)s fall (\d+)", config)
    assert others == []
    assert int(interval_s) * int(falls) < Settings().drain_delay_s


def test_the_balancer_waits_longer_than_the_service() -> None:
    """The service's error has a reason, the balancer's does not."""
    config = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    (timeout_s,) = re.findall(r"timeout server (\d+)s", config)
    (stopping_s,) = re.findall(r"hard-stop-after (\d+)s", config)
    assert Settings().deadline_s < int(timeout_s) < int(stopping_s)


def test_the_example_of_compose_pins_the_published_model() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert f"#KOSMOS2_MODEL={PUBLISHED_MODEL}" in lines
    assert f"#KOSMOS2_REVISION={PUBLISHED_REVISION}" in lines
