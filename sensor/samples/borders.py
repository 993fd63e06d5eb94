"""Near misses: for each clause of a rule somebody whom only this clause keeps out, or lets in; rules' cases name them.

Each host is there for one reason, told beside it. Many share a capture, because each is asked about by one rule.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from sensor import wire
from sensor.samples import foreign
from sensor.samples.delivery import KEEPALIVE, Content, Transfer, message
from sensor.samples.files import Shape
from sensor.samples.frames import ORIG, RESP, Host
from sensor.samples.grounds import CASH, HQ, MINUTE, branch, hq, utc
from sensor.samples.office import CUT, Scene, Story, found
from sensor.samples.stack import MS, SECOND, Path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sensor.samples.delivery import Talk

HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NOON: Final = utc("2026-06-16T12:00:00")
LAN: Final = Path(rtt_ns=600_000, bytes_per_s=60_000_000, merged=44)
HEADERS: Final = Shape(snaplen=CUT)
WHOLE: Final = Shape()
SMALL: Final = Content("border update", 3, last_bytes=131_072)
BIT: Final = Content("border patch", 1, last_bytes=65_536)
CRUMB: Final = Content("border crumb", 1, last_bytes=20_000)
ONE_SYN: Final = (0,)
STRANGER: Final = "198.51.100"


def _a(number: int, subnet: int = 2) -> Host:
    return Host(f"10.21.{subnet}.{number}")


def _far(number: int) -> Host:
    return Host(f"{STRANGER}.{number}").behind("router", hops=9)


def _give(scene: Scene, orig: Host, resp: Host, at_ns: int, content: Content = BIT) -> Talk:
    talk = scene.talk(orig, resp, at_ns, LAN)
    talk.run(Transfer(content, range(content.pieces)))
    return talk


def _syn(scene: Scene, orig: Host, resp: Host, at_ns: int, offsets: tuple[int, ...] = ONE_SYN) -> None:
    scene.talk(orig, resp, at_ns, LAN, "too_little").tcp.knock(offsets)


def _silent(scene: Scene, orig: Host, resp: Host, at_ns: int, hold_ns: int = 300 * MS) -> None:
    talk = scene.talk(orig, resp, at_ns, LAN, "too_little")
    talk.tcp.connect()
    talk.tcp.idle(hold_ns)
    talk.tcp.close(ORIG)


def _say(scene: Scene, hosts: tuple[Host, Host], at_ns: int, verdict: str, path: Path = LAN) -> Talk:
    talk = scene.talk(*hosts, at_ns, path, verdict)
    talk.tcp.connect()
    for side, data in foreign.DIALOGUES[verdict]():
        talk.tcp.send(side, data)
    talk.tcp.close(ORIG)
    return talk


def _unseen(scene: Scene, talks: Iterable[Talk], side: int, *, data_only: bool = True, every: int = 1) -> None:
    """Take from the tape what one side of these talks sent: its data, or everything."""
    links = {id(talk.tcp.link) for talk in talks}
    kept, turn = [], 0
    for segment in scene.tape.segments:
        hit = id(segment.link) in links and segment.side == side and (segment.payload_bytes > 0 or not data_only)
        turn += hit
        if not hit or turn % every:
            kept.append(segment)
    scene.tape.segments[:] = kept


# --- looking around ----------------------------------------------------------------------------------------------
def _idle(scene: Scene) -> None:
    for n in range(55):  # connections of before the capture: a keep-alive each, and its ACK
        talk = scene.talk(_a(1), _a(10 + n, 3), NOON + n * 900 * MS, LAN, "too_little")
        talk.tcp.connect()
        talk.tcp.idle(100 * MS)
        talk.tcp.send(ORIG, KEEPALIVE)
        talk.tcp.settle()
        talk.tcp.state = "OTH"
    scene.tape.segments[:] = [s for s in scene.tape.segments if s.payload_bytes or (s.side == RESP and not s.options)]
    for n in range(24):  # known to be updates; ten minutes later all are given up within a few seconds
        talk = scene.talk(_a(2), _a(10 + n, 4), NOON + 2 * MINUTE + n * 11 * SECOND, LAN)
        talk.greet(SMALL)
        talk.tcp.settle()
        talk.tcp.idle(NOON + 20 * MINUTE + n * 200 * MS - talk.tcp.now_ns)
        talk.tcp.reset(ORIG)


def _old_list(scene: Scene) -> None:
    for n in range(55):
        far = _a((n * 37) % 199 + 20, 41 + n % 7)
        scene.talk(_a(3), far, NOON + n * 40 * SECOND, LAN, "too_little").tcp.knock()


def _steady(scene: Scene) -> None:
    for n in range(110):
        _syn(scene, _a(4), _a((n * 37) % 199 + 20, 41 + n % 7), NOON + n * 30 * SECOND)


def _told_better(scene: Scene) -> None:
    for n in range(60):  # patient, and some of them are addresses that nobody has
        far = _a(n + 7, 99) if n in {2, 4, 6} else _a((n * 37) % 199 + 20, 41 + n % 7)
        _syn(scene, _a(5), far, NOON + n * 8 * MINUTE)
        _syn(scene, _a(6), _a(30 + n, 51), NOON + n * 5 * MINUTE)  # patient, and in ascending order
        scene.talk(_a(8), _a((n * 41) % 199 + 20, 42 + n % 7), NOON + n * 8 * MINUTE, LAN, "too_little").tcp.be_refused(
            ONE_SYN
        )  # patient, and refused each time
    for n in range(12):
        _syn(scene, _a(7), _a(100 + n, 99), NOON + n * 4 * MINUTE)  # in ascending order where nobody is
    for n in range(2):
        _syn(scene, _a(9), _a(200 + 9 * n, 99), NOON + n * MINUTE)  # two are a slip


def _quick(scene: Scene) -> None:
    for n in range(24):  # fast enough for a scan
        _silent(scene, _a(10), _a((n * 37) % 199 + 20, 43), NOON + n * 1500 * MS)
    unseen = []
    for n in range(6):
        _silent(scene, _a(11), _a(20 + n * 9, 44), NOON + n * 3 * MINUTE, 20 * SECOND)  # they stay for a while
        talk = scene.talk(_a(12), _a(20 + n * 9, 45), NOON + n * 3 * MINUTE, LAN, "too_little")
        talk.tcp.connect()
        talk.tcp.send(ORIG, foreign.noise("unseen", 700))  # they said something, which the sensor missed
        talk.tcp.close(ORIG)
        unseen.append(talk)
    for n in range(4):
        _silent(scene, _a(13), _a(20 + n * 9, 46), NOON + n * 3 * MINUTE)  # four are not five
    _unseen(scene, unseen, ORIG)


def _one_content(scene: Scene) -> None:
    unheard = []
    for n in range(11):
        at = NOON + n * 3 * MINUTE
        _give(scene, _a(14), _a(20 + n, 47), at)  # the same from eleven peers, who have it
        talk = scene.talk(_a(15), _a(60 + n, 47), at, LAN)  # answered, and the answer missed
        talk.greet(SMALL)
        talk.tcp.close(ORIG)
        unheard.append(talk)
        content = Content(f"border title {n}", 1, last_bytes=20_000)
        _give(scene, _a(17), _a(100 + n, 47), at, content)  # eleven contents, and fetches each
        other = scene.talk(_a(18), _a(140 + n, 47), at, LAN)  # eleven contents, and is asked for each
        other.run(Transfer(content, range(1), uploader="orig"))
        _give(scene, _a(24), _a(30 + n, 49), at, content)  # eleven contents of eleven neighbours, one after the other
        talk = scene.talk(_a(25), _a(60 + n, 49), at, LAN)  # eleven contents in vain
        talk.greet(content, answered=False)
        talk.tcp.close(RESP)
    _say(scene, (Host("10.23.0.11"), _a(26)), NOON, "http")  # across the VPN, but no updates
    _give(scene, _a(26), Host("10.23.0.200"), NOON + MINUTE)  # a reception, not a remote desk
    for n in range(3):
        at = NOON + n * 3 * MINUTE
        talk = scene.talk(_a(16), _a(180 + n * 7, 47), at, LAN)  # three in vain
        talk.greet(SMALL, answered=False)
        talk.tcp.close(RESP)
        talk = scene.talk(_a(19), _a(210 + n, 47), at, LAN)  # three contents looked at
        talk.greet(Content(f"border look {n}", 3))
        talk.tcp.close(ORIG)
    _unseen(scene, unheard, RESP)
    for talk in unheard:
        talk.said[1].handshake = False


# --- across borders ----------------------------------------------------------------------------------------------
def _strangers(scene: Scene) -> None:
    hall, vault, desk, remote = Host("10.20.1.5"), Host("10.22.0.5"), _a(20), Host("10.23.0.5")
    _say(scene, (hall, _far(40)), NOON, "opaque")
    talk = scene.talk(vault, _far(41), NOON + MINUTE, LAN, "do_malformed")
    talk.greet(SMALL)
    talk.tcp.send(ORIG, struct.pack(">IB", 200_000_000, wire.HAVE) + foreign.noise("overflow", 700))
    talk.tcp.close(RESP)
    _give(scene, _far(42), desk, NOON + 2 * MINUTE, SMALL)  # let in, and given updates
    _say(scene, (remote, _far(43)), NOON + 3 * MINUTE, "http")  # out, in another protocol
    _silent(scene, hall, _far(44), NOON + 4 * MINUTE)  # out, and nothing said
    _silent(scene, _far(45), _far(46), NOON + 5 * MINUTE)  # passing by
    for n in range(4):
        at = NOON + (10 + n) * MINUTE
        scene.talk(_far(50 + n), vault, at, LAN, "too_little").tcp.be_refused(ONE_SYN)
        _syn(scene, Host(f"10.20.1.{20 + n}"), _far(60 + n), at)  # out, and nobody there
        _syn(scene, _far(70 + n), _far(80 + n), at)  # passing by
        _silent(scene, _far(110 + n), Host("10.20.2.9"), at)  # let in
    for n in range(2):
        _syn(scene, _far(90 + n), remote, NOON + (20 + n) * MINUTE)  # two are nothing


def _crossings(scene: Scene) -> None:
    lockers, kiosk, vault = Host("10.24.1.5"), Host("10.25.0.5"), Host("10.22.0.6")
    pairs = (
        (Host("10.20.1.6"), Host("10.20.2.7"), "silent"),  # two subnets of one site, and nothing said
        (_a(21), vault, "knock"),  # nobody answers
        (_a(21), Host("10.23.0.6"), "silent"),  # a pair that may
        (_a(21), lockers, "silent"),  # the other side is disabled
        (Host("10.22.0.7"), _a(22), "do"),  # two sites, not two subnets
        (Host("10.20.1.8"), Host("10.20.2.8"), "http"),  # two subnets, but no updates
        (lockers, Host("10.24.2.5"), "do"),  # two subnets, but of a disabled site
        (Host("10.21.0.66"), kiosk, "do"),  # nobody's box, where it is disabled
        (Host("10.24.1.8"), Host("10.24.1.9"), "much"),  # off every schedule, and disabled
        (_a(23), lockers, "do"),  # two sites, of which one is disabled
        (Host("10.20.1.9"), Host("10.22.0.8"), "tls"),  # two sites, but no updates
        (Host("10.23.0.12"), Host("10.23.0.13"), "do"),  # within the VPN
        (Host("10.22.0.9"), Host("10.23.0.14"), "do"),  # across the VPN, but they may not at all
        (Host("10.23.0.15"), kiosk, "do"),  # across the VPN to where it is disabled
        (_a(27), Host("10.21.0.9"), "http"),  # client and server, but no updates
        (Host("10.22.0.10"), Host("10.21.0.9"), "do"),  # client and server that may not peer
        (_a(28), Host("10.25.0.9"), "do"),  # client and server, where it is disabled
        (Host("10.23.0.16"), Host("10.21.0.9"), "do"),  # remote desk and server
        (Host("10.21.0.9"), Host("10.23.0.17"), "do"),  # server and remote desk
    )
    for n, (orig, resp, what) in enumerate(pairs):
        at = NOON + n * 2 * MINUTE
        if what == "silent":
            _silent(scene, orig, resp, at, 20 * SECOND)
        elif what == "knock":
            scene.knock(orig, resp, at, LAN)
        elif what in {"do", "much"}:
            _give(scene, orig, resp, at, BIT if what == "do" else SMALL)
        else:
            _say(scene, (orig, resp), at, what)


def _other_way(scene: Scene) -> None:
    _give(scene, Host("10.23.0.9"), _a(29), NOON)
    _give(scene, Host("10.21.0.9"), _a(30), NOON + MINUTE)
    _give(scene, Host("10.21.0.66"), _a(31), NOON + 2 * MINUTE)


# --- how they talk -----------------------------------------------------------------------------------------------
def _push(scene: Scene, orig: Host, resp: Host, at_ns: int, side: int) -> Talk:
    talk = scene.talk(orig, resp, at_ns, LAN)
    talk.greet(SMALL)
    talk.show(range(3), range(3))
    for piece in range(2):
        head = message(wire.PIECE, struct.pack(">II", piece, 0), more=wire.DO_PIECE_SIZE)
        talk.tcp.send(side, head, wire.DO_PIECE_SIZE)
        talk.said[side].pieces += 1
        talk.said[side].piece_bytes += wire.DO_PIECE_SIZE
    return talk


def _pushes(scene: Scene) -> None:
    _push(scene, _a(32), _a(33), NOON, RESP).tcp.close(ORIG)  # the responder gives unasked
    one_sided = [_push(scene, _a(34), _a(35), NOON + MINUTE, ORIG)]  # the requests may have been on the other side
    one_sided += [_give(scene, _a(36 + n), _a(46 + n), NOON + (2 + n) * MINUTE) for n in range(2)]
    lossy = _push(scene, _a(40), _a(41), NOON + 5 * MINUTE, ORIG)  # the requests may be what was lost
    guessed = _push(scene, _a(42), _a(43), NOON + 6 * MINUTE, ORIG)  # the requests may have come before
    scene.talk(_a(44), _a(45), NOON + 7 * MINUTE, LAN).run(Transfer(SMALL, range(3), uploader="orig"))
    broken = []
    for at, unknown in ((8, 0), (9, 3)):
        talk = scene.talk(_a(50 + at), _a(70 + at), NOON + at * MINUTE, LAN, "do_malformed")
        talk.greet(SMALL)
        talk.show(range(0), range(3))
        for _ in range(unknown):
            talk.tcp.send(RESP, message(77, b"\0" * 12))  # what follows is told, and not this
        if not unknown:
            talk.tcp.send(ORIG, message(wire.PIECE, struct.pack(">II", 0, 0), more=400_000), 400_000)
            talk.said[0].pieces += 1
            talk.said[0].piece_bytes += 400_000
            broken.append(talk)
        talk.tcp.send(ORIG, struct.pack(">IB", 200_000_000, wire.HAVE) + foreign.noise("overflow", 700))
        talk.tcp.close(RESP)
    talk = scene.talk(_a(52), _a(53), NOON + 12 * MINUTE, LAN, "opaque")  # a few bytes that nobody knows
    talk.tcp.connect()
    for side in (ORIG, RESP):
        talk.tcp.send(side, foreign.noise(f"brief {side}", 900))
    talk.tcp.close(ORIG)
    _unseen(scene, one_sided, RESP, data_only=False)
    _unseen(scene, [lossy], ORIG, every=9)
    _unseen(scene, broken, ORIG, every=4)
    early = id(guessed.tcp.link)
    scene.tape.segments[:] = [s for s in scene.tape.segments if id(s.link) != early or not s.options]


def _hub(scene: Scene) -> None:
    for n in range(20):
        at = NOON + n * 7 * MINUTE
        parts = Content("border hub", 3, last_bytes=420_000)
        for site, giver, content in (("21.60", 1, parts), ("20.1", 1, parts), ("20.1", 2, parts), ("23.0", 1, CRUMB)):
            taker, far = Host(f"10.{site}.{50 + n}"), Host(f"10.{site}.{giver}")
            scene.talk(taker, far, at + giver * SECOND, LAN).run(Transfer(content, range(content.pieces), ahead=3))
    _give(scene, _a(70), _a(71), NOON + DAY, CRUMB)  # the next day


def _long(scene: Scene) -> None:
    for n, (verdict, size) in enumerate((("opaque", 90), ("opaque", 900))):
        talk = scene.talk(_a(62 + 2 * n), _a(63 + 2 * n), NOON, LAN, verdict)
        talk.tcp.connect()
        for turn in range(42):  # one drop every ten minutes, or rather more than that
            for side in (ORIG, RESP):
                talk.tcp.send(side, foreign.noise(f"drop {side} {turn}", size))
            talk.tcp.settle()
            talk.tcp.idle(10 * MINUTE)
        talk.tcp.close(ORIG)
    talk = scene.talk(_a(66), _a(67), NOON, LAN)  # an update connection that rests
    talk.greet(SMALL)
    talk.keep_alive(20 * MINUTE, 21, resp_after_ns=4 * MINUTE)
    talk.tcp.close(ORIG)


# --- the office --------------------------------------------------------------------------------------------------
def _tongues(scene: Scene) -> None:
    for n, verdict in enumerate(("http", "tls", "ssh", "smb", "rdp", "socks", "bittorrent", "dns", "opaque")):
        desks = Host(f"10.9.0.{100 + 2 * n}"), Host(f"10.9.0.{101 + 2 * n}")
        talk = scene.talk(*desks, utc("2026-06-12T09:00:00") + n * MINUTE, CASH, verdict)
        talk.tcp.connect()
        for side, data in foreign.DIALOGUES[verdict]():
            talk.tcp.send(side, data)
        talk.tcp.send(RESP, b"", 70_000)  # as much as an update would be
        talk.tcp.close(ORIG)


def _desks(scene: Scene) -> None:
    at = utc("2026-06-12T10:00:00")
    desk = [Host(f"10.9.0.{n}") for n in range(30, 40)]
    scene.talk(desk[0], desk[1], at, CASH, "too_little").tcp.be_refused()
    _silent(scene, _far(50), desk[2], at + MINUTE)  # let in from the Internet
    _give(scene, desk[3], _far(51), at + 2 * MINUTE)  # fetched from the Internet
    talk = scene.talk(hq(61), desk[4], at + 3 * MINUTE, CASH)  # the originator gives
    talk.run(Transfer(CRUMB, range(1), uploader="orig"))
    _give(scene, desk[6], desk[7], at + 3 * MINUTE, CRUMB)  # very little, and yet a piece
    talk = scene.talk(branch(61), desk[5], at + 4 * MINUTE, CASH)  # much, and no piece
    talk.greet(BIT)
    talk.tcp.send(RESP, message(77, b"", more=70_000), 70_000)
    talk.tcp.close(ORIG)
    _silent(scene, hq(62), hq(63), at + 5 * MINUTE)  # a listener where it is scheduled


def _desk_scan(scene: Scene) -> None:
    # It begins two seconds before a window ends: the first window alone has too few for a scan.
    for n in range(60):
        at = utc("2026-06-12T11:00:08") + n * 300 * MS
        scene.talk(hq(75), Host(f"10.9.0.{120 + n}"), at, CASH, "too_little").tcp.knock(ONE_SYN)


def _cut_short(scene: Scene) -> None:
    talk = _give(scene, Host("10.9.0.60"), Host("10.9.0.61"), utc("2026-06-12T10:30:00"))
    talk.verdict, talk.content = "too_little", None
    for said in talk.said:
        said.handshake, said.pieces, said.piece_bytes, said.requests = False, 0, 0, 0


def _afternoon(scene: Scene) -> None:
    at = utc("2026-06-11T12:00:00")
    slow = Path(rtt_ns=700_000, bytes_per_s=40_000, vlans=(10,), merged=44)
    early = utc("2026-06-10T04:04:20")  # within the grace of the slot
    talk = scene.talk(hq(64), hq(65), at, HQ, "http")
    talk.tcp.connect()
    for side, data in foreign.http():
        talk.tcp.send(side, data)
    talk.tcp.send(RESP, b"", 1_500_000)  # a backup, not an update
    talk.tcp.close(ORIG)
    scene.talk(hq(66), branch(66), at + MINUTE).run(Transfer(SMALL, range(3)))  # may never peer
    _give(scene, hq(72), Host("10.77.0.5"), at + 2 * MINUTE)  # inside, and of no site
    talk = scene.talk(hq(67), hq(68), early, slow, "http")  # ran on after the slot, and is no update
    talk.tcp.connect()
    for side, data in foreign.http():
        talk.tcp.send(side, data)
    talk.tcp.send(RESP, b"", 3_200_000)
    talk.tcp.close(ORIG)
    update = Content("border feature update", 40)
    scene.talk(hq(69), branch(69), early, slow).run(Transfer(update, range(3), ending="rst_orig"))
    small = Path(rtt_ns=700_000, bytes_per_s=1_000, vlans=(10,))
    scene.talk(hq(70), hq(71), early, small).run(Transfer(BIT, range(1)))  # ran on, and very little


# --- weeks -------------------------------------------------------------------------------------------------------
def _week(scene: Scene, site: int, at_ns: int, pieces: int) -> None:
    update = Content("weekly", 800)
    week = at_ns // (7 * DAY)
    orig, resp = Host(f"10.{site}.0.{5 + week % 90}"), Host(f"10.{site}.0.{100 + week % 90}")
    scene.talk(orig, resp, at_ns, LAN).run(Transfer(update, range(pieces), ahead=4))


def _habits(scene: Scene) -> None:
    slot = utc("2026-05-05T20:12:00")
    for week in range(6):
        at = slot + week * 7 * DAY
        _week(scene, 31, at + 40 * MINUTE, 1)  # the sensor hears somebody in each slot
        _week(scene, 34, at, (2, 2, 2, 2, 2, 1)[week])  # half of the usual is not silence
        if week < 5:  # noqa: PLR2004 - the last is silent
            scene.talk(Host("10.32.0.5"), Host("10.32.0.6"), at + MINUTE, LAN).run(Transfer(BIT, range(1)))  # little
            _week(scene, 36, at + 2 * MINUTE, 2)  # may always peer: an hour without is no slot
    _give(scene, Host("10.31.0.8"), Host("10.35.0.9"), slot + 37 * DAY)  # two subnets that may


def _surprises(scene: Scene) -> None:
    slot = utc("2026-05-05T20:12:00")
    for week in range(5):
        at = slot + week * 7 * DAY
        _week(scene, 30, at, (1, 18, 1, 18, 52)[week])  # much differs from week to week
        if week < 4:  # noqa: PLR2004 - it ends with much
            _week(scene, 33, at + 3 * MINUTE, (1, 1, 1, 50)[week])  # three are too few to know
        _week(scene, 34, at + 6 * MINUTE, (1, 1, 1, 1, 8)[week])  # far more than usual, and still not much
    _give(scene, Host("10.31.0.8"), Host("10.31.0.9"), utc("2026-06-10T09:00:00"))


def _short(scene: Scene) -> None:
    for week in range(3):
        at = utc("2026-05-05T20:12:00") + week * 7 * DAY
        _week(scene, 30, at, 2)
        _week(scene, 31, at - 9 * HOUR, 1)
    _week(scene, 31, utc("2026-05-26T20:40:00"), 1)
    _give(scene, Host("10.31.0.8"), Host("10.31.0.9"), utc("2026-05-28T09:00:00"))


def _thin(scene: Scene) -> None:
    for week in range(5):
        scene.knock(Host("10.31.0.5"), Host("10.31.0.6"), utc("2026-05-05T20:12:00") + week * 7 * DAY, LAN)
    _give(scene, Host("10.31.0.8"), Host("10.31.0.9"), utc("2026-06-11T09:00:00"))


_PROTOCOLS: Final = ("http", "tls", "ssh", "smb", "rdp", "socks", "bittorrent", "dns")
STORIES: Final = (
    (
        "annex",
        Story(
            "idle-connections",
            "connections of before the capture",
            "55 idle connections of one PC, each a keep-alive and its ACK, all within a minute; and 24 of another that "
            "greeted, rested, and are reset within five seconds. Nothing to report.",
            79,
            _idle,
            (),
            WHOLE,
        ),
    ),
    (
        "annex",
        Story(
            "old-peer-list",
            "a long list of peers that are gone",
            "55 silent peers, five SYNs to each, the next 40 s later. Nothing to report.",
            55,
            _old_list,
            (),
            WHOLE,
        ),
    ),
    (
        "annex",
        Story(
            "steady-scan",
            "a scan of two addresses a minute",
            "110 addresses in an hour, in no order, one SYN each.",
            110,
            _steady,
            found("r01_horizontal_scan", orig_ip="10.21.2.4"),
            WHOLE,
        ),
    ),
    (
        "annex",
        Story(
            "told-better",
            "patient scans, each of which one rule tells best",
            "One asks dark addresses among others, one ascends, one is refused 60 times, one ascends where nobody is, "
            "and one asks two dark addresses.",
            194,
            _told_better,
            (
                *found("r02_dark_addresses", orig_ip="10.21.2.5"),
                *found("r02_dark_addresses", orig_ip="10.21.2.7"),
                *found("r03_slow_scan", orig_ip="10.21.2.8"),
                *found("r04_sequential_sweep", orig_ip="10.21.2.6"),
            ),
            WHOLE,
        ),
    ),
    (
        "annex",
        Story(
            "quick-connects",
            "connections that say nothing, or seem to",
            "24 within a minute, which is a scan; six that stay for 20 s, six whose data the sensor missed, and four.",
            40,
            _quick,
            found("r01_horizontal_scan", orig_ip="10.21.2.10"),
            WHOLE,
        ),
    ),
    (
        "annex",
        Story(
            "one-content",
            "greetings that are answered after all",
            "One content from eleven peers; eleven answers that the sensor missed; eleven contents fetched, given, and "
            "fetched in ascending order; three in vain, and eleven; three looked at.",
            74,
            _one_content,
            found("p01_other_protocol", resp_ip="10.21.2.26", verdict="http"),
            HEADERS,
        ),
    ),
    (
        "annex",
        Story(
            "strangers",
            "all that can happen at the border to the Internet",
            "Unknown and broken messages out, updates in, HTTP out, silence out and in, refusals, and traffic that "
            "only passes by.",
            24,
            _strangers,
            (
                *found("t05_internet_peering", site="halls"),
                *found("t05_internet_peering", site="vault"),
                *found("t05_internet_peering", site="plant"),
                *found("t06_internet_inbound", site="halls"),
                *found("p01_other_protocol", resp_ip="198.51.100.43", verdict="http"),
                *found("r08_internet_scan", site="vault"),
            ),
            HEADERS,
        ),
    ),
    (
        "annex",
        Story(
            "crossings",
            "pairs of hosts that one rule, and no other, speaks of",
            "19 pairs of sites, subnets and roles, each almost what a rule about borders tells.",
            19,
            _crossings,
            (
                *found("t04_vpn_peering", site_pair="plant~remote"),
                *found("t03_cross_site", site_pair="remote~vault"),
                *found("w04_transfer_while_disabled", site_pair="lockers~lockers"),
                *found("t03_cross_site", site_pair="plant~vault"),
            ),
            HEADERS,
        ),
    ),
    (
        "annex",
        Story(
            "other-way",
            "the other side begins",
            "A remote desk, a server, and somebody's own box connect to PCs of the plant and download.",
            3,
            _other_way,
            (
                *found("t04_vpn_peering", site_pair="plant~remote"),
                *found("t07_role_mismatch", orig_role="server", resp_role="client"),
                *found("t08_unknown_endpoint", site="plant"),
            ),
            HEADERS,
        ),
    ),
    (
        "annex",
        Story(
            "pushes",
            "data unasked, or so it seems",
            "A responder that gives unasked; and the same where one side, some frames, or the beginning were not seen.",
            10,
            _pushes,
            found("p13_unrequested_upload", orig_ip="10.21.2.32", resp_ip="10.21.2.33"),
            HEADERS,
        ),
    ),
    (
        "annex",
        Story(
            "hub",
            "one host gives to twenty",
            "In the plant one PC gives to 20 others; in the halls two share that, and a remote desk gives little.",
            81,
            _hub,
            (
                *found("v02_super_seeder", host="10.21.60.1"),
                *found("w07_over_limit", site="plant"),
            ),
            HEADERS,
        ),
    ),
    (
        "annex",
        Story(
            "long-talks",
            "connections that live for seven hours",
            "One of a few unknown bytes every ten minutes, one of more, and an update connection that rests.",
            3,
            _long,
            (
                *found("p14_tunnel_shape", orig_ip="10.21.2.62", resp_ip="10.21.2.63"),
                *found("p02_opaque", orig_ip="10.21.2.64", resp_ip="10.21.2.65"),
            ),
            WHOLE,
        ),
    ),
    (
        "office",
        Story(
            "foreign-tongues",
            "nine protocols at the cash desks",
            "Each a listener where peers are disabled, and each told by its name; the last has none.",
            9,
            _tongues,
            tuple(
                finding
                for n, verdict in enumerate(_PROTOCOLS)
                for finding in found("p01_other_protocol", resp_ip=f"10.9.0.{101 + 2 * n}", verdict=verdict)
            )
            + found("p02_opaque", orig_ip="10.9.0.116", resp_ip="10.9.0.117"),
            HEADERS,
        ),
    ),
    (
        "office",
        Story(
            "desk-corners",
            "all that can happen at a cash desk",
            "A refusal, a stranger let in, a download from the Internet, an originator that gives, and much without "
            "pieces.",
            7,
            _desks,
            (
                *found("w04_transfer_while_disabled", site_pair="cash-desks~cash-desks"),
                *found("w02_attempt_while_disabled", orig_ip="10.9.0.30", site="cash-desks"),
                *found("w04_transfer_while_disabled", site_pair="cash-desks~hq"),
                *found("w04_transfer_while_disabled", site_pair="branch~cash-desks"),
            ),
            HEADERS,
        ),
    ),
    (
        "office",
        Story(
            "desk-scan",
            "a scan of the cash desks",
            "60 addresses in 18 s, where peers are disabled: one cause, although attempts are news there, too.",
            60,
            _desk_scan,
            found("r01_horizontal_scan", orig_ip="10.1.20.75"),
            WHOLE,
        ),
    ),
    (
        "office",
        Story(
            "cut-short",
            "frames cut so short that nothing can be read",
            "A download at the cash desks, of which the capture holds headers only.",
            1,
            _cut_short,
            found("w03_listener_while_disabled", resp_ip="10.9.0.61"),
            Shape(snaplen=60),
        ),
    ),
    (
        "office",
        Story(
            "afternoon",
            "much that is no update, off the schedule",
            "A backup over HTTP, one that outlives the slot, two sites that may never peer, a host of no site, and "
            "very little after the slot.",
            6,
            _afternoon,
            (*found("t03_cross_site", site_pair="branch~hq"), *found("t03_cross_site", site_pair="hq~unknown")),
            HEADERS,
        ),
    ),
    (
        "weekly",
        Story(
            "habits",
            "slots that are quiet for a reason",
            "One site moves half of the usual, one little, one has no slots. Nothing to report.",
            23,
            _habits,
            (),
            HEADERS,
        ),
    ),
    (
        "weekly",
        Story(
            "surprises",
            "much that is no surprise",
            "One site differs from week to week, one began three weeks ago, one moves little. Nothing to report.",
            15,
            _surprises,
            (),
            HEADERS,
        ),
    ),
    (
        "weekly",
        Story(
            "short-memory",
            "a sensor that does not know yet",
            "Three Tuesdays with transfers at two hours, then none at either. Nothing to report.",
            8,
            _short,
            (),
            HEADERS,
        ),
    ),
    (
        "weekly",
        Story(
            "thin-weeks",
            "a port on which nearly nothing happens",
            "Five Tuesdays with an attempt, then silence. Nothing to report.",
            6,
            _thin,
            (),
            HEADERS,
        ),
    ),
)
