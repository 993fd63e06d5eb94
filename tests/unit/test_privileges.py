"""Whom to become; that everything is really given up is seen in a process of its own, here and in tests/live."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sensor import privileges
from sensor.errors import OperatorError

DROPPED = """if True:
    import errno, os, socket, threading
    from sensor import privileges
    seen = threading.Event()
    def look():
        seen.wait()
        print("elder", privileges.status("thread-self")["NoNewPrivs"])
    elder = threading.Thread(target=look)
    elder.start()
    privileges.drop(privileges.person("nobody"))
    seen.set()
    elder.join()
    facts = privileges.status()
    print(facts["Uid"].split(), facts["CapEff"], facts["CapPrm"], facts["CapBnd"], facts["NoNewPrivs"])
    run, rise, capture = lambda: os.execv("/bin/true", ["true"]), lambda: os.setuid(0), lambda: socket.socket(17)
    for what in (run, rise, capture):
        try:
            what()
        except OSError as error:
            print(errno.errorcode[error.errno])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_nothing_comes_back() -> None:
    done = subprocess.run([sys.executable, "-c", DROPPED], capture_output=True, text=True, check=True, timeout=60)
    zero = "0" * 16
    assert done.stdout.splitlines() == [
        "elder 1",
        f"['65534', '65534', '65534', '65534'] {zero} {zero} {zero} 1",
        *["EPERM"] * 3,
    ]


# Arrow's allocator starts a thread of its own, and reads no variable in a program whose file permits a capability.
IMPORTED = """
import os
from importlib import import_module
from sensor import privileges
privileges.without(lambda: import_module("pyarrow"))
threads = [privileges.status(f"self/task/{thread}") for thread in os.listdir("/proc/self/task")]
held = [int(facts["CapPrm"], 16) > 0 for facts in threads if facts["Name"] == "jemalloc_bg_thd"]
print(*held, int(privileges.status()["CapPrm"], 16) > 0)
try:
    privileges.without(lambda: 1 / 0)
except ZeroDivisionError:
    print("told")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have something to do without")
def test_threads_of_libraries_get_nothing() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JE_ARROW")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, timeout=60, env=kept
    )
    assert done.stdout.splitlines() == ["False True", "told"]


# A program file with `cap_net_raw=p` starts like this: permitted, and not in effect.
LIFTED = """
import ctypes, struct
from sensor import privileges
libc, header, sets = ctypes.CDLL(None), struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
assert libc.capget(header, sets) == 0
words = list(struct.unpack("=6I", sets.raw))
words[0] = words[3] = 0
assert libc.capset(header, struct.pack("=6I", *words)) == 0
before = privileges.status()
privileges.lift()
after = privileges.status()
print(int(before["CapEff"], 16), after["CapEff"] == before["CapPrm"] == after["CapPrm"])
"""


def test_what_is_permitted_is_taken_up() -> None:
    done = subprocess.run([sys.executable, "-c", LIFTED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0 True\n"


def test_whom_to_become() -> None:
    assert privileges.person("65534").uid == privileges.person("nobody").uid == 65534
    assert privileges.person("").name in {"swarmtap", "nobody"}


@pytest.mark.parametrize("name", ["root", "0"])
def test_root_is_nobody_to_become(name: str) -> None:
    with pytest.raises(OperatorError, match="is root; name a user without privileges"):
        privileges.person(name)


def test_somebody_who_does_not_exist() -> None:
    with pytest.raises(OperatorError, match='--user: there is no user "no-such-user"; name one that exists'):
        privileges.person("no-such-user")
