"""The numbers the wire uses, each with its source.

Sources: IANA registries, the RFCs named beside the numbers, and for Delivery Optimization (DO) the public
captures and reverse-engineering notes that `docs/protocol.md` lists (Microsoft publishes no specification).
"""

from typing import Final

# --- TCP and below ---------------------------------------------------------------------------------------------
DO_PORT: Final = 7680  # Microsoft: "Delivery Optimization uses TCP 7680 to listen for peers"
MDNS_PORT: Final = 5353  # RFC 6762

ETHERTYPE_IPV4: Final = 0x0800  # IEEE 802 numbers
ETHERTYPE_IPV6: Final = 0x86DD
ETHERTYPE_VLAN: Final = 0x8100  # 802.1Q
ETHERTYPE_QINQ: Final = 0x88A8  # 802.1ad
ETHERTYPE_QINQ_OLD: Final = 0x9100  # in use before 802.1ad, not registered
IPPROTO_TCP: Final = 6

FIN: Final = 0x01  # RFC 9293, section 3.1
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20

LINKTYPE_NULL: Final = 0  # https://www.tcpdump.org/linktypes.html
LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 101
LINKTYPE_LOOP: Final = 108
LINKTYPE_SLL: Final = 113
LINKTYPE_IPV4: Final = 228
LINKTYPE_IPV6: Final = 229
LINKTYPE_SLL2: Final = 276

# --- Delivery Optimization ---------------------------------------------------------------------------------------
# Handshake: u8 name length, name, 8 contested bytes, 32-byte swarm hash, 16-byte GUID, 4-byte suffix: 75 bytes in
# every public capture. The 8 bytes differ between Windows versions and must never be matched on.
DO_NAME: Final = b"Swarm protocol"
DO_GREETING: Final = b"\x0eSwarm protocol"
DO_HANDSHAKE_BYTES: Final = 75
DO_RESERVED_AT: Final = 15
DO_HASH_AT: Final = 23
DO_HASH_BYTES: Final = 32
DO_PEER_AT: Final = 55
DO_PEER_BYTES: Final = 16
DO_SUFFIX_AT: Final = 71

# Messages: u32 length (excludes itself), u8 id, body. Length 0 is a keep-alive without an id.
CHOKE: Final = 0
UNCHOKE: Final = 1
INTERESTED: Final = 2
NOT_INTERESTED: Final = 3
HAVE: Final = 4
BITFIELD: Final = 5
REQUEST: Final = 6
PIECE: Final = 7
CANCEL: Final = 8
EXTENDED: Final = 20  # discarded by receivers; BitTorrent's BEP 10 uses the same id
DO_LENGTH_HAVE: Final = 5
DO_LENGTH_REQUEST: Final = 13
DO_PIECE_HEADER: Final = 9  # id, index, begin: what a piece message's length counts beside the data
DO_MESSAGE_MAX: Final = 0x1F4000  # 2,048,000: the receiver's limit in public reverse-engineering notes
DO_PIECE_SIZE: Final = 1 << 20  # "typically 1 MB", and Range headers of whole MiB in public captures
DO_SERVICE: Final = b"_dosvc._tcp.local"  # DNS-SD service of Local Peer Discovery, in 39 public captures
