"""`policy.yaml`: what a right one says, what every wrong one is told, and that nothing hostile gets through."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.errors import Mistake, OperatorError
from sensor.policy import DEFAULT_POLICY, Endpoint, Exemption, Site, TimeInterval
from sensor.schedule import explain
from sensor.settings import load_policy, warnings
from tests.captures import like_anybody

OFFICE = """\
version: 1
time_intervals:
  - name: patch-nights
    time_intervals:
      - {weekdays: [tuesday], days_of_month: ['8:14'], times: [{start_time: '20:00', end_time: '24:00'}]}
      - weekdays: ['monday:wednesday', Sunday]
        days_of_month: ['25:-1', 1, -3]
        months: [march, '6:august', 12]
        years: [2026, '2028:2030']
        times:
          - {start_time: 20:00, end_time: 24:00}
          - {start_time: 00:00, end_time: 06:30}
        location: Asia/Kolkata
  - name: first-days
    patch_tuesday: {days: '0:2', start: '20:00', hours: 10}
  - name: freeze
    time_intervals: [{}]
sites:
  - name: hq
    subnets: [10.1.0.0/16, 2001:db8:1::/48]
    timezone: Europe/Berlin
    peering: scheduled
    update_windows: [patch-nights, first-days]
    exclude: [freeze]
    grace: {before: 0m, after: 1h5m}
    peers: [cash desks]
    limits: {hourly: 50GB, daily: 1.5GiB}
  - {name: cash desks, subnets: [10.9.0.0/24, 10.8.0.7], peering: disabled, peers: any}
  - {name: no, subnets: [10.7.0.0/24], peers: same_subnet}
endpoints: endpoints.csv
exceptions:
  - {id: CHG-4711, owner: nora@example.org, reason: imaging, expires: 2026-12-01, match: {sites: [hq]}}
  - {id: CHG-4712, owner: nora, reason: pilot, expires: 2026-12-01T18:00:00+01:00,
     match: {sites: [unknown], subnets: [10.9.0.0/28]}, allow: [off_window, disabled, site_pair, internet, other]}
