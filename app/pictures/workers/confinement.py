"""Removes the rights of a picture process before it opens a file: files, network and programs.

A decoder that a malicious file has taken over can then only compute, use its memory and answer. Two
parts of Linux enforce this independently: seccomp rejects all system calls except a short list, and
Landlock denies every path and TCP. Neither needs privileges.
The reasons are in `docs/adr/0031-picture-process-confinement.md`.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
_PROT_EXEC, _CLONE_THREAD, _RLIMIT_CPU = 0x4, 0x10000, 0

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # system calls of Landlock, equal on all machines
_VERSION_OF_LANDLOCK = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""The number of file rights per version of Landlock; 16 from version 5 on."""

_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_ANY, _RETURN = 0x20, 0x15, 0x45, 0x06
_SET_FILTER, _ALL_THREADS = 1, 1


@dataclass(frozen=True)
class Confinement:
    """The restrictions that the kernel enforces on this process.

    Attributes:
        landlock: the process cannot open paths or make TCP connections.
        seccomp: the process cannot open files or sockets or start processes.
    """

    landlock: bool
    seccomp: bool


@dataclass(frozen=True)
class _Check:
    """A condition on the lower 32 bits of one argument of a system call."""

    argument: int
    kind: Literal["equals", "has", "lacks"]
    value: int


@dataclass(frozen=True)
class _Machine:
    """The architecture's number in seccomp, and its numbers of system calls."""

    architecture: int
    seccomp: int
    clone: int
    mmap: int
    mprotect: int
    prlimit: int
    tgkill: int
    harmless: tuple[int, ...]


def _listed(numbers: str) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers.split())


_CLONE3 = 435  # equal on all machines
_X86_64 = _Machine(
    architecture=0xC000003E,
    seccomp=317,
    clone=56,
    mmap=9,
    mprotect=10,
    prlimit=302,
    tgkill=234,
    # read, write, close, lseek, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, readv,
    # writev, sched_yield, mremap, madvise, nanosleep, getpid, exit, gettimeofday, getrusage, times,
    # sigaltstack, gettid, futex, sched_getaffinity, set_tid_address, restart_syscall,
    # clock_gettime, clock_getres, clock_nanosleep, exit_group, set_robust_list, getrandom, rseq
    harmless=_listed(
        """
        0 1 3 8 11 12 13 14 15 19 20 24 25 28 35 39 60 96 98 100 131 186 202 204 218 219 228 229 230
        231 273 318 334
        """
    ),
)
_AARCH64 = _Machine(
    architecture=0xC00000B7,
    seccomp=277,
    clone=220,
    mmap=222,
    mprotect=226,
    prlimit=261,
    tgkill=131,
    harmless=_listed(
        """
        63 64 57 62 215 214 134 135 139 65 66 124 216 233 101 172 93 169 165 153 132 178 98 123 96
        128 113 114 115 94 99 278 293
        """
    ),
)
_MACHINES: Mapping[str, _Machine] = {"x86_64": _X86_64, "aarch64": _AARCH64}


def confine() -> Confinement:
    """Remove access to files, network and programs for good, as far as the kernel supports it.

    Call this after everything has been imported and read.

    Returns:
        The restrictions in force; none on macOS, or on a kernel without Landlock and seccomp.
    """
    # The order matters: the seccomp filter rejects the system calls of Landlock.
    return Confinement(landlock=restrict_paths(), seccomp=filter_calls())


def _libc() -> ctypes.CDLL | None:
    """Return the C library after giving up new privileges; `None` if that fails."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    # Both Landlock and seccomp need this flag in a process without privileges.
    return libc if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 else None


def restrict_paths() -> bool:
    """Enforce a Landlock ruleset that handles every right and grants none, for this thread.

    Returns:
        Whether the kernel enforces it.
    """
    if (libc := _libc()) is None:
        return False
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_OF_LANDLOCK)
    if version < 1:
        return False
    files = 2 ** _FILE_RIGHTS.get(version, 16) - 1
    network = 0b11 if version >= 4 else 0  # TCP bind and connect
    scopes = 0b11 if version >= 6 else 0  # abstract Unix sockets, signals to other processes
    rights = struct.pack("=QQQ", files, network, scopes)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, rights, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    is_restricted = bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    os.close(ruleset)
    return is_restricted


class _Program(ctypes.Structure):
    """The kernel's `struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def filter_calls() -> bool:
    """Make system calls that are not on the list fail, for all threads.

    Returns:
        Whether the kernel enforces it.
    """
    libc, machine = _libc(), _MACHINES.get(platform.machine())
    if libc is None or machine is None:
        return False
    instructions = b"".join(_instructions(machine))
    program = _Program(len(instructions) // 8, instructions)
    call = machine.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)
    return bool(libc.syscall(*call) == 0)


def _instructions(machine: _Machine) -> Iterable[bytes]:
    """Yield the filter: one check for each allowed call; all other calls fail with EPERM."""
    yield _step(_LOAD, 4)  # the architecture, because call numbers depend on it
    yield _step(_JUMP_IF_EQUAL, machine.architecture, 1, 0)
    yield _step(_RETURN, _KILL_PROCESS)
    yield _step(_LOAD, 0)  # the number of the call
    for number in machine.harmless:
        yield from _allowed(number)
    for number in (machine.mmap, machine.mprotect):  # no new code
        yield from _allowed(number, _Check(2, "lacks", _PROT_EXEC))
    yield from _allowed(machine.clone, _Check(0, "has", _CLONE_THREAD))
    own_processor_time = _Check(0, "equals", 0), _Check(1, "equals", _RLIMIT_CPU)
    yield from _allowed(machine.prlimit, *own_processor_time)
    # `abort` sends its signal with tgkill.
    yield from _allowed(machine.tgkill, _Check(0, "equals", os.getpid()))
    # The filter cannot see the flags of clone3. ENOSYS makes the C library use clone instead.
    yield _step(_JUMP_IF_EQUAL, _CLONE3, 0, 1)
    yield _step(_RETURN, _ERRNO | errno.ENOSYS)
    yield _step(_RETURN, _ERRNO | errno.EPERM)


def _allowed(number: int, *checks: _Check) -> Iterable[bytes]:
    """Yield the steps that allow one system call if all checks hold; its number must be loaded."""
    yield _step(_JUMP_IF_EQUAL, number, 0, 2 * len(checks) + 1 + bool(checks))
    for index, check in enumerate(checks):
        to_refusal = 2 * (len(checks) - index) - 1
        yield _step(_LOAD, 16 + 8 * check.argument)
        jump = _JUMP_IF_EQUAL if check.kind == "equals" else _JUMP_IF_ANY
        when_true, when_false = (to_refusal, 0) if check.kind == "lacks" else (0, to_refusal)
        yield _step(jump, check.value, when_true, when_false)
    yield _step(_RETURN, _ALLOW)
    if checks:
        yield _step(_RETURN, _ERRNO | errno.EPERM)


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    """Return a `struct sock_filter` of the kernel; jumps count from the next step."""
    return struct.pack("=HBBI", code, when_true, when_false, value)
