"""The annex: rarer sins, one small capture each, on grounds where nothing else is wrong, so that one rule speaks.

The annex may peer at any time, so no schedule gets in the way; the weekly laboratory has a slot and a past of weeks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from sensor import wire
from sensor.samples import borders, foreign, grounds
from sensor.samples.delivery import Content, Transfer, bitfield, handshake, message
from sensor.samples.files import Shape, write
from sensor.samples.frames import ORIG, RESP, Host, render
from sensor.samples.grounds import MINUTE, utc
from sensor.samples.office import CUT, Scene, Story, found
from sensor.samples.stack import MS, SECOND, Path, Tape
from sensor.samples.truth import Judgement, Truth, count

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor.samples.delivery import Talk
    from sensor.samples.frames import Frame

HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
NOON: Final = utc("2026-06-16T12:00:00")
LAN: Final = Path(rtt_ns=600_000, bytes_per_s=60_000_000, merged=44)
HEADERS: Final = Shape(snaplen=CUT)
WHOLE: Final = Shape()

POLICY: Final = """\
# The annex: sites that may peer at any time, so that only who talks to whom, and how, can be wrong.
version: 1

sites:
  - name: plant                  # peers with anyone who will have it
    subnets: [10.21.0.0/16]
    timezone: Etc/UTC
    peering: allowed
    peers: any
    limits: {hourly: 20MB}
  - name: halls                  # two subnets that keep to themselves
    subnets: [10.20.1.0/24, 10.20.2.0/24]
    timezone: Etc/UTC
    peering: allowed
    peers: same_subnet
  - name: vault                  # nobody but the vault
    subnets: [10.22.0.0/24]
    timezone: Etc/UTC
    peering: allowed
    peers: same_site
  - name: remote                 # the pool of the VPN
    subnets: [10.23.0.0/24]
    timezone: Etc/UTC
    peering: allowed
    peers: any
  - name: lockers                # disabled, in two subnets
    subnets: [10.24.1.0/24, 10.24.2.0/24]
    timezone: Etc/UTC
    peering: disabled
    peers: same_subnet
  - name: kiosk                  # disabled, though it would peer with anyone
    subnets: [10.25.0.0/24]
    timezone: Etc/UTC
    peering: disabled
    peers: any

endpoints: annex.csv

capture:
  local: [10.0.0.0/8]
"""
INVENTORY: Final = """\
address,name,role,approved
10.20.0.0/16,halls,client,yes
10.21.0.0/16,desks,client,yes
10.21.0.9,file server,server,yes
10.21.0.66,somebody's own box,client,no
10.21.99.0/24,nobody,unused,yes
10.22.0.0/24,vault,client,yes
10.23.0.0/24,remote desks,vpn,yes
10.23.0.200,reception,client,yes
10.24.0.0/16,lockers,client,yes
10.25.0.0/24,kiosk,client,yes
10.25.0.9,kiosk server,server,yes
"""
WEEKLY: Final = """\
# The weekly laboratories: one slot a week, and neighbours that may always peer.
version: 1

time_intervals:
  - name: tuesday-evening
    time_intervals:
      - weekdays: ['tuesday']
        times: [{start_time: '20:00', end_time: '22:00'}]

sites:
  - name: laboratory
    subnets: [10.30.0.0/24]
    timezone: Etc/UTC
    peering: scheduled
    update_windows: [tuesday-evening]
  - name: darkroom
    subnets: [10.32.0.0/24]
    timezone: Etc/UTC
    peering: scheduled
    update_windows: [tuesday-evening]
  - name: newcomer
    subnets: [10.33.0.0/24]
    timezone: Etc/UTC
    peering: scheduled
    update_windows: [tuesday-evening]
  - name: workshop
    subnets: [10.34.0.0/24]
    timezone: Etc/UTC
    peering: scheduled
    update_windows: [tuesday-evening]
  - name: neighbour
    subnets: [10.31.0.0/24, 10.35.0.0/24]
    timezone: Etc/UTC
    peering: allowed
  - name: tenant
    subnets: [10.36.0.0/24]
    timezone: Etc/UTC
    peering: allowed