capture: {local: [10.0.0.0/8]}
"""
INVENTORY = "address,name,role,approved\n10.1.0.0/24,desks,client,yes\n\n10.1.0.5,mirror,server,no\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("endpoints.csv").write_text(INVENTORY)
    return tmp_path


@pytest.fixture(autouse=True)
def _in_folder(folder: Path) -> None:
    pass


def write(text: str | bytes) -> Path:
    path = Path("p.yaml")
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(OperatorError) as caught:
        load_policy(write(text))
    return [str(mistake) for mistake in caught.value.mistakes]


def site(extra: str) -> str:
    """Return a policy with one site that has one more key, at line 3, column 38."""
    return f"version: 1\nsites:\n  - {{name: hq, subnets: [10.1.0.0/16], {extra}}}\n"


def interval(item: str) -> str:
    """Return a policy with one interval of one item, at line 4, column 24."""
    return (
        "version: 1\ntime_intervals:\n  - name: a\n"
        f"    time_intervals: [{item}]\n"
        "sites: [{name: hq, subnets: [10.1.0.0/16]}]\n"
    )


def test_without_a_file_every_private_network_is_one_site_that_may_peer() -> None:
    policy = load_policy(None)
    assert policy == DEFAULT_POLICY
    (only,) = policy.sites
    assert (only.name, only.peering, only.peers) == ("local", "allowed", "any")
    assert [str(net) for net in only.subnets] == [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10",
    ]  # fmt: skip
    assert policy.local == only.subnets
    assert (policy.source, policy.sha256) == ("", "")


def test_a_whole_policy() -> None:
    policy = load_policy(write(OFFICE))
    assert policy.sites == (
        Site(
            name="hq",
            subnets=(ip_network("10.1.0.0/16"), ip_network("2001:db8:1::/48")),
            timezone="Europe/Berlin",
            peering="scheduled",
            update_windows=("patch-nights", "first-days"),
            exclude=("freeze",),
            grace_before_s=0,
            grace_after_s=3900,
            peers=("cash desks",),
            hourly_bytes=50_000_000_000,
            daily_bytes=1_610_612_736,
        ),
        Site("cash desks", (ip_network("10.9.0.0/24"), ip_network("10.8.0.7/32")), peering="disabled", peers="any"),
        Site("no", (ip_network("10.7.0.0/24"),), peers="same_subnet"),
    )
    assert policy.time_intervals["patch-nights"] == (
        TimeInterval(times=((1200, 1440),), weekdays=((2, 2),), days_of_month=((8, 14),)),
        TimeInterval(
            times=((1200, 1440), (0, 390)),
            weekdays=((1, 3), (0, 0)),
            days_of_month=((25, -1), (1, 1), (-3, -3)),
            months=((3, 3), (6, 8), (12, 12)),
            years=((2026, 2026), (2028, 2030)),
            location="Asia/Kolkata",
        ),
    )
    assert policy.time_intervals["freeze"] == (TimeInterval(),)
    assert policy.exemptions == (
        Exemption("CHG-4711", "nora@example.org", "imaging", ns("2026-12-02T00:00"), ("hq",), (), ("off_window",)),
        Exemption(
            "CHG-4712", "nora", "pilot", ns("2026-12-01T17:00"), ("unknown",), (ip_network("10.9.0.0/28"),),
            ("off_window", "disabled", "site_pair", "internet", "other"),
        ),
    )  # fmt: skip
    assert policy.endpoints == (
        Endpoint(ip_network("10.1.0.0/24"), "desks", "client", approved=True),
        Endpoint(ip_network("10.1.0.5/32"), "mirror", "server", approved=False),
    )
    assert policy.local == (ip_network("10.0.0.0/8"),)
    assert policy.source == "p.yaml"
    assert policy.sha256 == hashlib.sha256(OFFICE.encode()).hexdigest()


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def test_patch_tuesday_is_written_out() -> None:
    found = load_policy(write(OFFICE)).time_intervals["first-days"]
    evening, night = ((1200, 1440),), ((0, 360),)
    assert [(one.weekdays, one.days_of_month, one.times) for one in found] == [
        (((2, 2),), ((8, 14),), evening), (((3, 3),), ((9, 15),), night),
        (((3, 3),), ((9, 15),), evening), (((4, 4),), ((10, 16),), night),
        (((4, 4),), ((10, 16),), evening), (((5, 5),), ((11, 17),), night),
    ]  # fmt: skip


def test_what_explain_writes_reads_the_same() -> None:
    policy = load_policy(write(OFFICE))
    again = "version: 1\n" + explain(policy) + "sites: [{name: hq, subnets: [10.1.0.0/16]}]\n"
    assert load_policy(write(again)).time_intervals == policy.time_intervals


def test_all_mistakes_at_once_each_with_its_address() -> None:
    text = """\
version: 2
tme_intervals: []
time_intervals:
  - name: nights
    time_intervals: [{weekdays: [tusday], times: [{start_time: '25:00', end_time: '06:00'}]}]
  - name: nights
    time_intervals: [{times: [{start_time: '22:00', end_time: '06:00'}]}]
sites:
  - name: hq
    name: other
    subnets: [10.1.2.3/16]
    timezone: Europe/Belrin
    peering: sometimes
    update_windows: [night]
    grace: {before: 30s}
    peers: [brnch]
  - {name: branch, subnets: [10.1.0.0/16, 10.2.0.0/33], limits: {hourly: lots}}
exceptions:
  - {id: A, owner: b, reason: c, expires: tomorrow, match: {sites: [hq2]}, allow: [everything]}
