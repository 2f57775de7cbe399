"""Runs programs under a quota of processor time, where this system lets us set one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_US = 100_000
_ROOT = Path("/sys/fs/cgroup")


class NoQuota(Exception):
    """This system does not let this process make a control group with a quota."""


@contextmanager
def group_with_quota(num_processors: float) -> Iterator[Path]:
    """Make a control group with a quota for the block, and yield its directory.

    A program joins it when its process id is written to `cgroup.procs`. All its programs must have
    ended at the end of the block.

    Raises:
        NoQuota: there is no hierarchy for processor time, or no right to change it.
    """
    hierarchy = _ROOT / "cpu" if (_ROOT / "cpu" / "cpu.cfs_quota_us").is_file() else _ROOT
    group = hierarchy / f"kosmos2-test-{os.getpid()}"
    quota_us = round(num_processors * PERIOD_US)
    try:
        group.mkdir()
    except OSError as error:
        raise NoQuota(f"cannot make {group}: {error.strerror}") from None
    try:
        _write_quota(group, quota_us)
        yield group
    finally:
        group.rmdir()


def _write_quota(group: Path, quota_us: int) -> None:
    # The kernel makes these files with the directory; in version 2, only where the group above it
    # hands the controller on.
    v1, v2 = group / "cpu.cfs_quota_us", group / "cpu.max"
    try:
        if v1.is_file():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            v1.write_text(str(quota_us))
        elif v2.is_file():
            v2.write_text(f"{quota_us} {PERIOD_US}")
        else:
            raise NoQuota(f"{group} has no file for a quota")
    except OSError as error:
        raise NoQuota(f"cannot set the quota of {group}: {error.strerror}") from None
