"""The processors that a process may use: affinity, and quotas of control groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.pictures.workers.pool import share_of_http_process
from app.processors import Processors, count_processors, read_quota
from app.settings import Settings
from harness.cpu_quota import NoQuota, group_with_quota

V1, V2 = "cgroup cgroup rw,cpu,cpuacct", "cgroup2 cgroup2 rw"
OF_ROOT = {V1: "3:cpu,cpuacct:/", V2: "0::/"}


def process_of(
    directory: Path, kind: str, files: dict[str, str], *, group: str = "/", root: str = "/"
) -> Path:
    """Write made-up control groups and the files in which a process finds its own.

    Args:
        files: content by path below the mounted directory.
        group: the process's group.
        root: the group that is mounted.
    """
    point = directory / "cgroup mount"
    for name, content in files.items():
        file = point / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    process = directory / "process"
    process.mkdir()
    mounted = str(point).replace(" ", r"\040")
    (process / "mountinfo").write_text(
        "22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n"
        "24 1 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        f"31 23 0:28 {root} {mounted} rw,relatime shared:9 master:1 - {kind}\n"
    )
    (process / "cgroup").write_text(f"8:memory:/elsewhere\n{OF_ROOT[kind][:-1]}{group}\n")
    return process


def v1(directory: str, quota_us: str, period_us: str = "100000\n") -> dict[str, str]:
    names = (f"{directory}cpu.cfs_quota_us", f"{directory}cpu.cfs_period_us")
    return dict(zip(names, (quota_us, period_us), strict=True))


@pytest.mark.parametrize(
    ("kind", "files", "expected"),
    [
        (V2, {"cpu.max": "200000 100000\n"}, 2.0),
        (V2, {"cpu.max": "50000 100000\n"}, 0.5),
        (V2, {"cpu.max": "15000 10000\n"}, 1.5),
        (V2, {"cpu.max": "max 100000\n"}, None),
        (V1, v1("", "200000\n"), 2.0),
        (V1, v1("", "50000\n"), 0.5),
        (V1, v1("", "30000\n", "20000\n"), 1.5),
        (V1, v1("", "-1\n"), None),
        # Of the other version, so the kernel would not read them.
        (V1, {"cpu.max": "200000 100000\n"}, None),
        (V2, v1("", "200000\n"), None),
    ],
)
def test_a_quota_is_read_from_both_versions_of_control_groups(
    tmp_path: Path, kind: str, files: dict[str, str], expected: float | None
) -> None:
    assert read_quota(process_of(tmp_path, kind, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pod/cpu.max": "300000 100000", "pod/app/cpu.max": "max 100000"}, 3.0),
        ({"pod/cpu.max": "300000 100000", "pod/app/cpu.max": "100000 100000"}, 1.0),
        ({"pod/cpu.max": "100000 100000", "pod/app/cpu.max": "300000 100000"}, 1.0),
        ({"cpu.max": "100000 100000", "pod/app/cpu.max": "max 100000"}, 1.0),
        ({"other/cpu.max": "100000 100000", "pod/app/cpu.max": "max 100000"}, None),
        # The group's own directory is not visible.
        ({"pod/cpu.max": "400000 100000"}, 4.0),
    ],
)
def test_the_smallest_quota_of_a_group_and_those_above_it_counts(
    tmp_path: Path, files: dict[str, str], expected: float | None
) -> None:
    assert read_quota(process_of(tmp_path, V2, files, group="/pod/app")) == expected


def test_groups_of_version_1_are_nested_as_well(tmp_path: Path) -> None:
    files = v1("pod/", "200000") | v1("pod/app/", "-1")
    assert read_quota(process_of(tmp_path, V1, files, group="/pod/app")) == 2.0


@pytest.mark.parametrize(
    ("group", "root"),
    [
        ("/", "/"),  # a namespace of its own
        ("/docker/1f", "/docker/1f"),  # version 1 without a namespace
        ("/docker/1f/app", "/docker/1f"),
        ("/../sibling", "/"),  # a group outside the namespace
        ("/docker/1f", "/kubepods/2e"),
    ],
)
def test_a_container_finds_its_group_at_the_mount(tmp_path: Path, group: str, root: str) -> None:
    process = process_of(tmp_path, V2, {"cpu.max": "150000 100000"}, group=group, root=root)
    assert read_quota(process) == 1.5


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": ""},
        {"cpu.max": "100000"},
        {"cpu.max": "0 100000"},
        {"cpu.max": "100000 0"},
        {"cpu.max": "-5 100000"},
        {"cpu.max": "1e5 100000"},
        {"cpu.max": "100000 100000 100000"},
        {"cpu.max": "ein Prozessor"},
        {"cpu.max/not_a_file": ""},
    ],
)
def test_a_quota_that_cannot_be_parsed_is_ignored(tmp_path: Path, files: dict[str, str]) -> None:
    assert read_quota(process_of(tmp_path, V2, files)) is None


@pytest.mark.parametrize("text", ["", "31 23\n", "no separator at all\n", "a b c d e - cgroup2\n"])
def test_a_mount_table_that_cannot_be_parsed_is_ignored(tmp_path: Path, text: str) -> None:
    process = process_of(tmp_path, V2, {"cpu.max": "100000 100000"})
    (process / "mountinfo").write_text(text)
    assert read_quota(process) is None


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    counted = count_processors(tmp_path)
    assert counted.quota is None
    assert 1 <= counted.usable == counted.affinity <= counted.machine == os.cpu_count()


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [(64, None, 64), (64, 2.0, 2), (64, 1.5, 2), (64, 1.0, 1), (64, 0.5, 1), (2, 8.0, 2)],
)
def test_the_usable_processors_are_within_affinity_and_quota(
    affinity: int, quota: float | None, expected: int
) -> None:
    assert Processors(64, affinity, quota).usable == expected


@pytest.mark.parametrize(
    ("num_processors", "http_workers", "expected"), [(1, 1, 1), (2, 1, 2), (64, 1, 8), (2, 4, 1)]
)
def test_picture_processes_follow_the_usable_processors(
    num_processors: int, http_workers: int, expected: int
) -> None:
    settings = Settings(picture_processes=None, http_workers=http_workers)
    assert share_of_http_process(settings, num_processors) == expected


PROGRAM = "from app.processors import count_processors; print(count_processors())"
JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@pytest.mark.processes
@pytest.mark.parametrize("quota", [0.5, 1.0])
def test_a_real_quota_is_found(quota: float) -> None:
    """Needs the right to make control groups: root, and a system that hands them on."""
    try:
        with group_with_quota(quota) as group:
            command = ["sh", "-c", JOIN, str(group), sys.executable, "-c", PROGRAM]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    except NoQuota as reason:
        pytest.skip(str(reason))
    affinity = len(os.sched_getaffinity(0))
    assert output.strip() == str(Processors(os.cpu_count() or 1, affinity, quota))


@pytest.mark.processes
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_bound_to_one_processor_uses_one() -> None:
    bound = min(os.sched_getaffinity(0))
    program = f"import os; os.sched_setaffinity(0, [{bound}]); {PROGRAM}"
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "affinity=1," in output