"""
    assert mistakes(text) == [
        'p.yaml:1:10: unknown version "2"; known: 1',
        'p.yaml:2:1: unknown key "tme_intervals" in the policy; did you mean time_intervals?',
        'p.yaml:5:34: "tusday" is not a weekday; did you mean tuesday?',
        'p.yaml:5:64: "25:00" is not a time of day; write HH:MM, from 00:00 to 24:00',
        'p.yaml:6:11: time interval "nights" a second time; give each its own name',
        (
            "p.yaml:7:44: times 22:00 to 06:00 run over midnight; "
            "write two items: 22:00 to 24:00, and on the next day 00:00 to 06:00"
        ),
        'p.yaml:10:5: "name" a second time in a site; say it once',
        'p.yaml:11:15: "10.1.2.3/16" has host bits set; write 10.1.0.0/16',
        'p.yaml:12:15: unknown timezone "Europe/Belrin"; did you mean Europe/Berlin?',
        'p.yaml:13:14: unknown peering "sometimes"; known: disabled, scheduled, allowed',
        'p.yaml:14:22: unknown time interval "night"; did you mean nights?',
        'p.yaml:15:21: "30s" is not a time of whole minutes; write 5m, 1h or 1h30m',
        'p.yaml:16:13: unknown site "brnch"; did you mean branch?',
        'p.yaml:17:43: "10.2.0.0/33" is not a prefix; write 10.1.0.0/16 or 2001:db8::/32',
        'p.yaml:17:74: "lots" is not a size; write 50GB (10^9 bytes), 50GiB (2^30) or a number of bytes',
        'p.yaml:19:43: "tomorrow" is not a date; write 2026-12-01, or 2026-12-01T18:00:00+01:00',
        'p.yaml:19:69: unknown site "hq2"; did you mean hq?',
        'p.yaml:19:84: unknown allowance "everything"; known: off_window, disabled, site_pair, internet, other',
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 1\n", ["p.yaml:1:1: the policy without sites; add it"]),
        ("sites: []\n", [
            "p.yaml:1:1: the policy without version; add it",
            "p.yaml:1:8: an empty list of sites; fill it, or leave the key out",
        ]),
        ("- 1\n", ["p.yaml:1:1: a list where the policy belongs; write version, sites as key: value",
                   ]),
        ("hello\n", ['p.yaml:1:1: "hello" where the policy belongs; write version, sites as key: value']),
        (site("peering: "), ["p.yaml:3:48: nothing is written here; write a value, or leave the key out"]),
        (site("peering: [allowed]"), ["p.yaml:3:49: a list where one value belongs"]),
        (site("update_windows: nights"), [
            'p.yaml:3:56: "nights" where a list of time intervals belongs; write [nights]',
        ]),
        (site("peers: hq"), ['p.yaml:3:47: "hq" where a list of sites belongs; write [hq]']),
        (site("peers: same_sit"), ['p.yaml:3:47: unknown peers "same_sit"; did you mean same_site?']),
        (site("peers: {}"), ["p.yaml:3:47: a mapping where one value belongs"]),
        (site("[1]: 2"), [('p.yaml:3:40: unknown key "" in a site; known: name, subnets, timezone, peering, '
                          "update_windows, exclude, grace, peers, limits")]),
        (site("<<: {peering: allowed}"), [
            ('p.yaml:3:40: unknown key "<<" in a site; known: name, subnets, timezone, peering, '
            "update_windows, exclude, grace, peers, limits"),
        ]),
        ("version: 1\nsites: [{name: unknown, subnets: [10.0.0.0/8]}]\n", [
            'p.yaml:2:16: "unknown" is the name for all that is in no site; choose another',
        ]),
        ("version: 1\nsites: [{name: a~b, subnets: [10.0.0.0/8]}]\n", [
            'p.yaml:2:16: "a~b" is not a name; write up to 64 letters, digits, blanks and . _ -',
        ]),
        ("version: 1\nsites: [{name: a, subnets: [10.0.0.0/8]}, {name: a, subnets: ['::ffff:10.0.0.0/104']}]\n", [
            'p.yaml:2:50: site "a" a second time; give each its own name',
            "p.yaml:2:63: 10.0.0.0/8 is already at p.yaml:2:29; a prefix belongs to one site",
        ]),
        (interval("{weekdays: [saturday:monday]}"), [
            ('p.yaml:4:34: weekdays "saturday:monday" run over the end of the week; the week starts on sunday; '
            "write two: saturday and sunday:monday"),
        ]),
        (interval("{months: ['november:february']}"), [
            ('p.yaml:4:32: months "november:february" run over the end of the year; '
            "write two: november:december and january:february"),
        ]),
        (interval("{days_of_month: ['-1:1']}"), [
            'p.yaml:4:39: days "-1:1" begin at the month\'s end; a range from a negative day ends at a negative day',
        ]),
        (interval("{times: [{start_time: '9:00', end_time: '24:01'}]}"), [
            'p.yaml:4:44: "9:00" is not a time of day; write HH:MM, from 00:00 to 24:00',
            'p.yaml:4:62: "24:01" is not a time of day; write HH:MM, from 00:00 to 24:00',
        ]),
        (interval("{times: [{start_time: '09:00'}]}"), ["p.yaml:4:31: times without end_time; add it"]),
        (interval("{weekdays: []}"), ["p.yaml:4:33: an empty list of weekdays; fill it, or leave the key out"]),
        (interval("{location: Local}"), [
            'p.yaml:4:33: "Local" differs from machine to machine; name a zone of the tz database, as Europe/Berlin',
        ]),
        (interval("{location: ../../etc/passwd}"), [
            'p.yaml:4:33: unknown timezone "../../etc/passwd"; name a zone of the tz database, as Europe/Berlin',
        ]),
        (interval(""), ["p.yaml:4:21: an empty list of time intervals; fill it, or leave the key out"]),
        ("version: 1\ntime_intervals:\n  - name: a\nsites: [{name: hq, subnets: [10.1.0.0/16]}]\n", [
            "p.yaml:3:5: a name without times; write either time_intervals, patch_tuesday or ics",
        ]),
        (
            ("version: 1\ntime_intervals:\n  - {name: a, patch_tuesday: {days: '14', start: '20:00', hours: 5}}\n"
            "sites: [{name: hq, subnets: [10.1.0.0/16]}]\n"),
            [("p.yaml:3:30: day 14 from 20:00 for 5 hours runs into day 15; "
             "that can leave February; end by midnight, or stop at day 13")],
        ),
        (
            ("version: 1\ntime_intervals:\n  - {name: a, patch_tuesday: {days: '0:15', start: '24:00', hours: 25}}\n"
            "sites: [{name: hq, subnets: [10.1.0.0/16]}]\n"),
            [('p.yaml:3:37: "0:15" are not days after a patch Tuesday; '
             "write how many days after the second Tuesday, 0 to 14, or two as first:last"),
             'p.yaml:3:52: "24:00" is the end of a day, not a start; write 00:00 and the next day',
             'p.yaml:3:68: "25" is not a number of hours; write 1 to 24'],
        ),
        (
            site("peering: allowed")
            + "exceptions: [{id: a, owner: b, reason: c, expires: 2026-12-01T10:00, match: {}}]\n",
            ['p.yaml:4:52: "2026-12-01T10:00" says no time zone; add Z or an offset, as 2026-12-01T18:00:00+01:00',
             "p.yaml:4:77: an exception for everything; name its sites or subnets"],
        ),
        (site('timezone: "\\e[31m"'), [
            'p.yaml:3:50: unknown timezone "\\x1b[31m"; name a zone of the tz database, as Europe/Berlin',
        ]),
    ],
)  # fmt: skip
def test_one_mistake(text: str, told: list[str]) -> None:
    assert mistakes(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "p.yaml: the file is empty; write at least version: 1 and one site"),
        ("# nothing\n", "p.yaml: the file is empty; write at least version: 1 and one site"),
        ("version: 1\nsites:\n\t- a\n", "p.yaml:3:1: a tab; indent with blanks"),
        ("version: 1\nsites: [a\n", "p.yaml:3:1: brackets that are not closed; close them, or put a comma between"),
        ("version: '1\n", "p.yaml:2:1: quotes that are not closed; close them"),
        ("version: 1: 2\n", "p.yaml:1:11: a colon where none can be; quote the text, or mend the indentation"),
        ("version: 1\nsites\n", "p.yaml:3:1: a line without a colon; write key: value"),
        ("version: 1\n---\nversion: 1\n", "p.yaml:2:1: a second document; a policy is one document"),
        ("version: &a 1\n", "p.yaml:1:10: an anchor or alias; write the value out"),
        ("version: *a\n", "p.yaml:1:10: an anchor or alias; write the value out"),
        ("version: !!python/object:os.system 1\n",
         'p.yaml:1:10: the tag "tag:yaml.org,2002:python/object:os.system"; leave it out'),
        ("[" * 50_000, "p.yaml:1:13: brackets in too many brackets; nothing here is that deep"),
        (b"version: 1\nsites: \xff\n", "p.yaml:2:8: a byte that is not UTF-8; save the file as UTF-8"),
        (b"version: 1\nsites: a\x00b\n", 'p.yaml:2:9: the character "\\x00"; delete it'),
        ('version: 1\nsites: "\\UFFFFFFFF"\n', "p.yaml: an escape that is no character; write the character itself"),
        ("#" * (1 << 20) + "\n", "p.yaml: more than 1 MiB; a policy file is smaller than that"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_policy_at_all(text: str | bytes, told: str) -> None:
    assert mistakes(text) == [told]


def test_nameless_intervals_and_exceptions_are_told_each_once() -> None:
    text = "version: 1\ntime_intervals: [{}, {}]\nsites: [{name: a, subnets: [10.0.0.0/8]}]\nexceptions: [{}]\n"
    assert mistakes(text) == [
        "p.yaml:2:18: a time interval without name; add it",
        "p.yaml:2:22: a time interval without name; add it",
        "p.yaml:4:14: an exception without id, owner, reason, expires, match; add them",
    ]
    twice = "{id: A, owner: b, reason: c, expires: 2026-12-01, match: {sites: [hq]}}"
    assert mistakes(site("peering: allowed") + f"exceptions: [{twice}, {twice}]\n") == [
        'p.yaml:4:87: exception "A" a second time; give each its own id'
    ]


def test_lists_that_may_be_empty() -> None:
    text = "version: 1\ntime_intervals: []\nexceptions: []\nsites:\n"
    text += "  - {name: a, subnets: [10.0.0.0/8], update_windows: [], exclude: []}\n"
    policy = load_policy(write(text))
    assert (policy.time_intervals, policy.exemptions, policy.sites[0].update_windows) == ({}, (), ())


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert load_policy(write(b"\xef\xbb\xbf" + OFFICE.encode())).sites[0].name == "hq"


def test_windows_line_ends_are_no_mistake() -> None:
    assert load_policy(write(OFFICE.replace("\n", "\r\n"))).sites[0].name == "hq"


def test_files_that_cannot_be_read(folder: Path) -> None:
    for path, told in (
        (folder, f"{folder}: this is a directory; give a policy file, a file"),
        (Path("none.yaml"), "none.yaml: cannot be read: no such file or directory; give a policy file"),
        (Path("a\0b"), "a\0b: cannot be read: not a path; give a policy file"),
    ):
        with pytest.raises(OperatorError) as caught:
            load_policy(path)
        assert str(caught.value) == told


def test_a_file_without_permission() -> None:
    write(OFFICE).chmod(0)
    read = "from pathlib import Path; from sensor.settings import load_policy; load_policy(Path('p.yaml'))"
    command = [*like_anybody(), sys.executable, "-c", read]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.splitlines()[-1] == (
        "sensor.errors.OperatorError: p.yaml: cannot be read: permission denied; give a policy file"
    )


def test_mistakes_of_the_inventory_come_after_those_of_the_policy() -> None:
    Path("endpoints.csv").write_text("address,role\n10.1.0.1,boss\n")
    assert mistakes(OFFICE.replace("version: 1", "version: 3")) == [
        'p.yaml:1:10: unknown version "3"; known: 1',
        'endpoints.csv:2: unknown role "boss"; known: client, server, infrastructure, vpn, unused',
    ]


def test_a_file_full_of_mistakes_ends() -> None:
    assert len(mistakes("version: 1\nsites:\n" + "  - {naem: 1}\n" * 1500)) == 1000


def told_warnings(text: str, now: str = "2026-06-01") -> list[str]:
    return [str(one) for one in warnings(write(text), ns(now))]


def test_a_sound_policy_has_no_warnings() -> None:
    sound = OFFICE.replace("timezone: Europe/Berlin", "timezone: UTC").replace("peers: same_subnet", "peering: allowed")
    assert told_warnings(sound) == []


def test_times_beside_weekdays_are_alternatives() -> None:
    text = """\
