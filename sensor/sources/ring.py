"""A live interface to batches of frames: AF_PACKET with a TPACKET_V3 ring, whole blocks at a time.

The kernel fills blocks with what its filter let through; one that is full, or has waited for `block_ms`, is ours. It is
read where it lies, and given back when nothing in it is needed any more; who needs it longer than the ring can spare it
takes a copy. What the kernel had no room for it counts, and so do we. No privilege is needed after the ring is open,
not even when the interface goes away and returns.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from sensor.errors import Mistake, OperatorError
from sensor.kernels import blocks
from sensor.schema import Batch, Frames
from sensor.sources import filter as bpf
from sensor.wire import DO_PORT

if TYPE_CHECKING:
    import numpy.typing as npt

    from sensor.schema import Bytes

# <linux/if_packet.h>
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION, _FANOUT = 1, 5, 6, 10, 18
_MR_PROMISC: Final = 1
_TPACKET_V3: Final = 2
_FANOUT_HASH, _FANOUT_DEFRAG = 0, 0x8000
_STATUS_AT, _LENGTH_AT, _PACKETS_AT = 8, 20, 12  # in struct tpacket_block_desc
_USER: Final = 1
# <asm-generic/socket.h>, <linux/if_ether.h>, <linux/sockios.h>, <linux/if.h>, <linux/ethtool.h>
_SO_ATTACH_FILTER: Final = 26
_ETH_P_ALL: Final = 3
_SIOCGIFFLAGS, _SIOCGIFHWADDR, _SIOCETHTOOL = 0x8913, 0x8927, 0x8946
_IFF_LOOPBACK, _IFF_RUNNING = 0x8, 0x40
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_ETHTOOL_GGRO, _ETHTOOL_GFLAGS, _ETH_FLAG_LRO = 0x2B, 0x25, 1 << 15
_NAME_MAX: Final = 15
_LEAST_BLOCKS: Final = 4
# A ring whose size nobody chose: in bytes at least and at most, and the most of the machine's memory.
_LEAST_BYTES, _MOST_BYTES, _MEMORY_PARTS = 64 << 20, 256 << 20, 16
_UNKNOWN_MBIT: Final = 1000  # a link that does not say how fast it is


@dataclass(frozen=True, slots=True)
class RingOptions:
    """How an interface is captured.

    `blocks` 0 is as many as hold a second of the link's rate, within bounds. A packet waits for at most three times
    `block_ms` in a block that does not fill. `rings` sockets share the
    interface's flows by a hash that is the same for both directions.
    """

    block_bytes: int = 1 << 20
    blocks: int = 0
    block_ms: int = 50
    batch_bytes: int = 8 << 20
    rings: int = 1
    port: int = DO_PORT
    mdns: bool = True
    """Let mDNS through, too."""
    any_port: bool = False
    """Let DO's handshake through on any TCP port, and then the flow that it began."""


@dataclass(frozen=True, slots=True)
class RingFacts:
    """What a ring has seen since it was opened; counters only grow."""

    packets: int = 0
    bytes: int = 0
    received: int = 0
    """Packets that passed the filter, as the kernel counts them: those that came here and those it dropped."""
    drops: int = 0
    freezes: int = 0
    utilization: float = 0.0
    last_packet_ns: int = 0
    is_up: bool = False
    link_packets: int = 0
    """Frames that the interface received, whatever they were; only as the system counts them."""

    def __add__(self, other: RingFacts) -> RingFacts:
        """Return what two rings of one interface have seen together."""
        return RingFacts(
            packets=self.packets + other.packets,
            bytes=self.bytes + other.bytes,
            received=self.received + other.received,
            drops=self.drops + other.drops,
            freezes=self.freezes + other.freezes,
            utilization=max(self.utilization, other.utilization),
            last_packet_ns=max(self.last_packet_ns, other.last_packet_ns),
            is_up=self.is_up and other.is_up,
            link_packets=max(self.link_packets, other.link_packets),
        )


