"""The chosen packets are the named ones: hosts by prefix, flows by Community ID both ways, sites by longest prefix."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import communityid
import pytest

from sensor.errors import OperatorError
from sensor.policy import Policy, Site
from sensor.schema import Packets, Rows
from sensor.selection import Selection

ENDS = (
    ("10.1.0.5", 50000, "10.1.0.6", 7680),
    ("10.1.0.6", 7680, "10.1.0.5", 50000),
    ("10.1.250.9", 50001, "203.0.113.7", 7680),
    ("2001:db8::5", 50000, "2001:db8::6", 7680),
)
POLICY = Policy(
    sites=(Site("hq", (ip_network("10.1.0.0/16"),)), Site("servers", (ip_network("10.1.250.0/24"),))),
)


def word(address: str) -> int:
    return int(IPv6Address(address)) if ":" in address else 0xFFFF << 32 | int(IPv4Address(address))


def packets() -> Rows:
    rows = Packets.empty(len(ENDS))
    for row, (src, src_port, dst, dst_port) in zip(rows, ENDS, strict=True):
        row["src_hi"], row["src_lo"] = divmod(word(src), 1 << 64)
        row["dst_hi"], row["dst_lo"] = divmod(word(dst), 1 << 64)
        row["src_port"], row["dst_port"] = src_port, dst_port
    return rows


def community_id(at: int) -> str:
    src, src_port, dst, dst_port = ENDS[at]
    return str(communityid.CommunityID().calc(communityid.FlowTuple.make_tcp(src, dst, src_port, dst_port)))


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), [True, True, True, True]),
        (Selection(hosts=("10.1.0.5",)), [True, True, False, False]),
        (Selection(hosts=("10.1.0.0/16",)), [True, True, True, False]),
        (Selection(hosts=("203.0.113.0/24", "2001:db8::/32")), [False, False, True, True]),
        (Selection(flows=frozenset({community_id(1)})), [True, True, False, False]),
        (Selection(flows=frozenset({community_id(3)})), [False, False, False, True]),
        (Selection(sites=("hq",), policy=POLICY), [True, True, False, False]),
        (Selection(sites=("servers", "unknown"), policy=POLICY), [False, False, True, True]),
        (Selection(sites=("hq",), hosts=("10.1.250.9",), policy=POLICY), [False, False, False, False]),
    ],
)
def test_mask(selection: Selection, wanted: list[bool]) -> None:
    rows = packets()
    assert selection.mask(rows).tolist() == wanted
    assert selection.mask(rows[::-1]).tolist() == wanted[::-1]  # what it remembers does not change what it says
    assert len(selection(rows)) == sum(wanted)


def test_ids_are_those_of_the_reference() -> None:
    assert Selection().ids(packets()) == [community_id(at) for at in range(len(ENDS))]


def test_every_mistake_is_named() -> None:
    with pytest.raises(OperatorError) as caught:
        Selection(flows=frozenset({"beV1"}), hosts=("10.1", "10.1.0.5"), sites=("mars",), policy=POLICY)
    said = [str(mistake) for mistake in caught.value.mistakes]
    assert len(said) == 3
    assert said[0].startswith('--host: "10.1" is not an address')
    assert said[1] == '--site: "mars" is no site of the policy; one of hq, servers, unknown'
    assert said[2].startswith('--flow: "beV1" is not a Community ID')
    with pytest.raises(OperatorError, match="needs a policy"):
        Selection(sites=("hq",))