version: 1
time_intervals:
  - name: nights
    time_intervals:
      - times: [{start_time: '20:00', end_time: '24:00'}]
      - weekdays: [tuesday]
  - name: fine
    time_intervals:
      - times: [{start_time: '20:00', end_time: '24:00'}]
      - {weekdays: [tuesday], times: [{start_time: '00:00', end_time: '24:00'}]}
sites:
  - {name: hq, subnets: [10.1.0.0/16], timezone: UTC, update_windows: [nights, fine]}
"""
    assert told_warnings(text) == [
        (
            'p.yaml:5:9: "nights" is open at these times on every day, and all day on the weekdays beside them; '
            "items are alternatives; to mean these times on those days, write both in one item"
        )
    ]


def test_what_is_hardly_meant() -> None:
    text = """\
version: 1
time_intervals:
  - {name: never, time_intervals: [{days_of_month: ['30'], months: [february]}]}
  - {name: over, time_intervals: [{years: [2020]}]}
  - {name: unused, time_intervals: [{}]}
sites:
  - {name: a, subnets: [10.1.0.0/16], update_windows: [never, over]}
  - {name: b, subnets: [10.2.0.0/16], timezone: UTC}
  - {name: c, subnets: [10.3.0.0/16], peering: allowed, update_windows: [never], peers: [a, d]}
  - {name: d, subnets: [10.4.0.0/16], peering: disabled, peers: any}
