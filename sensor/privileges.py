"""Gives up every privilege once the interfaces are open: another user, no capability, and no way to get one back.

What is still needed afterwards needs no privilege: reading the ring, sockets to sinks, files of the sensor's own user.

References
----------
capabilities(7), prctl(2), seccomp(2); <linux/capability.h>, <linux/seccomp.h>, <linux/audit.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import pwd
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sensor.errors import Mistake, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 24, 38, 47
_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_LAST_CAPABILITY: Final = 63
_FALLBACK: Final = "nobody"
_PREFERRED: Final = "swarmtap"

_SET_MODE_FILTER, _TSYNC = 1, 1
_RET_ALLOW, _RET_EPERM = 0x7FFF0000, 0x00050000 | errno.EPERM
_OTHER_ABI: Final = 0x40000000  # calls of x32, which would pass by their other numbers
# By machine: AUDIT_ARCH, the number of seccomp, and what a sensor never does: other programs, tracing, mounting,
# modules, kexec, bpf, key rings, other namespaces, the clock.
_MACHINES: Final = {
    "x86_64": (
        0xC000003E,
        317,
        (59, 322, 101, 165, 166, 155, 175, 313, 176, 246, 320, 321, 248, 249, 250, 272, 308, 164, 227, 310, 311, 169),
    ),
    "aarch64": (
        0xC00000B7,
        277,
        (221, 281, 117, 40, 39, 41, 105, 273, 106, 104, 294, 280, 217, 218, 219, 97, 268, 170, 112, 270, 271, 142),
    ),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to become."""

    name: str
    uid: int
    gid: int


def person(name: str) -> Person:
    """Return the user to become; without a name `swarmtap`, or `nobody` if there is none.

    Raises
    ------
    OperatorError
        If there is no such user, or it is root.
    """
    for wish in (name,) if name else (_PREFERRED, _FALLBACK):
        try:
            found = pwd.getpwuid(int(wish)) if wish.isdigit() else pwd.getpwnam(wish)
        except KeyError:
            continue
        if found.pw_uid == 0:
            raise OperatorError(Mistake("--user", f'"{wish}" is root', "name a user without privileges"))
        return Person(found.pw_name, found.pw_uid, found.pw_gid)
    raise OperatorError(Mistake("--user", f'there is no user "{name or _FALLBACK}"', "name one that exists"))


def lift() -> None:
    """Take up the capabilities that the program file permits.

    With `cap_net_raw=p` it starts even where it may not have it.

    Raises
    ------
    OSError
        If the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), ctypes.create_string_buffer(24)
    _check(libc.capget(header, sets))
    words = list(struct.unpack("=6I", sets.raw))  # effective, permitted, inheritable; then their upper halves
    words[0], words[3] = words[0] | words[1], words[3] | words[4]
    _check(libc.capset(header, struct.pack("=6I", *words)))


def without(work: Callable[[], object]) -> None:
    """Do something in a thread without capabilities: threads that it starts, as libraries do, have none either.

    Raises
    ------
    Exception
        What the work raises.
    """
    raised: list[BaseException] = []

    def bare() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            _check(libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)))
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again, where it is waited for
            raised.append(error)

    thread = threading.Thread(target=bare, name="without")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def drop(who: Person | None) -> None:
    """Become somebody (None: stay who we are) without any capability, for good, in every thread.

    Raises
    ------
    OSError
        If the kernel refuses; nothing may be watched then.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if who is not None and os.geteuid() == 0:
        for capability in range(_LAST_CAPABILITY + 1):
            # Beyond the last one the kernel knows, or in a container without it, there is nothing to drop.
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0))
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(libc.capset(header, bytes(24)))
    _forbid(libc)
    for thread in Path("/proc/self/task").iterdir():
        facts = status(f"self/task/{thread.name}")
        if any(int(facts[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")):
            raise OSError(errno.EPERM, f"the thread {facts['Name']} keeps its capabilities")


def status(pid: int | str = "self") -> dict[str, str]:
    """Return what /proc says of a process.

    Raises
    ------
    OSError
        If there is no such process.
    """
    lines = Path(f"/proc/{pid}/status").read_bytes().decode("utf-8", "replace").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _forbid(libc: ctypes.CDLL) -> None:
    """Forbid what a sensor never does; it also gives `no_new_privs` to threads that were there before."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return
    audit, number, calls = machine
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, audit), (0x06, 0, 0, _RET_EPERM), (0x20, 0, 0, 0)]
    code += [(0x35, len(calls) + 1, 0, _OTHER_ABI)]
    code += [(0x15, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    code += [(0x06, 0, 0, _RET_ALLOW), (0x06, 0, 0, _RET_EPERM)]
    held = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
    program = struct.pack("@HP", len(code), ctypes.addressof(held))
    result = libc.syscall(number, _SET_MODE_FILTER, _TSYNC, program)
    # A kernel without seccomp has nothing to forbid with; everything else is in place.
    if result != 0 and ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):
        _check(-1)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
