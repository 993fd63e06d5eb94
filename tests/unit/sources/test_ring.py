"""What the operator is told when an interface cannot be captured; packets are captured in tests/live."""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from sensor.errors import OperatorError
from sensor.sources import ring
from sensor.sources.ring import Ring, RingFacts, RingOptions, shared_rings


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(OperatorError) as told, Ring("nosuch0", 0, RingOptions()):
        pass
    assert str(told.value).startswith("nosuch0: is not an interface of this machine; there are ")
    assert "lo" in str(told.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_without_the_permission() -> None:
    code = """if True:
        import os
        from sensor.sources.ring import Ring, RingOptions
        os.setresuid(65534, 65534, 65534)
        Ring("lo", 0, RingOptions()).__enter__()
    """
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stderr
    assert "lo: may not be captured by this user; start as root, or with the capability CAP_NET_RAW" in told


@pytest.mark.parametrize(
    ("number", "right"),
    [
        (errno.EPERM, "CAP_NET_RAW"),
        (errno.ENODEV, "ip link"),
        (errno.ENOMEM, "--ring-mib"),
        (errno.ENETDOWN, "ip link set eth0 up"),
        (errno.EIO, ""),
    ],
)
def test_every_refusal_says_what_would_be_right(number: int, right: str) -> None:
    mistake = ring._mistake("eth0", OSError(number, os.strerror(number)))
    assert mistake.where == "eth0"
    assert right in mistake.right


def test_rings_of_one_interface_share_a_group_and_its_number() -> None:
    first, second = shared_rings(("a", "b"), RingOptions(rings=2))
    assert [(each.interface, each._source) for each in first] == [("a", 0), ("b", 1)]
    assert [each._group for each in first] == [each._group for each in second]
    assert first[0]._group != first[1]._group
    assert shared_rings(("a",), RingOptions())[0][0]._group is None


def test_what_rings_of_one_interface_saw_is_added_up() -> None:
    both = RingFacts(packets=1, drops=2, utilization=0.5, last_packet_ns=7, is_up=True) + RingFacts(
        packets=3, utilization=0.25, last_packet_ns=5
    )
    assert both == RingFacts(packets=4, drops=2, utilization=0.5, last_packet_ns=7, is_up=False)


def test_a_ring_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        Ring("lo", 0, RingOptions()).fileno()


def test_a_ring_of_no_chosen_size_is_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 64 << 20 <= ring._fitting_bytes("lo") <= 256 << 20
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 65536)  # 256 MiB of memory
    assert ring._fitting_bytes("lo") == 16 << 20


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_blocks_stay_ours_until_they_are_given_back() -> None:
    with Ring("lo", 0, RingOptions(blocks=4, block_ms=5, mdns=False, port=1)) as opened:
        taken = []
        for _ in range(8):
            with socket.socket() as made, suppress(OSError):
                made.connect(("127.0.0.1", 1))  # an attempt and its refusal
            select.select([opened], [], [], 1.0)
            time.sleep(0.03)
            batch = opened.batch()
            taken.append(0 if batch is None else len(batch.frames))
        assert taken[:2] == [2, 2]
        assert taken[4:] == [0] * 4  # all four blocks are ours, and the kernel has none
        assert opened.is_crowded
        before = opened.facts()
        assert before.drops > 0
        assert before.utilization == 1.0
        opened.give_back(3)
        assert opened.facts().utilization == 0.75
        opened.give_back(None)
        assert opened.facts().utilization == 0.0
        assert not opened.is_crowded
        with socket.socket() as made, suppress(OSError):
            made.connect(("127.0.0.1", 1))
        time.sleep(0.1)
        batch = opened.batch()
        assert batch is not None
        assert len(batch.frames) == 2
        assert opened.facts().drops == before.drops
