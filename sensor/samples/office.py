"""The sample office in its week of Patch Tuesday, 8 to 14 June 2026: every sin that the rules know, one story each.

Each story is a small capture of its own with the truth about it; `office-week` is all of them merged by time, with
the ordinary nights of update traffic around them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Final

from sensor.samples import foreign
from sensor.samples.delivery import Content, Talk, Transfer, bitfield, message
from sensor.samples.files import Shape, write
from sensor.samples.frames import ORIG, RESP, Host, render
from sensor.samples.grounds import BRANCH, CASH, HQ, MINUTE, OPEN, SERVERS, branch, hq, site_of, state_of, utc
from sensor.samples.stack import MS, SECOND, Path, Tape
from sensor.samples.truth import Finding, Judgement, Truth, count

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.samples.frames import Frame

WHOLE: Final = Shape()
CUT: Final = 160  # holds the longest handshake: IPv6 in two VLAN tags takes 14 + 8 + 40 + 20 + 75 = 157 bytes
HEADERS: Final = Shape(snaplen=CUT)


@dataclass(slots=True)
class Scene:
    """Where a story is played: a tape, and who talked on it."""

    tape: Tape
    talks: list[Talk] = field(default_factory=list)

    def talk(self, orig: Host, resp: Host, at_ns: int, path: Path = HQ, verdict: str = "do") -> Talk:
        """Begin a connection."""
        self.talks.append(Talk(self.tape, orig, resp, at_ns, path, verdict))
        return self.talks[-1]

    def knock(self, orig: Host, resp: Host, at_ns: int, path: Path = HQ) -> None:
        """Five SYNs to a host that is not there."""
        self.talk(orig, resp, at_ns, path, "too_little").tcp.knock()


@dataclass(frozen=True, slots=True)
class Story:
    """One sample: what it holds, how many flows that makes, what the rules should find, and how it is played."""

    name: str
    title: str
    holds: str
    flows: int
    play: Callable[[Scene], None]
    findings: tuple[Finding, ...] = ()
    shape: Shape = HEADERS


def _allowed_night(scene: Scene) -> None:
    update = Content("2026-06 cumulative update", 6, last_bytes=402_432)
    a, b, c, d = (hq(n) for n in (11, 12, 13, 14))
    first = utc("2026-06-09T18:14:07")
    seeding = scene.talk(b, a, first)
    seeding.run(Transfer(update, range(6), again_after_ns=312 * MS))
    scene.talk(b, a, first + 400 * MS).greet(update)  # a second connection while the first works: closed at once
    scene.talks[-1].tcp.close(RESP)
    scene.talk(c, b, first + 4 * MINUTE).run(Transfer(update, range(6), ahead=3))  # the next link of the chain
    scene.talk(a, d, first + 9 * MINUTE).run(  # a seeder may also be the one who connects
        Transfer(update, range(3), uploader="orig", ending="fin_orig")
    )
    scene.talk(d, c, first + 9 * MINUTE + 7 * SECOND).run(
        Transfer(update, range(3, 6), had=range(3), ending="rst_orig")
    )
    both = scene.talk(d, a, first + 20 * MINUTE)  # two complete seeders: neither needs anything
    both.greet(update)
    both.tcp.send(ORIG, bitfield(range(6), 6))
    both.tcp.send(RESP, bitfield(range(6), 6) + bytes(4))  # bitfield and keep-alive in one segment, as measured
    both.tcp.close(RESP)
    other = Content("2026-06 .NET update", 3, last_bytes=77_824)
    scene.talk(hq(15), b, first + 26 * MINUTE).greet(other, answered=False)  # b has not this content
    scene.talks[-1].tcp.close(RESP)
    v6 = [Host(f"2001:db8:1:20::{n}") for n in (15, 16)]
    scene.talk(v6[0], v6[1], first + 31 * MINUTE).run(Transfer(update, range(4), had=range(0)))
    old = [hq(n, old=True) for n in (17, 18)]
    scene.talk(old[0], old[1], first + 40 * MINUTE).run(Transfer(other, range(3), ending="fin_orig"))
    night = utc("2026-06-10T03:31:40")  # 22:31 in Chicago
    scene.talk(branch(12), branch(11), night, BRANCH).run(Transfer(update, range(5)))
    scene.talk(branch(13), branch(12), night + 6 * MINUTE, BRANCH).run(Transfer(update, range(2, 5), ahead=2))


def _off_window(scene: Scene) -> None:
    driver = Content("graphics driver package", 40)
    at = utc("2026-06-11T12:05:13")  # Thursday 14:05 in Berlin; the last slot ended at 06:00
    scene.talk(hq(31), hq(32), at).run(Transfer(driver, range(12)))
    scene.talk(hq(33), hq(31), at + 11 * MINUTE).run(Transfer(driver, range(5), ahead=2))


def _slot_edge(scene: Scene) -> None:
    slow = Path(rtt_ns=700_000, bytes_per_s=50_000, vlans=(10,), merged=44)
    update = Content("2026-06 feature update", 3400)
    scene.talk(hq(35), hq(36), utc("2026-06-10T03:58:00")).tcp.path = slow
    talk = scene.talks[-1]
    talk.run(Transfer(update, range(900, 940), had=range(900), ending="rst_orig"))


def _cross_site(scene: Scene) -> None:
    update = Content("2026-06 cumulative update", 6, last_bytes=402_432)
    wan = Path(rtt_ns=112 * MS, bytes_per_s=5_000_000, vlans=(10,), merged=44)
    far = branch(41).behind("hq-router", hops=3)
    scene.talk(hq(41), far, utc("2026-06-10T03:20:21"), wan).run(Transfer(update, range(6)))


def _internet_peer(scene: Scene) -> None:
    game = Content("store game", 900)
    wan = Path(rtt_ns=34 * MS, bytes_per_s=3_000_000, vlans=(10,), merged=44)
    far = Host("203.0.113.77").behind("hq-router", hops=12)
    scene.talk(hq(45), far, utc("2026-06-11T07:41:02"), wan).run(Transfer(game, range(3), ending="rst_resp"))


def _disabled_attempt(scene: Scene) -> None:
    at = utc("2026-06-12T09:00:03")
    desks = [Host(f"10.9.0.{n}") for n in (11, 12, 13)]
    scene.knock(desks[0], desks[1], at, CASH)
    scene.knock(desks[0], desks[2], at + 40 * SECOND, CASH)
    scene.knock(hq(60), Host("10.9.0.14"), at + 7 * MINUTE)


def _disabled_listener(scene: Scene) -> None:
    update = Content("2026-06 cumulative update", 6, last_bytes=402_432)
    talk = scene.talk(Host("10.9.0.15"), Host("10.9.0.16"), utc("2026-06-12T10:12:33"), CASH)
    talk.greet(update, answered=False)
    talk.tcp.close(RESP)


def _disabled_transfer(scene: Scene) -> None:
    update = Content("point of sale image", 60, last_bytes=98_304)
    talk = scene.talk(Host("10.9.0.21"), Host("10.9.0.22"), utc("2026-06-12T11:30:02"), CASH)
    talk.run(Transfer(update, range(59, 60), had=range(59), ahead=3, block_bytes=16384, flush=False))


def _sweep(scene: Scene) -> None:
    start, scanner = utc("2026-06-10T09:30:00"), hq(99)
    for n in range(1, 65):
        at = start + n * 156 * MS
        talk = scene.talk(scanner, hq(n, subnet=30).behind("hq-router"), at, verdict="too_little")
        if n % 3 == 0:
            talk.tcp.be_refused((0,))
        else:
            talk.tcp.knock((0,))


def _stale_peer_list(scene: Scene) -> None:
    start = utc("2026-06-08T08:33:44")
    for turn, n in enumerate((61, 179, 7, 246, 2, 219, 26, 153, 238)):
        peer = Host(f"10.1.{31 + turn % 3}.{n}").behind("hq-router")
        scene.knock(hq(70, old=True), peer, start + turn * 40 * SECOND)


def _refused(scene: Scene) -> None:
    talk = scene.talk(hq(72, old=True), hq(73), utc("2026-06-08T13:45:32"), verdict="too_little")
    talk.tcp.be_refused()


def _quinq(scene: Scene) -> None:
    update = Content("2026-06 cumulative update, small", 60, last_bytes=98_304)
    carrier = Path(rtt_ns=900_000, bytes_per_s=12_000_000, vlans=(100, 20))
    talk = scene.talk(branch(51), branch(52), utc("2026-06-11T04:02:55"), carrier)
    talk.run(Transfer(update, range(59, 60), had=range(59), ahead=6, block_bytes=16384, flush=False))


def _keepalives(scene: Scene) -> None:
    update = Content("2026-06 preview update", 43)
    talk = scene.talk(hq(91), hq(92), utc("2026-06-08T09:00:10"))
    talk.greet(update)
    talk.show(range(10, 43), range(11, 43))
    talk.keep_alive(60 * SECOND, 30, resp_after_ns=19_700 * MS)
    talk.tcp.idle(9 * SECOND)
    talk.tcp.send(ORIG, message(4, (9).to_bytes(4)))  # a have, answered by FIN at once, as measured
    talk.tcp.close(RESP)


def _excepted(scene: Scene) -> None:
    image = Content("reference image", 400)
    imaging = Path(rtt_ns=500_000, bytes_per_s=60_000_000, vlans=(40,), merged=44)
    talk = scene.talk(hq(5, subnet=40), hq(6, subnet=40), utc("2026-06-11T13:20:00"), imaging)
    talk.run(Transfer(image, range(5)))


def _http(scene: Scene) -> None:
    _speak(scene, (hq(81), hq(82)), utc("2026-06-12T08:10:14"), "http")


def _tls(scene: Scene) -> None:
    _speak(scene, (hq(83), hq(84)), utc("2026-06-12T08:40:51"), "tls")


def _ssh(scene: Scene) -> None:
    _speak(scene, (hq(85), hq(86)), utc("2026-06-12T09:31:20"), "ssh")


def _opaque(scene: Scene) -> None:
    _speak(scene, (hq(87), hq(88)), utc("2026-06-12T13:05:45"), "opaque")


def _speak(scene: Scene, hosts: tuple[Host, Host], at_ns: int, verdict: str) -> None:
    """Play a conversation in another protocol than Delivery Optimization."""
    talk = scene.talk(*hosts, at_ns, Path(vlans=(10,)), verdict)
    talk.tcp.connect()
    for side, data in foreign.DIALOGUES[verdict]():
        talk.tcp.send(side, data)
        talk.tcp.idle(scene.tape.jitter(3 * MS))
    talk.tcp.close(ORIG)


def _ordinary_week(scene: Scene) -> None:
    """Three nights of the headquarters, seven of the branch, one of the servers, all allowed; and PCs that are off."""
    update = Content("2026-06 cumulative update", 520, last_bytes=402_432)
    for night, start in enumerate(slot[0] for slot in OPEN["hq"]):
        for turn in range(7):  # a chain: who has it gives it on
            orig, resp = (hq(101 + night * 8 + n) for n in (turn + 1, turn))
            at = start + (17 + turn * 71) * MINUTE + int(scene.tape.rng.random() * 20 * MINUTE)
            first = 100 * night + 14 * turn
            scene.talk(orig, resp, at).run(Transfer(update, range(first, first + 14), ahead=1 + turn % 3))
        scene.knock(hq(101 + night * 8), hq(90 + night, subnet=33).behind("hq-router"), start + 41 * MINUTE)
        scene.talk(hq(102 + night * 8), hq(109 + night * 8), start + 55 * MINUTE, verdict="too_little").tcp.be_refused()
    for night, (start, _) in enumerate(OPEN["branch"][1:8]):
        for turn in range(2):
            orig, resp = (branch(101 + night * 4 + n) for n in (turn + 1, turn))
            at = start + (31 + turn * 140) * MINUTE + int(scene.tape.rng.random() * 50 * MINUTE)
            first = 50 * night + 9 * turn
            scene.talk(orig, resp, at, BRANCH).run(Transfer(update, range(first, first + 9)))
    servers = [Host(f"10.1.250.{n}") for n in (10, 11)]
    scene.talk(servers[1], servers[0], OPEN["servers"][0][0] + 12 * MINUTE, SERVERS).run(Transfer(update, range(20)))


def found(rule: str, **subject: str) -> tuple[Finding, ...]:
    """Return one finding as a story promises it."""
    return (Finding(rule, tuple(sorted(subject.items()))),)


_TOLD: Final = (
    Story(
        "allowed-night",
        "an ordinary night of updates",
        "Downloads inside the slots of the headquarters (IPv4 and IPv6) and of the branch: a chain of seeders, a "
        "seeder who connects, and the early closes that are normal: a second connection for a swarm, two complete "
        "seeders, a peer without the content, a handshake sent again. Nothing to report.",
        11,
        _allowed_night,
    ),
    Story(
        "off-window",
        "updates on a Thursday afternoon",
        "Two downloads inside the headquarters at 14:05 and 14:16 local time; its slot closed at 06:00.",
        2,
        _off_window,
        found("w01_off_window_transfer", site_pair="hq~hq"),
    ),
    Story(
        "slot-edge",
        "a download that runs over the end of its slot",
        "A slow download from 05:58 to 06:12 local time. The slot ends at 06:00 and its grace at 06:05 (04:05 UTC); "
        "only the bytes after that are off the schedule.",
        1,
        _slot_edge,
        found("w05_window_overrun", site_pair="hq~hq"),
    ),
    Story(
        "cross-site",
        "a download across the WAN while both sites are open",
        "A PC of the headquarters downloads from one of the branch at 05:20 in Berlin, 22:20 in Chicago: both sites "
        "are in their slots, so the time is right; but each may only peer with itself.",
        1,
        _cross_site,
        found("t03_cross_site", site_pair="branch~hq"),
    ),
    Story(
        "internet-peer",
        "a download from a public address",
        "A PC of the headquarters downloads three pieces from 203.0.113.77.",
        1,
        _internet_peer,
        found("t05_internet_peering", site="hq"),
    ),
    Story(
        "disabled-attempt",
        "connection attempts where peering is disabled",
        "A cash desk tries two others, and a PC of the headquarters tries a cash desk; nobody answers.",
        3,
        _disabled_attempt,
        found("w02_attempt_while_disabled", orig_ip="10.9.0.11", site="cash-desks")
        + found("w02_attempt_while_disabled", orig_ip="10.1.20.60", site="hq"),
        WHOLE,
    ),
    Story(
        "disabled-listener",
        "a listener where peering is disabled",
        "A cash desk answers on 7680, reads a handshake and closes: no transfer, but the service runs.",
        1,
        _disabled_listener,
        found("w03_listener_while_disabled", resp_ip="10.9.0.16"),
        WHOLE,
    ),
    Story(
        "disabled-transfer",
        "a transfer where peering is disabled",
        "A cash desk gives another the last 96 KiB piece of an image, in six blocks whose messages share segments. "
        "Uncut.",
        1,
        _disabled_transfer,
        found("w04_transfer_while_disabled", site_pair="cash-desks~cash-desks"),
        WHOLE,
    ),
    Story(
        "sweep",
        "one host looks for listeners",
        "64 addresses in 10 seconds, one SYN each; a third of them answer with RST, the others not at all.",
        64,
        _sweep,
        found("r01_horizontal_scan", orig_ip="10.1.20.99"),
        WHOLE,
    ),
    Story(
        "stale-peer-list",
        "a peer list of PCs that are off",
        "A new silent peer every 40 s, five SYNs each at 0, 1, 3, 7 and 15 s, nine peers: looks like a slow scan and "
        "is none. The timing is that of a public capture. Nothing to report.",
        9,
        _stale_peer_list,
        shape=WHOLE,
    ),
    Story(
        "http-on-7680",
        "HTTP on the port",
        "Two requests to a web server that took port 7680. Uncut.",
        1,
        _http,
        found("p01_other_protocol", resp_ip="10.1.20.82", verdict="http"),
        WHOLE,
    ),
    Story(
        "tls-on-7680",
        "TLS on the port",
        "A TLS 1.3 handshake and some application data. Uncut.",
        1,
        _tls,
        found("p01_other_protocol", resp_ip="10.1.20.84", verdict="tls"),
        WHOLE,
    ),
    Story(
        "ssh-on-7680",
        "SSH on the port",
        "Banners, key exchange offers, and encrypted packets. Uncut.",
        1,
        _ssh,
        found("p01_other_protocol", resp_ip="10.1.20.86", verdict="ssh"),
        WHOLE,
    ),
    Story(
        "opaque-on-7680",
        "something unknown on the port",
        "More than 8 KiB each way that look random from the first byte. Uncut.",
        1,
        _opaque,
        found("p02_opaque", orig_ip="10.1.20.87", resp_ip="10.1.20.88"),
        WHOLE,
    ),
    Story(
        "refused",
        "a peer that does not listen",
        "Five SYNs half a second apart from one port, each answered by RST. Big-endian file. Nothing to report.",
        1,
        _refused,
        shape=Shape(big_endian=True),
    ),
    Story(
        "quinq",
        "an allowed download in two VLAN tags",
        "The branch in its night, 802.1ad outside and 802.1Q inside; six blocks whose messages share segments. Uncut, "
        "nanoseconds. Nothing to report.",
        1,
        _quinq,
        shape=Shape(nanos=True),
    ),
    Story(
        "keepalives",
        "an idle connection in office hours",
        "Half an hour of keep-alives, one a minute from each side, then a have and the FIN it brings. Some bytes off "
        "the schedule, far too few to matter. Nothing to report.",
        1,
        _keepalives,
        shape=WHOLE,
    ),
    Story(
        "excepted",
        "a download that an exception excuses",
        "The imaging bench (10.1.40.0/24) copies an image on a Thursday afternoon under CHG-4711. Nothing to report.",
        1,
        _excepted,
    ),
)
WEEK: Final = "office-week"
_ORDINARY: Final = Story("ordinary-week", "ordinary nights", "The nights of the week.", 42, _ordinary_week)
_WEEK_STORY: Final = Story(
    WEEK,
    "the whole week",
    "All other samples merged by time, each cut as it is alone, and the ordinary nights around them.",
    sum(story.flows for story in (*_TOLD, _ORDINARY)),
    lambda _: None,
    tuple(dict.fromkeys(finding for story in _TOLD for finding in story.findings)),
    Shape(nanos=True),  # one of the stories is in nanoseconds
)
STORIES: Final = {story.name: story for story in (*_TOLD, _WEEK_STORY)}


@cache
def _scenes(name: str) -> tuple[tuple[Story, Scene], ...]:
    """Play a story; the week is all of them."""
    if name == WEEK:
        return (*(played for story in _TOLD for played in _scenes(story.name)), _play(_ORDINARY))
    return (_play(STORIES[name]),)


def _play(story: Story) -> tuple[Story, Scene]:
    scene = Scene(Tape(story.name, story.shape.quantum_ns))
    story.play(scene)
    return story, scene


def frames(name: str) -> list[Frame]:
    """Return a story's frames in order of time; the week's are cut as each story's are."""
    rendered = [render(scene.tape.segments, story.shape.snaplen) for story, scene in _scenes(name)]
    return sorted(chain.from_iterable(rendered), key=lambda frame: frame.ts_ns)


def build(name: str) -> bytes:
    """Return a story's capture file."""
    return write(frames(name), STORIES[name].shape)


def truth(name: str) -> Truth:
    """Return what a sensor with the office's policy should say about a story."""
    scenes = [scene for _, scene in _scenes(name)]
    talks = [talk for scene in scenes for talk in scene.talks]
    segments = [segment for scene in scenes for segment in scene.tape.segments]
    flows = count(talks, segments, Judgement(site_of, state_of))
    return Truth(
        packets=len(segments),
        bytes=sum(flow.orig_bytes + flow.resp_bytes for flow in flows),
        payload_bytes=sum(flow.orig_payload_bytes + flow.resp_payload_bytes for flow in flows),
        flows=flows,
        findings=STORIES[name].findings,
    )
