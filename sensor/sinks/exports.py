"""Tables of a case in the forms that other programs read: CSV, NDJSON, Zeek's conn.log, and the peers as GraphML.

They are written from the case's Parquet, so a case can be exported long after it was made, and without its inputs.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import quoteattr

import pandas as pd
import pyarrow.parquet as pq

from sensor.errors import Mistake, OperatorError
from sensor.outfile import outfile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMS: Final = ("csv", "ndjson", "zeek", "graphml")
_TABLES: Final = ("flows", "activity", "swarms", "swarm_edges")
_PORTION: Final = 65_536
_NS: Final = 1_000_000_000
_RIGHT: Final = "give the folder that `swarmtap analyze -o` wrote"

# Zeek's own columns of conn.log, in its order, then ours; see `scripts/base/protocols/conn/main.zeek`.
_ZEEK: Final = (
    ("ts", "time"), ("uid", "string"), ("id.orig_h", "addr"), ("id.orig_p", "port"), ("id.resp_h", "addr"),
    ("id.resp_p", "port"), ("proto", "enum"), ("service", "string"), ("duration", "interval"), ("orig_bytes", "count"),
    ("resp_bytes", "count"), ("conn_state", "string"), ("local_orig", "bool"), ("local_resp", "bool"),
    ("missed_bytes", "count"), ("history", "string"), ("orig_pkts", "count"), ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"), ("resp_ip_bytes", "count"), ("tunnel_parents", "set[string]"), ("community_id", "string"),
    ("vlan", "int"), ("orig_site", "string"), ("resp_site", "string"), ("scope", "string"),
    ("off_window_bytes", "count"), ("swarm_hash", "string"),
)  # fmt: skip
_UNSPOKEN: Final = ("too_little", "opaque")
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEYS: Final = (
    ("site", "node", "string"), ("gave_bytes", "node", "long"), ("took_bytes", "node", "long"),
    ("payload_bytes", "edge", "long"), ("off_window_payload_bytes", "edge", "long"), ("flows", "edge", "int"),
    ("swarms", "edge", "int"), ("first_ns", "edge", "long"), ("last_ns", "edge", "long"),
)  # fmt: skip


def export(case: Path, out: Path, forms: tuple[str, ...] = FORMS) -> tuple[Path, ...]:
    """Write the tables of a case in some forms, and return what was written.

    Raises
    ------
    OperatorError
        If there is no case, or a file cannot be written; nothing is then left under its name.
    """
    tables = [path for name in _TABLES if (path := case / f"{name}.parquet").is_file()]
    if case / "flows.parquet" not in tables:
        raise OperatorError(Mistake(str(case), "is not a case: it has no flows.parquet", _RIGHT))
    made = []
    for form in forms:
        if form in {"csv", "ndjson"}:
            for table in tables:
                made.append(out / f"{table.stem}.{form}")
                _rows(table, made[-1], form)
        elif form == "zeek":
            made.append(out / "conn.log")
            _conn_log(case / "flows.parquet", made[-1])
        else:
            made.append(out / "peers.graphml")
            _graph(case / "flows.parquet", made[-1])
    return tuple(made)


def _portions(table: Path) -> Iterator[pd.DataFrame]:
    try:
        with pq.ParquetFile(table) as file:
            for batch in file.iter_batches(_PORTION):
                yield batch.to_pandas()
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise OperatorError(Mistake(str(table), f"cannot be read ({error})", _RIGHT)) from None


def _rows(table: Path, path: Path, form: str) -> None:
    with outfile(path) as file:
        first = True
        for rows in _portions(table):
            if form == "csv":
                text = rows.to_csv(index=False, header=first, lineterminator="\n")
            else:
                text = rows.to_json(orient="records", lines=True, force_ascii=False)
            file.write(text.encode())
            first = False
        if first and form == "csv":
            names = pq.read_schema(table).names
            file.write((",".join(names) + "\n").encode())


def _conn_log(table: Path, path: Path) -> None:
    """Write what Zeek would have logged of these flows, as far as we know it; the rest is unset."""
    with outfile(path) as file:
        names, kinds = zip(*_ZEEK, strict=True)
        head = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tconn"]
        head += ["\t".join(("#fields", *names)), "\t".join(("#types", *kinds))]
        file.write(("\n".join(head) + "\n").encode())
        for rows in _portions(table):
            log = _zeek(rows)
            log.to_csv(file, sep="\t", index=False, header=False, lineterminator="\n", quoting=3, escapechar="\\")


def _zeek(flows: pd.DataFrame) -> pd.DataFrame:
    unset = pd.Series("-", index=flows.index)
    length = flows["end_ns"] - flows["start_ns"]
    verdict = flows["verdict"].astype(str)
    orig, resp = flows["orig_payload_bytes"], flows["resp_payload_bytes"]
    scope = flows["scope"].astype(str)
    columns = {
        "ts": _seconds(flows["start_ns"]),
        "uid": [_uid(name, start) for name, start in zip(flows["community_id"], flows["start_ns"], strict=True)],
        "id.orig_h": flows["orig_ip"],
        "id.orig_p": flows["orig_port"],
        "id.resp_h": flows["resp_ip"],
        "id.resp_p": flows["resp_port"],
        "proto": "tcp",
        "service": verdict.mask(verdict.isin(_UNSPOKEN), "-"),
        "duration": _seconds(length),
        "orig_bytes": orig,
        "resp_bytes": resp,
        "conn_state": flows["conn_state"].astype(str),
        "local_orig": unset.mask(scope.isin(["same_subnet", "same_site", "cross_site"]), "T"),
        "local_resp": unset.mask(scope.isin(["same_subnet", "same_site", "cross_site"]), "T"),
        "missed_bytes": flows["orig_gap_bytes"] + flows["resp_gap_bytes"],
        "history": unset,
        "orig_pkts": flows["orig_packets"],
        "orig_ip_bytes": flows["orig_bytes"],
        "resp_pkts": flows["resp_packets"],
        "resp_ip_bytes": flows["resp_bytes"],
        "tunnel_parents": unset,
        "community_id": flows["community_id"],
        "vlan": flows["vlan"].astype(str).mask(flows["vlan"] == 0, "-"),
        "orig_site": flows["orig_site"].astype(str),
        "resp_site": flows["resp_site"].astype(str),
        "scope": scope,
        "off_window_bytes": flows["off_window_payload_bytes"],
        "swarm_hash": flows["swarm_hash"].mask(flows["swarm_hash"] == "", "-"),
    }
    return pd.DataFrame(columns, columns=[name for name, _ in _ZEEK])


def _seconds(ns: pd.Series[int]) -> pd.Series[str]:
    """Return seconds with six digits, cut and not rounded, without a float in between."""
    return (ns // _NS).astype(str) + "." + (ns % _NS // 1000).astype(str).str.zfill(6)


def _uid(community_id: str, start_ns: int) -> str:
    """Return a uid like Zeek's, the same in every run: C and 17 digits of base 62."""
    number = int.from_bytes(hashlib.sha256(f"{community_id}@{start_ns}".encode()).digest(), "big")
    digits = []
    for _ in range(17):
        number, digit = divmod(number, len(_BASE62))
        digits.append(_BASE62[digit])
    return "C" + "".join(digits)