capture:
  local: [10.0.0.0/8]
"""
SITES: Final = (
    (ip_network("10.20.1.0/24"), "halls"),
    (ip_network("10.20.2.0/24"), "halls"),
    (ip_network("10.21.0.0/16"), "plant"),
    (ip_network("10.22.0.0/24"), "vault"),
    (ip_network("10.23.0.0/24"), "remote"),
    (ip_network("10.24.1.0/24"), "lockers"),
    (ip_network("10.24.2.0/24"), "lockers"),
    (ip_network("10.25.0.0/24"), "kiosk"),
    (ip_network("10.30.0.0/24"), "laboratory"),
    (ip_network("10.31.0.0/24"), "neighbour"),
    (ip_network("10.32.0.0/24"), "darkroom"),
    (ip_network("10.33.0.0/24"), "newcomer"),
    (ip_network("10.34.0.0/24"), "workshop"),
    (ip_network("10.35.0.0/24"), "neighbour"),
    (ip_network("10.36.0.0/24"), "tenant"),
)
NEVER: Final = {"unknown", "lockers", "kiosk"}
WEEKLY_SITES: Final = {"laboratory", "darkroom", "newcomer", "workshop"}
SMALL: Final = Content("annex update", 3, last_bytes=131_072)


def site_of(ip: str) -> str:
    """Return the site of an address, or unknown."""
    return next((name for network, name in SITES if ip_address(ip) in network), "unknown")


def state_of(orig_ip: str, resp_ip: str, ts_ns: int) -> str:
    """Return open, or closed for laboratories outside Tuesdays 20:00 to 22:00 UTC, and where it is disabled."""
    sites = {site_of(orig_ip), site_of(resp_ip)}
    seconds = ts_ns // SECOND
    tuesday = (seconds // 86_400 + 4) % 7 == 2 and 20 <= seconds % 86_400 // 3600 < 22  # noqa: PLR2004 - the slot
    return "closed" if sites & NEVER or (sites & WEEKLY_SITES and not tuesday) else "open"


def plant(number: int, subnet: int = 0) -> Host:
    """Return a PC of the plant."""
    return Host(f"10.21.{subnet}.{number}")


# --- who talks to whom -----------------------------------------------------------------------------------------------
def _give(scene: Scene, orig: Host, resp: Host, at_ns: int = NOON) -> None:
    scene.talk(orig, resp, at_ns, LAN).run(Transfer(SMALL, range(3)))


def _download(orig: str, resp: str) -> Callable[[Scene], None]:
    return lambda scene: _give(scene, Host(orig), Host(resp))


def _open_only(scene: Scene, orig: Host, resp: Host, at_ns: int, hold_ns: int = 300 * MS) -> None:
    """Connect, say nothing, close."""
    talk = scene.talk(orig, resp, at_ns, LAN, "too_little")
    talk.tcp.connect()
    talk.tcp.idle(hold_ns)
    talk.tcp.close(ORIG)


def _forbidden_pair(scene: Scene) -> None:
    _open_only(scene, plant(4), Host("10.22.0.4"), NOON, 20 * SECOND)


def _inbound(scene: Scene) -> None:
    _open_only(scene, Host("198.51.100.9").behind("router", hops=9), plant(5), NOON)


def _internet_noise(scene: Scene) -> None:
    for n in range(4):
        scene.knock(Host(f"198.51.100.{20 + n}").behind("router", hops=9), plant(6 + n), NOON + n * 5 * MINUTE, LAN)


# --- looking around --------------------------------------------------------------------------------------------------
def _dark(scene: Scene) -> None:
    for n in range(5):
        scene.knock(plant(7), Host(f"10.21.99.{11 * n + 3}"), NOON + n * 9 * MINUTE, LAN)


def _slow_scan(scene: Scene) -> None:
    for n in range(60):
        far = plant((n * 37) % 200 + 20, subnet=40 + n % 7)
        scene.talk(plant(8), far, NOON + n * 8 * MINUTE, LAN, "too_little").tcp.knock((0,))


def _sequence(scene: Scene) -> None:
    for n in range(12):
        scene.talk(plant(9, 1), plant(30 + n, subnet=50), NOON + n * 90 * SECOND, LAN, "too_little").tcp.knock((0,))


def _connect_only(scene: Scene) -> None:
    for n in range(6):
        _open_only(scene, plant(10), plant(20 + n * 7), NOON + n * 3 * MINUTE)


def _failed_handshakes(scene: Scene) -> None:
    for n in range(11):
        talk = scene.talk(plant(11), plant(30 + n * 9), NOON + n * 2 * MINUTE, LAN)
        talk.greet(SMALL, answered=False)
        talk.tcp.close(RESP)


def _inventory_probe(scene: Scene) -> None:
    for n in range(11):
        content = Content(f"update {n}", 40)
        talk = scene.talk(plant(12), plant(40 + n), NOON + n * 3 * MINUTE, LAN)
        talk.greet(content)
        talk.tcp.send(RESP, bitfield(range(40), 40))
        talk.tcp.idle(200 * MS)
        talk.tcp.close(ORIG)


# --- how they talk ---------------------------------------------------------------------------------------------------
def _greeted(scene: Scene, number: int, content: Content = SMALL) -> Talk:
    talk = scene.talk(plant(number), plant(number + 1), NOON, LAN)
    talk.greet(content)
    talk.show(range(0), range(content.pieces))
    return talk


def _bad_length(scene: Scene) -> None:
    talk = _greeted(scene, 20)
    talk.verdict = "do_malformed"
    talk.tcp.send(ORIG, struct.pack(">IB", 200_000_000, wire.HAVE) + foreign.noise("overflow", 700))
    talk.tcp.close(RESP)


def _unknown_id(scene: Scene) -> None:
    talk = _greeted(scene, 22)
    for _ in range(3):
        talk.tcp.send(ORIG, message(77, b"\0" * 12))
    talk.tcp.close(ORIG)


def _odd_handshake(scene: Scene) -> None:
    talk = scene.talk(plant(24), plant(25), NOON, LAN)
    talk.greet(SMALL, answered=False)
    talk.tcp.send(RESP, handshake(talk.resp, Content("something else", 9)))
    talk.said[1].handshake = True
    talk.tcp.send(ORIG, bitfield(range(3), 3))
    talk.tcp.close(ORIG)


def _push_without_request(scene: Scene) -> None:
    talk = _greeted(scene, 26)
    for piece in range(2):
        talk.tcp.send(
            ORIG, message(wire.PIECE, struct.pack(">II", piece, 0), more=wire.DO_PIECE_SIZE), wire.DO_PIECE_SIZE
        )
        talk.said[0].pieces += 1
        talk.said[0].piece_bytes += wire.DO_PIECE_SIZE
    talk.tcp.close(ORIG)


def _other_port(scene: Scene) -> None:
    talk = scene.talk(plant(40), plant(41), NOON, Path(LAN.rtt_ns, LAN.bytes_per_s, merged=LAN.merged, port=8081))
    talk.run(Transfer(SMALL, range(2)))
    web = scene.talk(plant(40), plant(41), NOON + MINUTE, Path(LAN.rtt_ns, LAN.bytes_per_s, port=8081), "too_little")
    web.tcp.connect()
    web.tcp.send(ORIG, b"GET / HTTP/1.1\r\nHost: 10.21.0.41\r\n\r\n")
    web.tcp.close(ORIG)


def _many_contents(scene: Scene) -> None:
    for n in range(6):
        content = Content(f"title {n}", 1, last_bytes=65_536)
        scene.talk(plant(60 + n), plant(28), NOON + n * 40 * SECOND, LAN).run(Transfer(content, range(1)))


def _flood(scene: Scene) -> None:
    for n in range(2400):
        host = Host(f"10.21.{70 + n // 250}.{n % 250 + 2}")
        scene.talk(host, plant(29), NOON + n * 4 * MS, LAN, "too_little").tcp.knock((0,))


def _over_limit(scene: Scene) -> None:
    big = Content("feature update", 230)
    scene.talk(plant(33), plant(34), NOON + 9 * MINUTE, LAN).run(Transfer(big, range(24), ahead=4))
    scene.talk(plant(35), plant(36), NOON + 2 * HOUR, LAN).run(Transfer(SMALL, range(1)))


# --- the sensor itself -----------------------------------------------------------------------------------------------
def _pairs(scene: Scene, many: int) -> None:
    for n in range(many):
        scene.talk(plant(100 + n), plant(150 + n), NOON + n * 20 * SECOND, LAN).run(Transfer(SMALL, range(1)))


def _lossy(scene: Scene) -> None:
    """Every fourth big frame never reached the sensor; its ACKs did. What has no payload says nothing."""
    _pairs(scene, 12)
    for n in range(600):
        at = NOON - 4 * MINUTE + n * 400 * MS
        scene.talk(plant(n % 200 + 1, 5 + n // 200), plant(n % 200 + 1, 8), at, LAN, "too_little").tcp.be_refused((0,))
    seen = [s for n, s in enumerate(scene.tape.segments) if s.fill < 30_000 or n % 4]  # noqa: PLR2004 - a big frame
    scene.tape.segments[:] = seen


def _one_sided(scene: Scene) -> None:
    """Keep what originators send: the mirror shows nothing of the others."""
    _pairs(scene, 24)
    for n in range(120):  # attempts are of one direction, too, and do not count
        scene.talk(plant(n + 1, 5), plant(n + 1, 6), NOON + n * 3 * SECOND, LAN, "too_little").tcp.knock((0,))
    scene.tape.segments[:] = [segment for segment in scene.tape.segments if segment.side == ORIG]


def _clock_jump(scene: Scene) -> None:
    """Half way, the sensor's clock is set back by 20 seconds; the frames stay in their order."""
    _pairs(scene, 8)