exceptions:
  - {id: OLD, owner: b, reason: c, expires: 2026-05-31, match: {sites: [a]}}
  - {id: NEW, owner: b, reason: c, expires: 2026-06-01, match: {sites: [a]}}
"""
    assert told_warnings(text) == [
        'p.yaml:3:12: "never" is not open once in the next 40 years; look at its days, months and years',
        'p.yaml:4:12: "over" is not open once in the next 40 years; look at its days, months and years',
        'p.yaml:5:12: no site uses "unused"; name it in update_windows or exclude, or delete it',
        'p.yaml:7:5: site "a" has no timezone, so its windows are in UTC; say which, as Europe/Berlin or UTC',
        (
            'p.yaml:8:5: site "b" is scheduled without update_windows, so it is never open; '
            "name its windows, or say disabled"
        ),
        'p.yaml:9:5: site "c" is allowed, so its windows mean nothing; say scheduled, or delete them',
        'p.yaml:9:5: site "c" names "a" as a peer, but not the other way round; both sides must permit it',
        'p.yaml:12:5: exception "OLD" has expired; delete it, or give it a new end',
    ]


def test_warnings_of_a_wrong_policy_are_its_mistakes() -> None:
    with pytest.raises(OperatorError, match="version"):
        warnings(write("version: 2\n"))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_are_a_policy_or_mistakes_with_an_address(data: st.DataObject) -> None:
    whole = bytearray(OFFICE.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        junk = st.sampled_from(
            [b"", b"[", b"}", b":", b"\n", b"- ", b"'", b"&a ", b"*a", b"\xff", b"!x ", b"9" * 40, b"?"]
        )
        cut = data.draw(st.integers(0, 12))
        whole[at : at + cut] = data.draw(junk | st.binary(max_size=6))
    path = write(bytes(whole))
    told: tuple[Mistake, ...] = ()
    try:
        policy = load_policy(path)
    except OperatorError as wrong:
        told = wrong.mistakes
        assert told
    else:
        assert all(ZoneInfo(one.timezone) for one in policy.sites)
        warnings(path, 0)
    assert all(one.where.startswith("p.yaml") or one.read.startswith("cannot be read") for one in told)
    assert all(str(one).isprintable() for one in told)


def test_the_example_of_the_manual_is_a_sound_policy() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    example = manual.split("```yaml\n")[1].split("```")[0]
    Path("endpoints.csv").write_text(manual.split("```csv\n")[1].split("```")[0])
    assert [one.name for one in load_policy(write(example)).sites] == ["hq", "branch", "cash-desks"]
    assert told_warnings(example) == []
    assert len(load_policy(write(example)).endpoints) == 3
