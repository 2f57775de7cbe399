"""Counts the processors that this process may use: its affinity, and the quota of its container."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROCESS = Path("/proc/self")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Processors:
    """The processors of a machine, and the part of them that this process may use.

    Attributes:
        machine: number of processors of the machine.
        affinity: number of processors on which the system schedules this process.
        quota: processors whose full time the control groups allow, such as 1.5; `None` without a
            quota.
    """

    machine: int
    affinity: int
    quota: float | None = None

    @property
    def usable(self) -> int:
        """Number of threads that can compute at once, at least 1; a fraction counts as one more.

        >>> Processors(machine=64, affinity=64, quota=1.5).usable
        2
        """
        if self.quota is None:
            return self.affinity
        # Rounded up, since fewer threads could not use the whole quota.
        return max(1, min(self.affinity, math.ceil(self.quota)))


def count_processors(process: Path = PROCESS) -> Processors:
    """Count the processors of this machine and of this process.

    Args:
        process: directory with the process's `cgroup` and `mountinfo`; without these files, as on
            macOS, there is no quota.
    """
    machine = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    return Processors(machine, affinity, read_quota(process))


def read_quota(process: Path = PROCESS) -> float | None:
    """Return the smallest quota of the process's control groups and of all groups above them.

    Files that are missing or that cannot be parsed count as no quota.

    Args:
        process: directory with the process's `cgroup` and `mountinfo`.

    Returns:
        Processors whose full time is allowed, above 0; `None` without a quota.
    """
    mounts = [mount for line in _lines(process / "mountinfo") if (mount := _parse_mount(line))]
    groups = dict(_groups(_lines(process / "cgroup")))
    quotas = [
        quota
        for mount in mounts
        if mount.version in groups
        for directory in mount.directories_of(groups[mount.version])
        if (quota := _quota_of(directory, mount.version)) is not None
    ]
    return min(quotas, default=None)


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy of control groups that can limit processor time.

    Attributes:
        version: 1 or 2, of the interface.
        root: group that is mounted; in a container often the container's own.
        point: directory at which it is mounted.
    """

    version: int
    root: PurePosixPath
    point: Path

    def directories_of(self, group: PurePosixPath) -> Iterator[Path]:
        """Yield the directory of a group, then those of the groups above it up to the mount."""
        inside = group.relative_to(self.root) if group.is_relative_to(self.root) else None
        # A group outside the mount cannot be read; what is mounted is then the container's group.
        if inside is None or ".." in inside.parts:
            inside = PurePosixPath()
        yield from (self.point / part for part in (inside, *inside.parents))


def _parse_mount(line: str) -> _Mount | None:
    """Return the mount that a line of `mountinfo` describes, if it can limit processor time."""
    before, separator, after = line.partition(" - ")
    fields, kind = before.split(), after.split()
    if not separator or len(fields) < 5 or len(kind) < 3:
        return None
    root, point = PurePosixPath(_unescape(fields[3])), Path(_unescape(fields[4]))
    if kind[0] == "cgroup2":
        return _Mount(2, root, point)
    return _Mount(1, root, point) if kind[0] == "cgroup" and "cpu" in kind[2].split(",") else None


def _unescape(path: str) -> str:
    r"""Return a path of `mountinfo`, in which a space is written as `\040`."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), path)


def _groups(lines: list[str]) -> Iterator[tuple[int, PurePosixPath]]:
    """Yield the version of an interface and the group, from the lines of `cgroup`."""
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield 2, PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            yield 1, PurePosixPath(path)


def _quota_of(directory: Path, version: int) -> float | None:
    """Return the quota that a group itself has."""
    if version == 2:
        words = _words(directory / "cpu.max")
    else:
        words = [*_words(directory / "cpu.cfs_quota_us"), *_words(directory / "cpu.cfs_period_us")]
    # Without a quota, the first word is `max`, or -1 in version 1.
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        return None
    quota_us, period_us = map(int, words)
    return quota_us / period_us if quota_us and period_us else None


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