def _drift(scene: Scene) -> None:
    for n in range(12):
        talk = scene.talk(plant(80 + n), plant(120 + n), NOON + n * 30 * SECOND, LAN)
        talk.greet(SMALL)
        talk.tcp.send(ORIG, message(42, b"\0" * 20))
        talk.tcp.close(ORIG)


# --- weeks -----------------------------------------------------------------------------------------------------------
def _weeks(scene: Scene, weeks: int, site: int, at: str = "2026-05-05T20:12:00", pieces: int = 2) -> None:
    update = Content("weekly", 800)
    start = utc(at)
    for week in range(weeks):
        orig, resp = Host(f"10.{site}.0.{5 + week}"), Host(f"10.{site}.0.{40 + week}")
        scene.talk(orig, resp, start + week * 7 * DAY, LAN).run(Transfer(update, range(pieces)))


def _sudden_hour(scene: Scene) -> None:
    _weeks(scene, 5, 30)
    update = Content("surprise", 800)
    talk = scene.talk(Host("10.30.0.80"), Host("10.30.0.81"), utc("2026-05-05T20:12:00") + 35 * DAY, LAN)
    talk.run(Transfer(update, range(60), ahead=4))
    _give(scene, Host("10.31.0.8"), Host("10.31.0.9"), utc("2026-06-10T09:00:00"))