def _graph(table: Path, path: Path) -> None:
    """Write hosts as nodes, and an edge from each giver to each taker."""
    nodes: dict[str, dict[str, Any]] = {}
    edges: dict[tuple[str, str], dict[str, Any]] = {}
    for rows in _portions(table):
        for made in _gifts(rows):
            _join(made, nodes, edges)
    with outfile(path) as file:
        file.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
        for name, part, kind in _KEYS:
            file.write(f'<key id="{name}" for="{part}" attr.name="{name}" attr.type="{kind}"/>\n'.encode())
        file.write(b'<graph edgedefault="directed">\n')
        for host, facts in sorted(nodes.items()):
            file.write(f"<node id={quoteattr(host)}>{_data(facts)}</node>\n".encode())
        for (giver, taker), facts in sorted(edges.items()):
            facts["swarms"] = len(facts["swarms"] or ())
            file.write(f"<edge source={quoteattr(giver)} target={quoteattr(taker)}>{_data(facts)}</edge>\n".encode())
        file.write(b"</graph>\n</graphml>\n")


def _gifts(flows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield who gave whom how much, once for each direction."""
    moved = (flows["orig_payload_bytes"] + flows["resp_payload_bytes"]).clip(lower=1)
    share = flows["off_window_payload_bytes"] / moved
    for giver, taker in (("orig", "resp"), ("resp", "orig")):
        volume = flows[f"{giver}_payload_bytes"]
        made = pd.DataFrame(
            {
                "giver": flows[f"{giver}_ip"], "taker": flows[f"{taker}_ip"], "volume": volume,
                "giver_site": flows[f"{giver}_site"].astype(str), "taker_site": flows[f"{taker}_site"].astype(str),
                "off": (volume * share).round().astype("int64"), "swarm": flows["swarm_hash"],
                "first": flows["start_ns"], "last": flows["end_ns"],
            }
        )  # fmt: skip
        yield made[volume > 0]


def _join(gifts: pd.DataFrame, nodes: dict[str, dict[str, Any]], edges: dict[tuple[str, str], dict[str, Any]]) -> None:
    for gift in gifts.to_dict("records"):
        giver, taker, volume = str(gift["giver"]), str(gift["taker"]), int(gift["volume"])
        for host, site in ((giver, gift["giver_site"]), (taker, gift["taker_site"])):
            nodes.setdefault(host, {"site": site, "gave_bytes": 0, "took_bytes": 0})
        nodes[giver]["gave_bytes"] += volume
        nodes[taker]["took_bytes"] += volume
        edge = edges.setdefault((giver, taker), {name: 0 for name, part, _ in _KEYS if part == "edge"})
        edge["payload_bytes"] += volume
        edge["off_window_payload_bytes"] += int(gift["off"])
        edge["flows"] += 1
        edge["swarms"] = (edge["swarms"] or set()) | ({gift["swarm"]} - {""})
        edge["first_ns"] = min(edge["first_ns"] or gift["first"], gift["first"])
        edge["last_ns"] = max(edge["last_ns"], gift["last"])


def _data(facts: dict[str, Any]) -> str:
    return "".join(f"<data key={quoteattr(name)}>{_escaped(str(value))}</data>" for name, value in facts.items())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
