"""The swarm ledger against spreads written by hand: who held, gave and got what."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sensor import following, pipeline
from sensor.policy import Policy, Site
from sensor.rules.load import load
from sensor.schema import SwarmEdgeFrame, SwarmFrame
from sensor.sinks import parquet
from sensor.swarms import Ledger, LedgerOptions
from tests.builders import do_bitfield, do_handshake, do_have, do_piece, do_request, pcap
from tests.streams import NOON, ORIG, RESP, Tape

if TYPE_CHECKING:
    import pytest

    from sensor.schema import Case

RULES = load([Path(__file__).parents[2] / "rules" / "p02_opaque.yml"])
HQ, BRANCH = "hq", "branch"
POLICY = Policy(
    sites=(
        Site(HQ, (ip_network("10.1.0.0/16"),), peering="allowed", peers="any"),
        Site(BRANCH, (ip_network("10.2.0.0/16"),), peering="disabled"),
    )
)
A, B, C, D = "10.1.0.1", "10.1.0.2", "10.2.0.3", "10.2.0.4"
IDS = {ip: bytes([at + 1]) * 16 for at, ip in enumerate((A, B, C, D))}
UUIDS = {ip: "-".join(bytes([at + 1]).hex() * n for n in (4, 2, 2, 2, 6)) for at, ip in enumerate((A, B, C, D))}
CONTENT = b"\xaa" * 32
PIECE = 1000
TOTAL = 10
SECOND = 1_000_000_000


def conversation(  # noqa: PLR0913 - everything that tells two transfers apart
    giver: str,
    taker: str,
    pieces: list[int],
    *,
    at_s: int,
    has: list[int] | None = None,
    port: int = 50000,
    pushed: bool = False,
    content: bytes = CONTENT,
) -> list[tuple[int, bytes]]:
    """Return the frames of one connection in which `giver` gives; it opened the connection if `pushed`."""
    orig, resp = (giver, taker) if pushed else (taker, giver)
    gives, takes = (ORIG, RESP) if pushed else (RESP, ORIG)
    tape = Tape(orig, resp, orig_port=port, start_ns=NOON + at_s * SECOND, step_ms=1).open()
    at = {ORIG: 0, RESP: 0}

    def say(side: int, data: bytes) -> None:
        tape.send(side, at[side], data)
        at[side] += len(data)

    say(ORIG, do_handshake(content, IDS[orig]))
    say(RESP, do_handshake(content, IDS[resp]))
    say(takes, do_bitfield(has or [], TOTAL))
    say(gives, do_bitfield(range(TOTAL), TOTAL))
    for piece in pieces:
        say(takes, do_request(piece, 0, PIECE))
        say(gives, do_piece(piece, 0, bytes([piece]) * PIECE))
        say(takes, do_have(piece))
    return tape.frames


def case_of(tmp_path: Path, *conversations: list[tuple[int, bytes]]) -> Case:
    path = tmp_path / "spread.pcap"
    path.write_bytes(
        pcap(sorted((frame for c in conversations for frame in c), key=lambda frame: frame[0]), nanos=True)
    )
    return pipeline.analyze([str(path)], POLICY, RULES)


def spread() -> list[list[tuple[int, bytes]]]:
    """A seeds B; B seeds C over the site link, and then D, over it again; C gives D what is left."""
    return [
        conversation(A, B, list(range(TOTAL)), at_s=0),
        conversation(B, C, list(range(TOTAL)), at_s=20, pushed=True),
        conversation(B, D, [0, 1, 2], at_s=40, port=50001),
        conversation(C, D, [3, 4, 5, 6], at_s=60, has=[0, 1, 2], port=50002),
    ]


def test_a_spread_over_three_hops(tmp_path: Path) -> None:
    case = case_of(tmp_path, *spread())
    assert case.swarm_peers is not None
    peers = case.swarm_peers
    assert list(peers.columns) == SwarmFrame.names()
    assert peers["swarm_hash"].unique().tolist() == [CONTENT.hex()]
    rows: dict[str, Any] = peers.set_index("ip").to_dict("index")
    assert {ip: row["peer_id"] for ip, row in rows.items()} == UUIDS
    told = {
        ip: (
            row["site"], row["pieces_held_first"], row["pieces_held_last"], row["uploaded_bytes"],
            row["downloaded_bytes"], row["uploaded_off_window_bytes"], row["first_seeder"],
        )
        for ip, row in rows.items()
    }  # fmt: skip
    assert told == {
        A: (HQ, 10, 10, 10_000, 0, 0, True),
        B: (HQ, 0, 10, 13_000, 10_000, 13_000, False),
        C: (BRANCH, 0, 10, 4_000, 10_000, 4_000, False),
        D: (BRANCH, 0, 7, 0, 7_000, 0, False),
    }
    assert set(peers["pieces_total"]) == {TOTAL}
    assert (rows[A]["first_seen_ns"] - NOON) // SECOND == 0
    assert (rows[C]["last_seen_ns"] - NOON) // SECOND == 60
    completed = {ip: (row["completed_ns"] - NOON) // SECOND for ip, row in rows.items() if row["completed_ns"]}
    assert completed == {A: 0, B: 0, C: 20}
    assert rows[A]["completed_ns"] < rows[B]["completed_ns"] <= rows[B]["last_seen_ns"]


def test_complete_is_when_the_last_piece_came(tmp_path: Path) -> None:
    case = case_of(
        tmp_path,
        conversation(A, B, list(range(TOTAL)), at_s=0),
        conversation(A, B, [4, 5], at_s=30, has=list(range(TOTAL)), port=50001),  # what it has had comes again
    )
    assert case.swarm_peers is not None
    assert case.swarm_edges is not None
    row = case.swarm_peers.set_index("ip").loc[B]
    assert int(row["completed_ns"] - NOON) // SECOND == 0
    assert int(row["last_seen_ns"] - NOON) // SECOND == 30


def test_what_misses_a_piece_is_not_complete(tmp_path: Path) -> None:
    case = case_of(tmp_path, conversation(A, B, list(range(TOTAL - 1)), at_s=0))
    assert case.swarm_peers is not None
    held = case.swarm_peers.set_index("ip")
    assert int(held.loc[B, "completed_ns"]) == 0
    assert int(held.loc[A, "completed_ns"]) > 0


def test_the_edges_of_a_spread(tmp_path: Path) -> None:
    case = case_of(tmp_path, *spread())
    assert case.swarm_edges is not None
    edges = case.swarm_edges
    assert list(edges.columns) == SwarmEdgeFrame.names()
    names = ("from_ip", "to_ip", "from_site", "to_site", "pieces", "piece_bytes", "off_window_bytes", "crossed_again")
    assert edges[list(names)].to_numpy().tolist() == [
        [A, B, HQ, HQ, 10, 10_000, 0, 0],
        [B, C, HQ, BRANCH, 10, 10_000, 10_000, 0],
        [B, D, HQ, BRANCH, 3, 3_000, 3_000, 3],  # the link had carried these three to C
        [C, D, BRANCH, BRANCH, 4, 4_000, 4_000, 0],
    ]
    assert set(edges["duplicate_bytes"]) == {0}


def test_the_same_block_again_is_a_duplicate(tmp_path: Path) -> None:
    case = case_of(
        tmp_path,
        conversation(A, C, [0, 1, 1], at_s=0),
        conversation(B, C, [1, 2], at_s=30, has=[0], port=50001),
    )
    assert case.swarm_edges is not None
    assert case.swarm_peers is not None
    columns = ["from_ip", "piece_bytes", "duplicate_bytes", "crossed_again"]
    assert case.swarm_edges[columns].to_numpy().tolist() == [[A, 3000, 1000, 1], [B, 2000, 1000, 1]]
    held = case.swarm_peers.set_index("ip")["pieces_held_last"]
    assert (held[A], held[B], held[C]) == (10, 10, 3)


def test_portions_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = case_of(tmp_path, *spread())
    monkeypatch.setattr(following, "_PORTION", 1)
    parts = case_of(tmp_path, *spread())
    for one, other in ((whole.swarm_peers, parts.swarm_peers), (whole.swarm_edges, parts.swarm_edges)):
        assert one is not None
        assert other is not None
        pd.testing.assert_frame_equal(one, other)


def test_two_contents_are_two_swarms(tmp_path: Path) -> None:
    other = b"\x11" * 32
    case = case_of(
        tmp_path, conversation(A, B, [1], at_s=0), conversation(B, A, [2], at_s=1, port=50001, content=other)
    )
    assert case.swarm_peers is not None
    told = case.swarm_peers[case.swarm_peers["first_seeder"]]
    assert told[["swarm_hash", "ip"]].to_numpy().tolist() == [[other.hex(), B], [CONTENT.hex(), A]]


def test_one_side_of_a_conversation(tmp_path: Path) -> None:
    # Only what A sends was captured: B is known by its address, until it is heard itself.
    frames = [f for f in conversation(A, B, [0, 1], at_s=0) if f[1][26:30] == bytes([10, 1, 0, 1])]
    case = case_of(tmp_path, frames)
    assert case.swarm_peers is not None
    told = case.swarm_peers[["ip", "peer_id", "uploaded_bytes", "downloaded_bytes"]].to_numpy().tolist()
    assert sorted(told) == [[A, UUIDS[A], 2000, 0], [B, "", 0, 2000]]
    both = case_of(tmp_path, frames, conversation(A, B, [2], at_s=30, port=50001))
    assert both.swarm_peers is not None
    told = both.swarm_peers[["ip", "peer_id", "uploaded_bytes", "downloaded_bytes"]].to_numpy().tolist()
    assert sorted(told) == [[A, UUIDS[A], 3000, 0], [B, UUIDS[B], 0, 3000]]


def test_without_swarms_there_are_empty_tables(tmp_path: Path) -> None:
    case = case_of(tmp_path, Tape().open().frames)
    assert case.swarm_peers is not None
    assert case.swarm_edges is not None
    assert len(case.swarm_peers) == len(case.swarm_edges) == 0
    parquet.write(tmp_path / "swarms.parquet", case.swarm_peers, SwarmFrame)
    assert pd.read_parquet(tmp_path / "swarms.parquet").columns.tolist() == SwarmFrame.names()


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    case = case_of(tmp_path, *spread())
    assert case.swarm_peers is not None
    parquet.write(tmp_path / "swarms.parquet", case.swarm_peers, SwarmFrame)
    assert pd.read_parquet(tmp_path / "swarms.parquet")["uploaded_bytes"].sum() == 27_000


def test_the_quietest_swarm_is_evicted_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledgers: list[Ledger] = []

    def small(names: list[str], window_s: int) -> Ledger:
        ledgers.append(Ledger(names, window_s, LedgerOptions(peers=2)))
        return ledgers[-1]

    monkeypatch.setattr(pipeline, "Ledger", small)
    case = case_of(
        tmp_path,
        conversation(A, B, [1], at_s=0),
        conversation(C, D, [1], at_s=30, port=50001, content=b"\x11" * 32),
    )
    assert case.swarm_peers is not None
    assert case.swarm_peers["ip"].tolist() == [D, C]
    assert ledgers[0].evicted == 2


def test_blocks_are_bounded_too() -> None:
    assert LedgerOptions().blocks * 8 <= 256 << 20  # bytes


def test_a_very_long_connection_stays_in_its_swarm(tmp_path: Path) -> None:
    frames = conversation(A, B, [0], at_s=0)
    sent = Tape(B, A, orig_port=50000, start_ns=NOON + 25 * 3600 * SECOND)
    said = sum(len(part) for part in (do_handshake(), do_bitfield([], TOTAL), do_piece(0, 0, bytes(PIECE))))
    sent.resp(said, do_piece(1, 0, bytes(PIECE)))
    # A sign of life every hour, or the flow would be over.
    alive = [f for hour in range(1, 25) for f in Tape(B, A, start_ns=NOON + hour * 3600 * SECOND).orig(0).frames]
    case = case_of(tmp_path, frames, alive, sent.frames)
    assert len(case.flows) == 2
    assert case.flows["verdict"].tolist() == ["do", "do"]
    assert case.flows["swarm_hash"].tolist() == [CONTENT.hex()] * 2
    assert case.flows["resp_piece_bytes"].tolist() == [1000, 1000]
    assert case.flows["continued_as"].tolist() == [1, 0]
    assert case.swarm_edges is not None
    assert case.swarm_edges[["from_ip", "to_ip", "piece_bytes"]].to_numpy().tolist() == [[A, B, 2000]]