def _silent_slot(scene: Scene) -> None:
    _weeks(scene, 5, 30)
    _weeks(scene, 6, 31, at="2026-05-05T20:31:00", pieces=1)  # the sensor hears the neighbour in the silent slot
    _give(scene, Host("10.31.0.8"), Host("10.31.0.9"), utc("2026-06-10T09:00:00"))


def _blind(scene: Scene) -> None:
    _weeks(scene, 5, 30, pieces=2)
    _give(scene, Host("10.31.0.8"), Host("10.31.0.9"), utc("2026-06-11T09:00:00"))


@dataclass(frozen=True, slots=True)
class Piece:
    """A story of the annex, the policy that it is judged by, and what happens to its frames on their way."""

    story: Story
    policy: str = "annex"
    back_ns: int = 0
    """How far the clock is set back half way."""


_PIECES: Final = (
    Piece(
        Story(
            "forbidden-pair",
            "a listener across a border that nobody may cross",
            "A PC of the plant connects to one of the vault, is let in, says nothing for 20 s and closes.",
            1,
            _forbidden_pair,
            found("t01_forbidden_site_pair", site_pair="plant~vault"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "other-subnet",
            "a download across two subnets that keep to themselves",
            "Two PCs of one site, in two of its subnets; the policy says same_subnet.",
            1,
            _download("10.20.1.5", "10.20.2.6"),
            found("t02_other_subnet", site="halls"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "vpn-peer",
            "a download from the far end of a VPN",
            "A PC of the plant downloads from a remote desk. Their sites may peer, and yet it crosses the VPN.",
            1,
            _download("10.21.0.31", "10.23.0.7"),
            found("t04_vpn_peering", site_pair="plant~remote"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "internet-inbound",
            "a stranger is let in",
            "A public address connects to a PC of the plant, which answers; nothing is said.",
            1,
            _inbound,
            found("t06_internet_inbound", site="plant"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "internet-noise",
            "the Internet knocks",
            "Four public addresses try PCs of the plant within 20 minutes; nobody answers.",
            4,
            _internet_noise,
            found("r08_internet_scan", site="plant"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "server-seeds",
            "a server gives updates to a PC",
            "A PC of the plant downloads from the file server.",
            1,
            _download("10.21.0.32", "10.21.0.9"),
            found("t07_role_mismatch", orig_role="client", resp_role="server"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "unknown-asset",
            "somebody's own box gives updates",
            "A PC of the plant downloads from an address that the inventory does not approve.",
            1,
            _download("10.21.0.33", "10.21.0.66"),
            found("t08_unknown_endpoint", site="plant"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "dark-addresses",
            "addresses that nobody has",
            "One PC tries five addresses of a range that is declared unused, nine minutes apart.",
            5,
            _dark,
            found("r02_dark_addresses", orig_ip="10.21.0.7"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "slow-scan",
            "a patient scan",
            "60 addresses in eight hours, in no order, one SYN each. Windows would have sent five to each.",
            60,
            _slow_scan,
            found("r03_slow_scan", orig_ip="10.21.0.8"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "sequential-sweep",
            "one address after the other",
            "Twelve neighbouring addresses in ascending order, 90 s apart.",
            12,
            _sequence,
            found("r04_sequential_sweep", orig_ip="10.21.1.9"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "connect-only",
            "connections that say nothing",
            "One PC opens six connections, three minutes apart, each closed after 0.3 s without a byte.",
            6,
            _connect_only,
            found("r05_connect_only", orig_ip="10.21.0.10"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "failed-handshakes",
            "asking everybody for one content",
            "One PC greets eleven others for the same content; each closes without an answer.",
            11,
            _failed_handshakes,
            found("r07_failed_handshakes", orig_ip="10.21.0.11", swarm_hash=SMALL.swarm_hash.hex()),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "inventory-probe",
            "who has which update?",
            "One PC greets eleven others for eleven contents, reads what they hold, and asks for nothing.",
            11,
            _inventory_probe,
            found("r06_content_probing", orig_ip="10.21.0.12"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "bad-length",
            "a message of an impossible length",
            "After right handshakes and bitfields, a have of 200 MB.",
            1,
            _bad_length,
            found("p04_impossible_length", orig_ip="10.21.0.20", resp_ip="10.21.0.21"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "unknown-id",
            "messages that nobody has described",
            "Three messages with id 77 in an otherwise right conversation.",
            1,
            _unknown_id,
            found("p05_unknown_message", orig_ip="10.21.0.22", resp_ip="10.21.0.23"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "odd-handshake",
            "an answer about another content",
            "The responder's handshake names another content than the originator's.",
            1,
            _odd_handshake,
            found("p07_odd_handshake", orig_ip="10.21.0.24", resp_ip="10.21.0.25"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "push-without-request",
            "data that nobody asked for",
            "The originator sends two pieces; the responder has requested none.",
            1,
            _push_without_request,
            found("p13_unrequested_upload", orig_ip="10.21.0.26", resp_ip="10.21.0.27"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "other-port",
            "a download on another port",
            "A PC of the plant downloads from another on port 8081; a minute later it asks a web server there.",
            2,
            _other_port,
            found("p03_do_on_other_port", resp_ip="10.21.0.41"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "many-contents",
            "one PC offers six contents at once",
            "Six downloads of six contents from one PC within four minutes.",
            6,
            _many_contents,
            found("v03_many_contents", resp_ip="10.21.0.28"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "flood",
            "everybody asks one PC at once",
            "2,400 SYNs from as many addresses in ten seconds.",
            2400,
            _flood,
            found("v05_fan_in_flood", resp_ip="10.21.0.29"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "over-limit",
            "more than the site's limit in an hour",
            "24 MiB in an hour; the policy allows the plant 20 MB. Two hours later a small download.",
            2,
            _over_limit,
            found("w07_over_limit", site="plant"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "lossy-mirror",
            "a mirror that drops frames",
            "Twelve downloads; of every four big frames one never reached the sensor, though it was acknowledged. "
            "Beside them 600 attempts that were refused.",
            612,
            _lossy,
            found("s02_loss"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "one-sided-mirror",
            "a mirror of one direction",
            "24 downloads of which one side's packets are seen, and 120 attempts that nobody answered at all.",
            144,
            _one_sided,
            found("s03_one_sided"),
            HEADERS,
        )
    ),
    Piece(
        Story(
            "clock-jump",
            "a clock that is set back",
            "Eight downloads; half way the sensor's clock goes back by 70 seconds, while the frames stay in order.",
            8,
            _clock_jump,
            found("s04_clock"),
            HEADERS,
        ),
        back_ns=70 * SECOND,
    ),
    Piece(
        Story(
            "new-messages",
            "a protocol that has changed",
            "Twelve conversations, each with one message of an id that nobody has described.",
            12,
            _drift,
            found("s06_decoder_drift"),
            WHOLE,
        )
    ),
    Piece(
        Story(
            "sudden-hour",
            "far more than usual",
            "Five Tuesdays of 2 MiB in the slot, and 60 MiB on the sixth.",
            7,
            _sudden_hour,
            found("v01_volume", site="laboratory"),
            HEADERS,
        ),
        "weekly",
    ),
    Piece(
        Story(
            "silent-slot",
            "a slot that passes in silence",
            "Five Tuesdays of 2 MiB in the slot, and nothing on the sixth, while the neighbour goes on as ever.",
            12,
            _silent_slot,
            found("w06_silent_slot", site="laboratory"),
            HEADERS,
        ),
        "weekly",
    ),
    Piece(
        Story(
            "blind-sensor",
            "a sensor that hears nothing",
            "Five Tuesdays with a transfer in the slot; on the sixth nothing at all is seen for two days.",
            6,
            _blind,
            found("s01_blind", span="sensor"),
            HEADERS,
        ),
        "weekly",
    ),
)
PIECES: Final = {
    piece.story.name: piece for piece in (*_PIECES, *(Piece(story, policy) for policy, story in borders.STORIES))
}


@cache
def _scene(name: str) -> Scene:
    story = PIECES[name].story
    scene = Scene(Tape(story.name, story.shape.quantum_ns))
    story.play(scene)
    return scene


def frames(name: str) -> list[Frame]:
    """Return a story's frames in the order in which they were written."""
    piece = PIECES[name]
    rendered = render(_scene(name).tape.segments, piece.story.shape.snaplen)
    half = len(rendered) // 2
    return rendered[:half] + [frame._replace(ts_ns=frame.ts_ns - piece.back_ns) for frame in rendered[half:]]


def build(name: str) -> bytes:
    """Return a story's capture file."""
    return write(frames(name), PIECES[name].story.shape)


def truth(name: str) -> Truth:
    """Return what was meant by a story: its flows as the hosts know them, whatever the sensor's mirror showed."""
    scene = _scene(name)
    judged = (
        Judgement(grounds.site_of, grounds.state_of)
        if PIECES[name].policy == "office"
        else Judgement(site_of, state_of)
    )
    flows = count(scene.talks, scene.tape.segments, judged)
    return Truth(
        packets=len(scene.tape.segments),
        bytes=sum(flow.orig_bytes + flow.resp_bytes for flow in flows),
        payload_bytes=sum(flow.orig_payload_bytes + flow.resp_payload_bytes for flow in flows),
        flows=flows,
        findings=PIECES[name].story.findings,
    )
