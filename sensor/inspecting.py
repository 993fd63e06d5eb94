"""One conversation message by message: what our decoder reads, beside what tshark sees, as a tree.

Where the two differ it is shown, not hidden. Without a flow chosen, the flows of the captures are listed, each with how
it went.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.text import Text
from rich.tree import Tree

from sensor import text, tshark
from sensor.errors import Exit, Mistake, OperatorError
from sensor.extract import chosen, wide
from sensor.flows import FlowTable
from sensor.kernels import headers
from sensor.messages import MessageReader
from sensor.pcapfile import Format
from sensor.schema import (
    CONN_STATES,
    KIND_GAP,
    KIND_HANDSHAKE,
    KIND_KEEPALIVE,
    KIND_UNKNOWN,
    KIND_VERDICT,
    VERDICTS,
    Handshakes,
    Packets,
)
from sensor.selection import Selection
from sensor.sources.files import find
from sensor.wire import ACK, BITFIELD, CANCEL, DO_PORT, EXTENDED, FIN, HAVE, PIECE, PSH, REQUEST, RST, SYN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sensor.schema import Bytes, Rows

_NAMES: Final = {
    0: "choke", 1: "unchoke", 2: "interested", 3: "not interested", EXTENDED: "message 20, which receivers discard",
}  # fmt: skip
_COUNTED: Final = {
    HAVE: "have", BITFIELD: "bitfield", REQUEST: "request", PIECE: "piece", CANCEL: "cancel",
    KIND_HANDSHAKE: "handshake", KIND_KEEPALIVE: "keep-alive", KIND_UNKNOWN: "unknown message",
}  # fmt: skip
_FLAGS: Final = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"))
# What tshark calls the protocols that we tell by first bytes.
_THEIRS: Final = {
    "msdo": "do", "tls": "tls", "ssl": "tls", "http": "http", "http2": "http", "smb": "smb", "smb2": "smb",
    "ssh": "ssh", "rdp": "rdp", "tpkt": "rdp", "socks": "socks", "bittorrent": "bittorrent", "dns": "dns",
}  # fmt: skip
_AGAIN: Final = {"retransmission", "fast_retransmission", "spurious_retransmission"}
_WIDE: Final = 240
_FIELDS: Final = 8  # of a layer, unless everything is asked for
_UNHEARD: Final = {"S0": "nobody answered: the peer is gone", "REJ": "the peer refused"}
_SIDES: Final = ("→", "←")


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """How much is shown."""

    packets: int = 2000
    """Packets that tshark is given; it takes its time."""
    is_full: bool = False
    """Every packet, and every field of every layer."""
    program: str | None = None
    """The tshark to use."""


@dataclass(frozen=True, slots=True)
class Part:
    """One packet of the conversation, and what it completed."""

    packet: np.void
    track: np.void
    messages: Rows
    handshakes: Rows


def captures_of(paths: Sequence[str]) -> list[str]:
    """Return the captures to read; of a case folder, the inputs that its manifest names.

    Raises
    ------
    OperatorError
        If there are none.
    """
    names: list[str] = []
    for path in paths:
        manifest = Path(path) / "manifest.json"
        if manifest.is_file():
            names += [each["file"] for each in json.loads(manifest.read_bytes())["inputs"] if each["sha256"]]
        else:
            names += find([path])
    return names


# --- all flows -----------------------------------------------------------------------------------------------------
def show_flows(paths: Sequence[str], console: Console) -> int:
    """List the flows of captures and how each went.

    Raises
    ------
    OperatorError
        If nothing can be read.
    """
    packets, data, _ = _read(captures_of(paths), Selection())
    table, reader = FlowTable(), MessageReader()
    tracks = table.push(packets)
    heard = [reader.push(packets, data, tracks), reader.settle(None)]
    table.sweep(int(packets["ts_ns"][-1]) if len(packets) else 0, everything=True)
    _, endings = table.take()
    messages = np.concatenate([each.messages for each in heard])
    handshakes = np.concatenate([each.handshakes for each in heard])
    for ending in endings[np.argsort(endings["flow"], kind="stable")]:
        number = ending["flow"]
        said, shaken = messages[messages["flow"] == number], handshakes[handshakes["flow"] == number]
        line = Text(_community_id(ending), style="bold")
        line.append(f"  {_when(int(ending['start_ns']))}  {_ends(ending)}  ", style="")
        line.append(f"{CONN_STATES[ending['conn_state']]} {_verdict(said)}", style="")
        console.print(line, soft_wrap=True)
        state = CONN_STATES[ending["conn_state"]]
        console.print(Text(f"    {_UNHEARD.get(state) or how_it_went(said, shaken)}"), soft_wrap=True)
    return Exit.DONE


def how_it_went(said: Rows, shaken: Rows) -> str:
    """Say in words what a flow was about, and whether an early end was a normal one.

    Parameters
    ----------
    said, shaken : Messages[M], Handshakes[H]
        Of one flow.

    Returns
    -------
    str

    Raises
    ------
    nothing
    """
    kinds = {side: said["kind"][said["from_resp"] == side] for side in (0, 1)}
    greeted = {int(each["from_resp"]) for each in shaken}
    moved = said[said["kind"] == PIECE]
    if len(moved):
        sides = [f"{len(moved[moved['from_resp'] == side])} {_SIDES[side]}" for side in (0, 1)]
        return f"pieces: {', '.join(sides)}, {int(moved['length'].sum()):,} bytes of content"
    told = [f"bitfield of {int(m['index'])}" for m in said if m["kind"] == BITFIELD]
    told += [f"have {int(m['index'])}" for m in said if m["kind"] == HAVE]
    told += [f"{count} keep-alives" for count in [int((said["kind"] == KIND_KEEPALIVE).sum())] if count]
    detail = f" ({', '.join(told)})" if told else ""
    if greeted == {0, 1}:
        if all((kinds[side] == BITFIELD).any() for side in (0, 1)):
            return f"both told what they hold, and neither needed anything of the other{detail}: normal"
        if not told:
            return "handshakes both ways and no more: the two have a connection for this content already: normal"
        return f"handshakes both ways, and nothing was asked for{detail}: normal"
    if greeted == {0} and not len(kinds[1]):
        return "a handshake without an answer: the responder does not hold this content: normal"
    return f"no handshake was seen{detail}" if not greeted else f"the handshake of one side{detail}"


# --- one flow ------------------------------------------------------------------------------------------------------
def show_flow(paths: Sequence[str], flow: str, console: Console, options: InspectOptions | None = None) -> int:
    """Show one conversation.

    Raises
    ------
    OperatorError
        If nothing can be read, or the flow is in none of the captures.
    """
    options = options or InspectOptions()
    names = captures_of(paths)
    packets, data, frames = _read(names, Selection(frozenset([flow])))
    if not len(packets):
        right = "take one that `swarmtap inspect` lists when no flow is named"
        raise OperatorError(Mistake("--flow", f"{flow} is in none of these captures", right))
    parts, rest = _conversation(packets, data)
    first = packets[0]
    ports = (int(first["src_port"]), int(first["dst_port"]))
    # Elsewhere the listener is mostly the lower one; a port is all that tshark can be told.
    seen, remark = _second_eyes(frames, options, DO_PORT if DO_PORT in ports else min(ports))
    said = np.concatenate([*(part.messages for part in parts), rest.messages])
    shaken = np.concatenate([*(part.handshakes for part in parts), rest.handshakes])
    title = Text(flow, style="bold")
    title.append(f"  {_ends_of(first, parts[0].track)}\n{_verdict(said)}: {how_it_went(said, shaken)}", style="")
    tree = Tree(title)
    tree.add(Text(remark, style="dim"))
    differences = _grow(tree, parts, rest.messages, seen, names, options)
    if len(seen) == len(parts) and any(each.messages for each in seen):
        counted = _counts(said, seen)
        for line in counted:
            tree.add(Text(f"differs: {line}", style="bold red"))
        differences += len(counted)
    tree.add(Text(f"{differences} differences between the two", style="bold red" if differences else "green"))
    if not console.is_terminal:
        console.width = _WIDE  # whoever reads a file scrolls
    console.print(tree)
    return Exit.DONE


def _counts(said: Rows, seen: list[tshark.Seen]) -> list[str]:
    """Say of which messages tshark counts more or fewer; it shows a piece where it ends, we where it begins."""
    ours = Counter(int(kind) for kind in said["kind"] if kind not in (KIND_VERDICT, KIND_GAP))
    theirs = Counter(kind for each in seen for kind in each.messages)
    names = {**_NAMES, **_COUNTED}
    wrong = sorted(kind for kind in ours | theirs if ours[kind] != theirs[kind])
    return [f"{ours[kind]} × {names.get(kind, f'message {kind}')}, tshark says {theirs[kind]}" for kind in wrong]


@dataclass(frozen=True, slots=True)
class _Rest:
    messages: Rows
    handshakes: Rows


def _conversation(packets: Rows, data: Bytes) -> tuple[list[Part], _Rest]:
    table, reader = FlowTable(), MessageReader()
    parts = []
    for at in range(len(packets)):
        one = packets[at : at + 1]
        track = table.push(one)
        heard = reader.push(one, data, track)
        parts.append(Part(one[0], track[0], heard.messages, heard.handshakes))
    left = reader.settle(None)
    return parts, _Rest(left.messages, left.handshakes)


def _second_eyes(
    frames: list[tuple[int, int, int, bytes]], options: InspectOptions, port: int
) -> tuple[list[tshark.Seen], str]:
    """Let tshark see the same packets; returns what it saw and a remark on how far that goes."""
    try:
        program = tshark.find(options.program)
    except OperatorError as error:
        return [], f"only our own decoder: {error.mistakes[0]}"
    shape = Format(sorted({link for _, _, link, _ in frames}), max(len(data) for *_, data in frames))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"flow.{shape.suffix}"
        with path.open("wb") as file:
            file.write(shape.head())
            for ts_ns, wire_bytes, link, frame in frames[: options.packets]:
                file.write(shape.record(frame, wire_bytes, link, ts_ns))
        seen = tshark.dissect(program, path, options.packets, port)
    version = ".".join(map(str, program.version))
    remark = f"beside it: tshark {version}"
    if not program.knows_do:
        remark += ", which has no dissector for DO: its layers end with TCP"
    else:
        remark += ", which shows peer ids in network order; Windows writes them in its own"
    if len(frames) > len(seen):
        remark += f"; of {len(frames):,} packets it was given the first {len(seen):,}"
    return seen, remark


def _grow(
    tree: Tree, parts: list[Part], late: Rows, seen: list[tshark.Seen], names: list[str], options: InspectOptions
) -> int:
    differences, quiet, quiet_bytes = 0, 0, 0
    verdict, start_ns = 0, int(parts[0].packet["ts_ns"])
    for at, part in enumerate(parts):
        changed = part.messages["index"][part.messages["kind"] == KIND_VERDICT]
        verdict = int(changed[-1]) if len(changed) else verdict
        theirs = seen[at] if at < len(seen) else None
        differing = _differences(part, theirs, verdict) if theirs is not None else []
        differences += len(differing)
        plain = not len(part.messages) and not differing and not int(part.packet["flags"]) & (SYN | FIN | RST)
        if plain and not options.is_full:
            quiet, quiet_bytes = quiet + 1, quiet_bytes + int(part.track["new_bytes"])
            continue
        quiet, quiet_bytes = _skip(tree, quiet, quiet_bytes)
        branch = tree.add(_packet(part, start_ns, names))
        for message in part.messages:
            branch.add(Text(_message(message, part.handshakes), style="cyan"))
        if theirs is not None:
            _beside(branch, theirs, is_full=options.is_full)
        for line in differing:
            branch.add(Text(f"differs: {line}", style="bold red"))
    _skip(tree, quiet, quiet_bytes)
    for message in late:
        tree.add(Text(f"at the end: {_message(message, Handshakes.empty())}", style="cyan"))
    return differences


def _skip(tree: Tree, quiet: int, volume: int) -> tuple[int, int]:
    if quiet:
        tree.add(Text(f"… {quiet:,} packets, {volume:,} bytes: bodies and acknowledgements", style="dim"))
    return 0, 0


def _packet(part: Part, start_ns: int, names: list[str]) -> Text:
    packet, track = part.packet, part.track
    flags = " ".join(name for bit, name in _FLAGS if int(packet["flags"]) & bit)
    since_s = (int(packet["ts_ns"]) - start_ns) / 1e9
    line = Text(f"{since_s:+.6f} s {_SIDES[int(track['from_resp'])]} {flags}")
    size = int(packet["payload_bytes"])
    if size:
        line.append(f", {size} bytes at {int(track['position'])}")
        if track["duplicate"]:
            line.append(" (a copy from a double mirror)")
        elif int(track["new_bytes"]) < size:
            line.append(f" ({size - int(track['new_bytes'])} seen before)")
        if int(packet["payload_captured"]) < size:
            line.append(f" ({int(packet['payload_captured'])} captured)")
    where = names[int(packet["input"])]
    line.append(f"  frame {int(packet['number'])} of {Path(where).name}", style="dim")
    return line


def _message(message: np.void, handshakes: Rows) -> str:
    kind, index, begin, length = (int(message[name]) for name in ("kind", "index", "begin", "length"))
    words = {
        BITFIELD: f"bitfield: holds {index} of at most {begin} pieces",
        HAVE: f"have: piece {index}",
        REQUEST: f"request: {length:,} bytes of piece {index} from {begin} on",
        CANCEL: f"cancel: {length:,} bytes of piece {index} from {begin} on",
        PIECE: f"piece: {length:,} bytes of piece {index} from {begin} on",
        KIND_KEEPALIVE: "keep-alive",
        KIND_UNKNOWN: f"message {index}, which nobody has described, {length:,} bytes",
        KIND_GAP: f"gap: {length:,} bytes from {int(message['position'])} on are not understood: a header was lost",
    }
    if kind == KIND_VERDICT:
        what = f": message {begin} of {length:,} bytes" if VERDICTS[index] == "do_malformed" else ""
        return f"so this is {VERDICTS[index]}{what}"
    if kind == KIND_HANDSHAKE:
        shakes = [each for each in handshakes if each["from_resp"] == message["from_resp"]]
        peers = [
            f": swarm {bytes(s['swarm_hash']).hex()}, peer {uuid.UUID(bytes_le=bytes(s['peer_id']))}" for s in shakes
        ]
        return f"handshake{''.join(peers[:1])}"
    return words.get(kind) or _NAMES[kind]


def _beside(branch: Tree, seen: tshark.Seen, *, is_full: bool) -> None:
    remarks = f"  {', '.join(seen.remarks).replace('_', ' ')}" if seen.remarks else ""
    node = branch.add(Text(f"tshark: {' / '.join(seen.names)}{remarks}", style="magenta"))
    for layer in seen.layers:
        if is_full or layer.name not in ("eth", "sll", "ip", "ipv6", "tcp", "data"):
            leaf = node.add(Text(layer.name, style="magenta"))
            for shown in layer.fields if is_full else layer.fields[:_FIELDS]:
                leaf.add(Text(shown, style="dim"))
            if not is_full and len(layer.fields) > _FIELDS:
                leaf.add(Text(f"… {len(layer.fields) - _FIELDS} more", style="dim"))


def _differences(part: Part, seen: tshark.Seen, verdict: int) -> list[str]:
    """Say where tshark and we read the same packet differently."""
    packet, track = part.packet, part.track
    size = int(packet["payload_bytes"])
    found = []
    if seen.payload_bytes is None:
        return [f"tshark sees no TCP, but {' / '.join(seen.names)}"]
    if seen.payload_bytes != size:
        found.append(f"{size} bytes of payload, tshark says {seen.payload_bytes}")
    elif size and track["from_start"] and seen.seq is not None and seen.seq - 1 != int(track["position"]):
        found.append(f"position {int(track['position'])}, tshark says {seen.seq - 1}")
    again = bool(size) and int(track["new_bytes"]) == 0
    if size and again != bool(_AGAIN & set(seen.remarks)) and "keep_alive" not in seen.remarks:
        found.append("seen before, tshark takes it for new" if again else "new, tshark says it was seen before")
    for name in seen.names:
        if name in _THEIRS and _THEIRS[name] != VERDICTS[verdict].removesuffix("_malformed"):
            found.append(f"{VERDICTS[verdict]}, tshark says {name}")
            break
    return found


# --- reading ---------------------------------------------------------------------------------------------------------
def _read(names: Sequence[str], selection: Selection) -> tuple[Rows, Bytes, list[tuple[int, int, int, bytes]]]:
    """Return chosen packets in order of time, their payloads, and their frames as (time, wire bytes, link, bytes)."""
    found, frames = [], []
    decoder = wide()
    for source, name in enumerate(names):
        for part in chosen(name, source, selection, decoder=decoder):
            if isinstance(part, str):
                continue
            payload = np.zeros(int(part.packets["payload_captured"].sum()), dtype=np.uint8)
            packets = part.packets.copy()
            headers.gather_payloads(packets, part.data, 0, payload)
            found.append((packets, payload))
            for frame in part.frames:
                start, size = int(frame["at"]), int(frame["captured_bytes"])
                raw = part.data[start : start + size].tobytes()
                frames.append((int(frame["ts_ns"]), int(frame["wire_bytes"]), int(frame["link_type"]), raw))
    if not found:
        return Packets.empty(), np.zeros(0, dtype=np.uint8), []
    moved = 0
    for packets, payload in found:
        packets["payload_at"] += moved
        moved += len(payload)
    rows = np.concatenate([packets for packets, _ in found])
    order = np.lexsort((rows["number"], rows["input"], rows["ts_ns"]))
    return rows[order], np.concatenate([payload for _, payload in found]), [frames[at] for at in order]


# --- words -----------------------------------------------------------------------------------------------------------
def _verdict(said: Rows) -> str:
    verdicts = said["index"][said["kind"] == KIND_VERDICT]
    return VERDICTS[int(verdicts[-1])] if len(verdicts) else VERDICTS[0]


def _when(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns / 1e9, tz=UTC).isoformat(sep=" ", timespec="milliseconds")


def _address(hi: int, lo: int) -> str:
    return str(text.addresses(np.array([hi], dtype=np.uint64), np.array([lo], dtype=np.uint64))[0])


def _ends(ending: np.void) -> str:
    orig, resp = _address(ending["orig_hi"], ending["orig_lo"]), _address(ending["resp_hi"], ending["resp_lo"])
    return f"{orig}:{ending['orig_port']} → {resp}:{ending['resp_port']}"


def _ends_of(packet: np.void, track: np.void) -> str:
    src = f"{_address(packet['src_hi'], packet['src_lo'])}:{packet['src_port']}"
    dst = f"{_address(packet['dst_hi'], packet['dst_lo'])}:{packet['dst_port']}"
    return f"{dst} → {src}" if track["from_resp"] else f"{src} → {dst}"


def _community_id(ending: np.void) -> str:
    words = [
        np.array([ending[name]]) for name in ("orig_hi", "orig_lo", "orig_port", "resp_hi", "resp_lo", "resp_port")
    ]
    return str(text.community_ids(*words)[0])