class Ring:
    """One interface's ring: `with Ring("eth0", 0, options) as ring: while batch := ring.batch(): …`."""

    def __init__(self, interface: str, source: int, options: RingOptions, group: int | None = None) -> None:
        self.interface = interface
        self.notices: list[str] = []
        self._source = source
        self._options = options
        self._group = group
        self._made: socket.socket | None = None
        self._mapped: mmap.mmap | None = None
        self._statuses: npt.NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        self.data: Bytes = np.zeros(0, dtype=np.uint8)
        """All blocks, one after the other, as the kernel writes them."""
        self._frames = Frames.empty()
        self._taken: deque[tuple[int, int]] = deque()  # blocks that are still ours, and the number of their last frame
        self._blocks = 0
        self._next = 0
        self._index = 0
        self._is_loopback = False
        self._cursor = np.zeros(4, dtype=np.int64)
        self._received = self._drops = self._freezes = 0
        self._full = 0.0

    def __enter__(self) -> Self:
        """Open the ring and let packets in.

        Raises
        ------
        OperatorError
            If there is no such Ethernet interface, or we may not capture, or there is no memory for the ring.
        """
        try:
            self._open()
        except OSError as error:
            self.__exit__()
            raise OperatorError(_mistake(self.interface, error)) from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close socket and ring."""
        self._statuses, self.data = np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint8)
        if self._mapped is not None:
            with suppress(BufferError):  # somebody still looks into it, and it goes with them
                self._mapped.close()
        if self._made is not None:
            self._made.close()
        self._mapped = self._made = None

    @property
    def _socket(self) -> socket.socket:
        if self._made is None:
            raise RuntimeError("the ring is not open")
        return self._made

    @property
    def _map(self) -> mmap.mmap:
        if self._mapped is None:
            raise RuntimeError("the ring is not open")
        return self._mapped

    def fileno(self) -> int:
        """Return the socket to poll: readable when a block is ready, in error when the interface went down."""
        return self._socket.fileno()

    @property
    def quiet_ns(self) -> int:
        """How long after its capture a packet can still be hidden in a block."""
        return 3 * self._options.block_ms * 1_000_000

    def batch(self) -> Batch | None:
        """Return the frames of the blocks that are ready, up to `batch_bytes`; None if there are none.

        They are good until the next call, and their bytes, which are the whole ring, until they are given back.

        Raises
        ------
        nothing
        """
        # The kernel makes a packet's bytes visible before its block's status; reading the status first keeps that.
        ready: list[int] = []
        spans: list[int] = []
        size = room = 0
        for step in range(self._blocks - len(self._taken)):
            at = (self._next + step) % self._blocks
            if not int(self._statuses[at]) & _USER or size >= self._options.batch_bytes:
                break
            start = at * self._options.block_bytes
            (packets,) = struct.unpack_from("=I", self._map, start + _PACKETS_AT)
            (length,) = struct.unpack_from("=I", self._map, start + _LENGTH_AT)
            length = min(length, self._options.block_bytes)
            ready.append(at)
            spans += (start, start + length, 0)
            size += length
            room += packets
        if not ready:
            return None
        if room > len(self._frames):
            self._frames = Frames.empty(room)
        told = np.array(spans, dtype=np.int64)
        count = blocks.walk_blocks(self.data, told, self._source, int(self._is_loopback), self._cursor, self._frames)
        self._taken += zip(ready, told[2::3].tolist(), strict=True)
        self._next = (self._next + len(ready)) % self._blocks
        return Batch(self._frames[:count], self.data)

    def give_back(self, number: int | None) -> None:
        """Give back the blocks whose frames all have lower numbers than `number`; None: all that were taken.

        Raises
        ------
        nothing
        """
        while self._taken and (number is None or self._taken[0][1] < number):
            self._statuses[self._taken.popleft()[0]] = 0

    @property
    def taken(self) -> float:
        """The share of the ring that is ours."""
        return len(self._taken) / max(1, self._blocks)

    @property
    def is_crowded(self) -> bool:
        """Whether so many blocks are ours that the kernel may soon have none."""
        return self.taken > 0.5  # noqa: PLR2004 - a half

    def facts(self) -> RingFacts:
        """Return what was seen so far; the one reader of the kernel's counters, which it resets at each look.

        Raises
        ------
        nothing
        """
        packets, drops, freezes = struct.unpack("=III", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        self._received += packets
        self._drops += drops
        self._freezes += freezes
        self._full = float(np.count_nonzero(self._statuses & _USER)) / max(1, self._blocks)
        return RingFacts(
            packets=int(self._cursor[blocks.NUMBER]),
            bytes=int(self._cursor[blocks.BYTES_SEEN]),
            received=self._received - int(self._cursor[blocks.SKIPPED]),
            drops=self._drops,
            freezes=self._freezes,
            utilization=self._full,
            last_packet_ns=int(self._cursor[blocks.LAST_NS]),
            is_up=self.is_up(),
            link_packets=_told_number(self.interface, "statistics/rx_packets"),
        )

    def is_up(self) -> bool:
        """Return whether the interface has a link.

        Raises
        ------
        nothing
        """
        try:
            return bool(_link_flags(self._socket, self.interface) & _IFF_RUNNING)
        except OSError:
            return False

    def mend(self) -> bool:
        """Take notice of an error of the socket; if the interface was replaced, listen to the new one of its name.

        Returns
        -------
        bool
            Whether the interface was replaced.
        """
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            index = socket.if_nametoindex(self.interface)
        except OSError:
            return False
        if index == self._index:
            return False
        try:
            self._bind(index)
        except OSError:
            return False  # it went again
        return True

    def _open(self) -> None:
        index = _index(self.interface)
        # No protocol yet: nothing may come in before the filter is in place.
        self._made = made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        kind = struct.unpack_from("=16sH", ioctl(made, _SIOCGIFHWADDR, _request(self.interface)))[1]
        if kind not in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK):
            read = f"is not an Ethernet interface (its hardware type is {kind})"
            raise OperatorError(
                Mistake(self.interface, read, "watch the interface that the mirror port is plugged into")
            )
        self._is_loopback = bool(_link_flags(made, self.interface) & _IFF_LOOPBACK)
        made.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        self._attach(())
        self._blocks = self._ask_for_blocks(made)
        self._mapped = mmap.mmap(made.fileno(), self._blocks * self._options.block_bytes, mmap.MAP_SHARED)
        self.data = np.frombuffer(self._map, dtype=np.uint8)
        words = self.data.view(np.uint32).reshape(self._blocks, -1)
        self._statuses = words[:, _STATUS_AT // 4]
        self._bind(index)
        if self._group is not None:
            share = self._group & 0xFFFF | (_FANOUT_HASH | _FANOUT_DEFRAG) << 16
            made.setsockopt(_SOL_PACKET, _FANOUT, struct.pack("=I", share))
        self.notices += _offloads(made, self.interface)

    def admit(self, pairs: tuple[tuple[int, int], ...]) -> int:
        """Let flows on other ports through, told by their two ports, instead of those of the last call.

        Returns
        -------
        int
            How many are let through: less than were given if the kernel has no room for more; the last ones stay.
        """
        while True:
            try:
                self._attach(pairs)
            except OSError:
                if not pairs:
                    return 0
                pairs = pairs[(len(pairs) + 1) // 2 :]
                continue
            return len(pairs)

    def _attach(self, pairs: tuple[tuple[int, int], ...]) -> None:
        """Put the filter in place; the kernel replaces one by the other between two packets."""
        options = self._options
        program = bpf.program(options.port, bpf.Wanted(options.mdns, options.any_port, pairs))
        code = ctypes.create_string_buffer(bpf.packed(program))
        shape = struct.pack("@HP", len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, shape)

    def _ask_for_blocks(self, made: socket.socket) -> int:
        """Return how many blocks the kernel granted: as many as asked for, or else a half, or a quarter."""
        size = self._options.block_bytes
        wished = count = self._options.blocks or _fitting_bytes(self.interface) // size
        while True:
            wish = struct.pack("=7I", size, count, size, count, self._options.block_ms, 0, 0)
            try:
                made.setsockopt(_SOL_PACKET, _RX_RING, wish)
            except OSError as error:
                if error.errno != errno.ENOMEM or count <= _LEAST_BLOCKS:
                    raise
                count //= 2
                continue
            less = "" if count == wished else f" instead of {wished * size >> 20}: there was no memory for more"
            self.notices.append(f"{self.interface}: the ring has {count * size >> 20} MiB{less}")
            return count

    def _bind(self, index: int) -> None:
        self._socket.bind((self.interface, _ETH_P_ALL))
        with suppress(OSError):  # the loopback has no such mode, and needs none
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("=iHH8s", index, _MR_PROMISC, 0, b""))
        self._index = index


def shared_rings(interfaces: tuple[str, ...], options: RingOptions) -> list[list[Ring]]:
    """Return rings, not opened yet: for each of `options.rings` shares of the flows, a ring of each interface.

    The kernel shares by a hash of the flow that knows no interface: both directions come to one share, whichever
    interface shows them, as long as the rings of all are opened share by share.

    Raises
    ------
    nothing
    """
    many = options.rings > 1
    groups = [(os.getpid() + source) & 0xFFFF if many else None for source in range(len(interfaces))]
    return [
        [Ring(name, source, options, groups[source]) for source, name in enumerate(interfaces)]
        for _ in range(options.rings)
    ]


def _fitting_bytes(interface: str) -> int:
    """Return how large a ring is that holds a second of the link's rate, within what is sensible here."""
    mbit = _told_number(interface, "speed")  # many virtual links have none
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = max(_LEAST_BLOCKS << 20, min(_MOST_BYTES, memory // _MEMORY_PARTS))
    wished = (mbit if mbit > 0 else _UNKNOWN_MBIT) * 1_000_000 // 8
    return min(most, max(_LEAST_BYTES, wished))


def _told_number(interface: str, name: str) -> int:
    """Return a number that the system tells of an interface, 0 if it does not."""
    try:
        return int(Path(f"/sys/class/net/{interface}/{name}").read_text())
    except (OSError, ValueError):
        return 0


def _index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        there = ", ".join(name for _, name in socket.if_nameindex())
        raise OperatorError(Mistake(interface, "is not an interface of this machine", f"there are {there}")) from None


def _request(interface: str, rest: bytes = b"") -> bytes:
    return struct.pack("=16s24s", interface.encode()[:_NAME_MAX], rest)


def _link_flags(made: socket.socket, interface: str) -> int:
    return int(struct.unpack_from("=16sH", ioctl(made, _SIOCGIFFLAGS, _request(interface)))[1])


def _offloads(made: socket.socket, interface: str) -> list[str]:
    """Return a notice if the interface joins segments before we see them."""
    joined = []
    for name, command, bit in (("gro", _ETHTOOL_GGRO, 1), ("lro", _ETHTOOL_GFLAGS, _ETH_FLAG_LRO)):
        value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
        with suppress(OSError):  # not every driver can tell
            ioctl(made, _SIOCETHTOOL, _request(interface, struct.pack("@P", ctypes.addressof(value))))
            if struct.unpack("=II", value.raw[:8])[1] & bit:
                joined.append(name)
    if not joined:
        return []
    mend = " ".join(f"{name} off" for name in joined)
    arrive = f"segments arrive joined ({', '.join(joined)} is on): volumes are right, packet counts are not"
    return [f"{interface}: {arrive}; `ethtool -K {interface} {mend}` shows them as they were"]


def _mistake(interface: str, error: OSError) -> Mistake:
    if error.errno in (errno.EPERM, errno.EACCES):
        return Mistake(
            interface, "may not be captured by this user", "start as root, or with the capability CAP_NET_RAW"
        )
    if error.errno == errno.ENODEV:
        return Mistake(interface, "went away while it was opened", "check `ip link`")
    if error.errno == errno.ENOMEM:
        return Mistake(interface, "no memory for the ring", "make it smaller with --ring-mib")
    if error.errno == errno.ENETDOWN:
        return Mistake(interface, "is down", f"`ip link set {interface} up`")
    return Mistake(interface, f"cannot be captured ({error.strerror or error})", "")
