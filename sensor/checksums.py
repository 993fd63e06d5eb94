"""Whether the TCP checksum of a captured frame is right: the proof that its bytes were not damaged on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sensor.decode import Decoder
from sensor.schema import Batch, Frames

if TYPE_CHECKING:
    from sensor.sources.files import Found

_TCP: Final = 6
_OFFSETS: Final = range(5, 16)  # lengths of a TCP header, in words


def tcp_checksum_is_right(frame: Found) -> bool:
    """Return whether the checksum is right; a segment that was cut, or is no TCP on the port, has none that is.

    References
    ----------
    RFC 9293 section 3.1 (checksum and pseudo header), RFC 8200 section 8.1 (pseudo header of IPv6).
    """
    data = np.frombuffer(frame.data, dtype=np.uint8)
    frames = Frames.empty(1)
    frames["captured_bytes"], frames["wire_bytes"] = len(data), frame.wire_bytes
    frames["link_type"], frames["number"] = frame.link_type, 1
    packets = Decoder().push(Batch(frames, data))
    if len(packets) != 1 or packets["payload_captured"][0] < packets["payload_bytes"][0]:
        return False
    packet = packets[0]
    end = int(packet["payload_at"]) + int(packet["payload_bytes"])
    start = _header(data, packet)
    if start < 0:
        return False
    segment = data[start:end].tobytes()
    length = len(segment)
    if int(packet["ip_version"]) == 4:  # noqa: PLR2004 - IPv4
        pseudo = b"".join(int(packet[end]).to_bytes(8, "big")[4:] for end in ("src_lo", "dst_lo"))
        pseudo += bytes([0, _TCP]) + length.to_bytes(2, "big")
    else:
        words = ("src_hi", "src_lo", "dst_hi", "dst_lo")
        pseudo = b"".join(int(packet[word]).to_bytes(8, "big") for word in words)
        pseudo += length.to_bytes(4, "big") + bytes([0, 0, 0, _TCP])
    return _sum(pseudo + segment) == 0xFFFF  # noqa: PLR2004 - one's complement of zero


def _header(data: np.ndarray[tuple[int], np.dtype[np.uint8]], packet: np.void) -> int:
    """Return where the TCP header begins: as many words before the payload as it says itself."""
    at = int(packet["payload_at"])
    ports = int(packet["src_port"]).to_bytes(2, "big") + int(packet["dst_port"]).to_bytes(2, "big")
    for words in _OFFSETS:
        start = at - 4 * words
        if start >= 0 and int(data[start + 12]) >> 4 == words and data[start : start + 4].tobytes() == ports:
            return start
    return -1


def _sum(data: bytes) -> int:
    """Return the one's complement sum of 16-bit words."""
    padded = data + bytes(len(data) % 2)
    total = int(np.frombuffer(padded, dtype=">u2").sum(dtype=np.uint64))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
