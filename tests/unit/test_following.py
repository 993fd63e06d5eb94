"""Following in shares: several tables side by side hand over what one table would, under numbers of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from sensor import flows
from sensor.decode import decode
from sensor.flows import FlowOptions
from sensor.following import Followed, Following
from sensor.order import Ordered
from sensor.sources.files import Reader
from tests.captures import SAMPLES

if TYPE_CHECKING:
    from sensor.following import Part
    from sensor.schema import Rows

END = 10_000_000_000


def packets_of(name: str) -> list[tuple[Rows, Rows]]:
    with Reader(str(SAMPLES / f"{name}.pcap"), 0) as reader:
        return [(decode(batch), batch.data) for batch in reader.batches()]


def test_shares_together_hand_over_what_one_would() -> None:
    alone, shares = Following(FlowOptions()), [Following(FlowOptions(), share) for share in range(3)]
    for packets, data in packets_of("allowed-night"):
        alone.push(Ordered(packets, data))
        share_of = (packets["src_port"].astype(np.int64) + packets["dst_port"]) % 3
        for at, share in enumerate(shares):
            share.push(Ordered(packets[share_of == at], data))
    whole, parts = alone.take(None), [share.take(None) for share in shares]
    assert len(whole.windows) > 10
    for table in ("windows", "endings"):
        rows, others = getattr(whole, table), np.concatenate([getattr(part, table) for part in parts])
        names = [name for name in rows.dtype.names if name != "flow"]
        began = "start_ns" if table == "endings" else "first_ts_ns"
        orders = [np.lexsort([each[name] for name in ("orig_lo", "orig_port", began)]) for each in (rows, others)]
        for name in names:
            assert rows[orders[0]][name].tolist() == others[orders[1]][name].tolist(), name
    flows = [set(part.endings["flow"].tolist()) for part in parts]
    assert sum(map(len, flows)) == len(set().union(*flows)) == len(whole.endings)
    assert max(part.last_ns for part in parts) == whole.last_ns
    heard = [sum(map(len, part.messages)) for part in parts]
    assert sum(heard) == sum(map(len, whole.messages)) > 0


@pytest.mark.parametrize("until_s", [300, None])
def test_much_can_be_taken_in_portions(monkeypatch: pytest.MonkeyPatch, until_s: int | None) -> None:
    monkeypatch.setattr(flows, "_ROOM", 16)
    monkeypatch.setattr(flows, "_PORTION", 12)
    taken: list[list[Part]] = []
    for whole in (True, False):
        following = Following(FlowOptions())
        batches = packets_of("sweep")
        for packets, data in batches:
            following.push(Ordered(packets, data))
        until_ns = None if until_s is None else int(batches[0][0]["ts_ns"][0]) + until_s * 1_000_000_000
        taken.append([*(() if whole else following.portions(until_ns)), following.take(until_ns)])
    (whole_part,), parts = taken
    assert len(parts) > 3
    for table in ("windows", "endings"):
        assert np.concatenate([getattr(part, table) for part in parts]).tolist() == getattr(whole_part, table).tolist()
    for table in ("messages", "handshakes"):
        assert [len(rows) for rows in getattr(parts[0], table)] == [len(rows) for rows in getattr(whole_part, table)]
        assert not any(getattr(part, table) for part in parts[1:]), "all was said before any flow had ended"


def test_what_shares_followed_is_added_up() -> None:
    following = Following(FlowOptions())
    for packets, data in packets_of("sweep"):
        following.push(Ordered(packets, data))
    facts = following.facts()
    assert (facts.packets, facts.living) == (following.packets, following.flows.living)
    both = facts + facts + Followed()
    assert (both.packets, both.living, both.evicted) == (2 * facts.packets, 2 * facts.living, 0)
    assert both.weird.tolist() == (2 * facts.weird).tolist()
    assert following.take(END).last_ns == following.last_ns
