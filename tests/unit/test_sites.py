"""Addresses to sites, subnets, roles and scope, against the standard library's `ipaddress`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensor.policy import Endpoint, Policy, Site
from sensor.schema import ROLES, SCOPES
from sensor.sites import Placement, Sites, flatten, span

MAPPED = 0xFFFF << 32


def number(address: IPv4Address | IPv6Address | str) -> int:
    address = ip_address(address)
    return int(address) + (MAPPED if address.version == 4 else 0)


def place(sites: Sites, *addresses: IPv4Address | IPv6Address | str) -> Placement:
    numbers = [number(address) for address in addresses]
    return sites.lookup(
        np.array([n >> 64 for n in numbers], dtype=np.uint64),
        np.array([n & (2**64 - 1) for n in numbers], dtype=np.uint64),
    )


def networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


OFFICE = Policy(
    sites=(
        Site("hq", networks("10.1.0.0/16", "2001:db8:1::/48"), peers=("branch",)),
        Site("lab", networks("10.1.5.0/24"), peers="same_subnet"),
        Site("branch", networks("10.2.0.0/24", "10.2.1.0/24"), peers=("hq", "lab")),
        Site("guest", networks("192.168.7.0/24"), peers="any"),
    ),
    local=networks("10.0.0.0/8", "fe80::/10"),
    endpoints=(
        Endpoint(ip_network("10.1.0.0/24"), "desks", "client"),
        Endpoint(ip_network("10.1.0.5/32"), "mirror", "server"),
        Endpoint(ip_network("10.1.0.6/32"), "stray", "infrastructure", approved=False),
    ),
)


def test_names_are_the_policy_in_order_then_unknown() -> None:
    sites = Sites(OFFICE)
    assert sites.names == ("hq", "lab", "branch", "guest", "unknown")
    assert [str(subnet) for subnet in sites.subnets[:3]] == ["10.1.0.0/16", "2001:db8:1::/48", "10.1.5.0/24"]


def test_the_longest_prefix_wins() -> None:
    sites = Sites(OFFICE)
    found = place(
        sites, "10.1.4.255", "10.1.5.0", "10.1.5.255", "10.1.6.0", "10.1.255.255", "10.2.1.9", "10.3.0.1", "8.8.8.8"
    )
    assert [sites.names[at] for at in found.site] == ["hq", "lab", "lab", "hq", "hq", "branch", "unknown", "unknown"]
    assert found.subnet.tolist() == [0, 2, 2, 0, 0, 4, -1, -1]
    assert found.local.tolist() == [True] * 7 + [False]


def test_both_families_in_one_space() -> None:
    sites = Sites(OFFICE)
    found = place(sites, "2001:db8:1::1", "2001:db8:2::1", "fe80::1", "::ffff:10.1.5.1", "::10.1.5.1")
    assert [sites.names[at] for at in found.site] == ["hq", "unknown", "unknown", "lab", "unknown"]
    assert found.local.tolist() == [True, False, True, True, False]


def test_a_site_is_local_though_capture_local_does_not_say_so() -> None:
    assert place(Sites(OFFICE), "192.168.7.1", "192.168.8.1").local.tolist() == [True, False]


def test_roles_and_approval_come_from_the_longest_inventoried_prefix() -> None:
    found = place(Sites(OFFICE), "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.7", "10.1.1.1")
    assert [ROLES[role] for role in found.role] == ["client", "server", "infrastructure", "client", "unknown"]
    assert found.known.tolist() == [True, True, False, True, False]


def test_without_an_inventory_everyone_is_known_and_without_a_role() -> None:
    found = place(Sites(Policy(sites=OFFICE.sites)), "10.1.0.4", "8.8.8.8")
    assert found.known.tolist() == [True, True]
    assert [ROLES[role] for role in found.role] == ["unknown", "unknown"]


def test_types_are_those_of_the_contract() -> None:
    sites = Sites(OFFICE)
    found = place(sites, "10.1.0.4")
    kinds = [column.dtype for column in (found.site, found.subnet, found.local, found.role, found.known)]
    assert kinds == [np.int32, np.int32, np.bool_, np.int8, np.bool_]
    assert sites.scope(found, found).dtype == np.int8
    assert sites.peers_allowed(found, found).dtype == np.bool_
    nothing = place(sites)
    assert len(nothing.site) == len(sites.scope(nothing, nothing)) == len(sites.peers_allowed(nothing, nothing)) == 0


def test_columns_of_wider_tables_are_read_where_they_lie() -> None:
    table = np.zeros((2, 3), dtype=np.uint64)
    table[:, 1] = [number("10.2.0.1"), number("10.1.5.1")]
    sites = Sites(OFFICE)
    assert [sites.names[at] for at in sites.lookup(table[:, 0], table[:, 1]).site] == ["branch", "lab"]


def test_scope() -> None:
    sites = Sites(OFFICE)
    cases = [
        ("10.1.0.1", "10.1.200.1", "same_subnet"),
        ("10.2.0.1", "10.2.1.1", "same_site"),
        ("10.1.0.1", "2001:db8:1::1", "same_site"),
        ("10.1.0.1", "10.1.5.1", "cross_site"),
        ("10.1.0.1", "10.3.0.1", "unknown"),
        ("10.3.0.1", "10.3.0.2", "unknown"),
        ("10.1.0.1", "8.8.8.8", "internet"),
        ("8.8.8.8", "10.3.0.1", "internet"),
        ("8.8.8.8", "8.8.4.4", "internet"),
    ]
    for orig, resp, scope in cases:
        assert SCOPES[sites.scope(place(sites, orig), place(sites, resp))[0]] == scope, (orig, resp)
        assert SCOPES[sites.scope(place(sites, resp), place(sites, orig))[0]] == scope, (resp, orig)


def test_both_sides_must_permit_the_other() -> None:
    sites = Sites(OFFICE)
    cases = [
        ("10.1.0.1", "10.1.9.1", True),  # hq within itself
        ("10.1.0.1", "10.2.0.1", True),  # hq and branch name one another
        ("10.2.0.1", "10.1.5.1", False),  # branch names lab, lab stays in its subnet
        ("10.1.5.1", "10.1.5.2", True),  # lab in its subnet
        ("10.1.0.1", "192.168.7.1", False),  # guest takes anyone, hq does not name it
        ("192.168.7.1", "10.3.0.1", True),  # guest takes anyone, nowhere has said nothing
        ("192.168.7.1", "8.8.8.8", True),
        ("10.1.0.1", "10.3.0.1", False),  # hq does not name what is in no site
        ("10.3.0.1", "8.8.8.8", True),
    ]
    for orig, resp, allowed in cases:
        assert sites.peers_allowed(place(sites, orig), place(sites, resp)).tolist() == [allowed], (orig, resp)
        assert sites.peers_allowed(place(sites, resp), place(sites, orig)).tolist() == [allowed], (resp, orig)


def test_same_subnet_means_the_same_prefix_of_the_site() -> None:
    strict = Sites(Policy(sites=(Site("a", networks("10.0.0.0/24", "10.0.1.0/24"), peers="same_subnet"),)))
    one, other = place(strict, "10.0.0.1", "10.0.0.1"), place(strict, "10.0.0.2", "10.0.1.2")
    assert strict.peers_allowed(one, other).tolist() == [True, False]


def test_flatten_cuts_nested_prefixes() -> None:
    starts, owners = flatten(networks("10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/24", "11.0.0.0/8"))
    shown = [str(IPv6Address(start).ipv4_mapped or start) for start in starts]
    assert list(zip(shown, owners, strict=True)) == [
        ("0", -1), ("10.0.0.0", 0), ("10.1.0.0", 2), ("10.1.1.0", 1), ("10.2.0.0", 0), ("11.0.0.0", 3),
        ("12.0.0.0", -1),
    ]  # fmt: skip


def test_flatten_at_the_ends_of_the_address_space() -> None:
    assert flatten(()) == ([0], [-1])
    assert flatten(networks("::/0")) == ([0], [0])
    assert flatten(networks("8000::/1")) == ([0, 2**127], [-1, 0])
    assert flatten(networks("::/0", "ffff::/16", "::/128")) == ([0, 1, 0xFFFF << 112], [2, 0, 1])


def any_network(draw: st.DrawFn) -> IPv4Network | IPv6Network:
    if draw(st.booleans()):
        return ip_network((0x0A000000 | draw(st.integers(0, 255)), draw(st.integers(20, 32))), strict=False)
    return ip_network(((0x20010DB8 << 96) | draw(st.integers(0, 2**66)), draw(st.integers(0, 128))), strict=False)


@given(st.data())
def test_as_ipaddress(data: st.DataObject) -> None:
    prefixes = data.draw(st.lists(st.composite(any_network)(), unique=True, max_size=12))
    near = [edge + step for prefix in prefixes for edge in span(prefix) for step in (-1, 0, 1)]
    free = data.draw(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=5))
    addresses = [address for address in (*near, *free) if 0 <= address < 2**128]
    sites = Sites(Policy(sites=tuple(Site(f"s{at}", (prefix,)) for at, prefix in enumerate(prefixes))))
    found = place(sites, *(IPv6Address(address) for address in addresses))
    for row, address in enumerate(addresses):
        text = IPv6Address(address)
        around = [
            (prefix.prefixlen + (96 if prefix.version == 4 else 0), at)
            for at, prefix in enumerate(prefixes)
            if text in prefix or (text.ipv4_mapped is not None and text.ipv4_mapped in prefix)
        ]
        assert found.subnet[row] == (max(around)[1] if around else -1)
        assert found.site[row] == (max(around)[1] if around else len(prefixes))
        assert found.local[row] == bool(around)
