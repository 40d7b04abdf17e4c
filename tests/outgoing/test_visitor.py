"""Visits to relays that strangers name: a good one gets its event, and nobody leads us elsewhere."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from relaybot.clock import SetClock
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import Event, encode_event, event_from
from relaybot.nostr.filters import Filter
from relaybot.nostr.keys import KeyPair, verify
from relaybot.visitor import VisitLimits, Visitor, parse_relay_url
from tests.outgoing.conftest import HOST, PUBLIC, Names

NOW = 1_795_000_000
SERVICE, ONCE = KeyPair(b"\x03" * 32), KeyPair(b"\x04" * 32)
EVENT = KeyPair(b"\x02" * 32).sign(kind=9735, content="", tags=[], created_at=NOW)
WRAP = KeyPair(b"\x05" * 32).sign(kind=1059, content="sealed", tags=[("p", "0a" * 32)], created_at=NOW)
WANTED = Filter(ids=frozenset({EVENT.id}), limit=1)
OK = json.dumps(["OK", EVENT.id, True, ""])


class Relay:
    """A relay of somebody else's, which answers an event with these frames."""

    def __init__(self, *frames: str) -> None:
        self.frames = frames
        self.got: list[list[object]] = []
        self.port = 0

    async def __call__(self, visitor: ServerConnection) -> None:
        self.got.append(json.loads(await visitor.recv()))
        for frame in self.frames:
            await visitor.send(frame)
        await visitor.wait_closed()


@pytest.fixture
async def opened() -> AsyncIterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.close()
        await server.wait_closed()


async def relay(opened: list[Server], *frames: str, tls: ssl.SSLContext | None = None) -> Relay:
    made = Relay(*frames)
    opened.append(await serve(made, "127.0.0.1", 0, ssl=tls))
    made.port = next(iter(opened[-1].sockets)).getsockname()[1]
    return made


class Diverted:
    """Dials a loopback port whatever address is asked for, and notes what was."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dialled: list[tuple[str, int]] = []

    async def __call__(self, address: str, port: int) -> socket.socket:
        self.dialled.append((address, port))
        link = socket.socket()
        link.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", self.port))
        except BaseException:  # also when the visit is out of time
            link.close()
            raise
        return link


def visitor(to: Diverted, *addresses: Sequence[str], **more: object) -> Visitor:
    return Visitor(
        hosts={},
        keypair=SERVICE,
        make_key=lambda: ONCE,
        clock=SetClock(NOW),
        lookup=Names(*addresses or ([PUBLIC],)),
        dial=to,
        **more,  # type: ignore[arg-type]
    )


def pinned_to(there: Relay) -> Visitor:
    hosts = {"relay.test": f"http://127.0.0.1:{there.port}"}
    return Visitor(hosts=hosts, keypair=SERVICE, make_key=lambda: ONCE, clock=SetClock(NOW), lookup=Names([]))


async def test_a_relay_gets_the_event_and_its_ok_is_heard(opened: list[Server]) -> None:
    there = await relay(opened, '["AUTH","challenge"]', '["NOTICE","welcome"]', "noise", OK)
    to = Diverted(there.port)
    ok = await visitor(to).publish(f"ws://{HOST}/path?x=1", EVENT)
    assert ok.accepted
    assert to.dialled == [(PUBLIC, 80)]
    assert there.got[0][0] == "EVENT"


async def test_over_tls_the_certificate_must_be_the_hosts(
    opened: list[Server], certificate: Path, trust: ssl.SSLContext
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    there = await relay(opened, OK, tls=tls)
    to = Diverted(there.port)
    assert (await visitor(to, tls=trust).publish(f"wss://{HOST}", EVENT)).accepted
    assert to.dialled == [(PUBLIC, 443)]
    with pytest.raises(Unavailable, match="SSLCertVerificationError"):
        await visitor(to, tls=trust).publish("wss://other.example", EVENT)


async def test_a_name_the_operator_pinned_leads_where_the_operator_says(opened: list[Server]) -> None:
    there = await relay(opened, OK)
    assert (await pinned_to(there).publish("wss://relay.test", EVENT)).accepted


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fc00::1"])
async def test_f1_a_name_that_leads_inside_is_not_visited(inside: str) -> None:
    to = Diverted(0)
    with pytest.raises(Rejected, match="not public"):
        await visitor(to, [PUBLIC, inside]).publish(f"wss://{HOST}", EVENT)
    assert to.dialled == []


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://relay.example", "not a ws:// or wss:// URL"),
        ("wss://user:secret@relay.example", "not a ws:// or wss:// URL"),
        ("wss://[::1]:7447", "not a ws:// or wss:// URL"),
        ("wss://relay.example#x", "not a ws:// or wss:// URL"),
        ("wss://relay.example/\n", "not a ws:// or wss:// URL"),
        ("wss://" + "a" * 600, "not a ws:// or wss:// URL"),
        ("ws://127.0.0.1:7447", "an address, not a domain name"),
        ("ws://2130706433", "not a domain name"),
        ("ws://localhost:7447", "not a domain name"),
        ("ws://relay.example:22", "a port that is not for relays"),
        ("ws://relay.example:99999", "a port that is not for relays"),
    ],
)
def test_d7_an_address_that_is_none_of_a_relay_is_refused(url: str, named: str) -> None:
    with pytest.raises(Rejected, match=named):
        parse_relay_url(url)


async def test_a_relay_that_says_no_ok_ends_the_visit(opened: list[Server]) -> None:
    talks = await relay(opened, *['["NOTICE","wait"]'] * VisitLimits().frames_max)
    with pytest.raises(Unavailable, match="no OK"):
        await visitor(Diverted(talks.port)).publish(f"ws://{HOST}", EVENT)
    silent = await relay(opened)
    with pytest.raises(Unavailable, match="did not answer in time"):
        await visitor(Diverted(silent.port), limits=VisitLimits(seconds_max=0.05)).publish(f"ws://{HOST}", EVENT)
    floods = await relay(opened, "x" * (VisitLimits().frame_bytes_max + 1))
    with pytest.raises(Unavailable, match="ConnectionClosedError"):
        await visitor(Diverted(floods.port)).publish(f"ws://{HOST}", EVENT)


async def test_a_relay_that_is_not_there_is_unavailable(opened: list[Server]) -> None:
    gone = await relay(opened, OK)
    opened[0].close()
    await opened[0].wait_closed()
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        await visitor(Diverted(gone.port)).publish(f"ws://{HOST}", EVENT)
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        await pinned_to(gone).publish("wss://relay.test", EVENT)


class Reserved(Relay):
    """A relay that takes events only from those who AUTH, and says yes or no to that."""

    def __init__(self, *, believes: bool = True, insists: bool = False) -> None:
        super().__init__()
        self.believes = believes
        self.insists = insists  # on an AUTH, even after one
        self.shown: list[Event] = []

    async def __call__(self, visitor: ServerConnection) -> None:
        await visitor.send('["AUTH","who are you?"]')
        async for frame in visitor:
            verb, body = json.loads(frame)
            event = event_from(body)
            self.got.append([verb, event.id])
            if verb == "AUTH":
                self.shown.append(event)
                said = ["OK", event.id, self.believes, "" if self.believes else "restricted: not you"]
            elif self.shown and not self.insists:
                said = ["OK", event.id, True, ""]
            else:
                said = ["OK", event.id, False, "auth-required: whose is this?"]
            await visitor.send(json.dumps(said))


async def reserved(opened: list[Server], made: Reserved) -> Reserved:
    opened.append(await serve(made, "127.0.0.1", 0))
    made.port = next(iter(opened[-1].sockets)).getsockname()[1]
    return made


@pytest.mark.parametrize(("event", "key"), [(EVENT, SERVICE), (WRAP, ONCE)], ids=["a receipt", "a gift wrap"])
async def test_who_asks_whose_we_are_sees_the_services_key_but_not_beside_a_gift_wrap(
    opened: list[Server], event: Event, key: KeyPair
) -> None:
    there = await reserved(opened, Reserved())
    assert (await visitor(Diverted(there.port)).publish(f"ws://{HOST}/x", event)).accepted
    (shown,) = there.shown
    assert (shown.pubkey, shown.kind, shown.created_at) == (key.pubkey, 22_242, NOW)
    assert shown.tags == (("relay", f"ws://{HOST}/x"), ("challenge", "who are you?"))
    assert verify(shown)
    assert there.got == [["EVENT", event.id], ["AUTH", shown.id], ["EVENT", event.id]]


async def test_a_relay_that_does_not_believe_us_or_asks_for_ever_is_left(opened: list[Server]) -> None:
    doubts = await reserved(opened, Reserved(believes=False))
    answer = await visitor(Diverted(doubts.port)).publish(f"ws://{HOST}", EVENT)
    assert (answer.event_id, answer.accepted, answer.message) == (EVENT.id, False, "restricted: not you")
    insists = await reserved(opened, Reserved(insists=True))
    answer = await visitor(Diverted(insists.port)).publish(f"ws://{HOST}", EVENT)
    assert (answer.accepted, len(insists.shown)) == (False, 1)
    says_no_challenge = await relay(opened, json.dumps(["OK", EVENT.id, False, "auth-required: no"]))
    answer = await visitor(Diverted(says_no_challenge.port)).publish(f"ws://{HOST}", EVENT)
    assert answer.message == "auth-required: no"


FOUND = json.dumps(["EVENT", "look", json.loads(encode_event(EVENT))])
FORGED = json.dumps(["EVENT", "look", {**json.loads(encode_event(EVENT)), "sig": "00" * 64}])


@pytest.mark.parametrize(
    ("frames", "event"),
    [
        ((FOUND,), EVENT),
        (('["AUTH","challenge"]', "noise", FOUND), EVENT),
        ((FORGED, '["EOSE","look"]'), None),
        (('["CLOSED","look","auth-required: who are you"]',), None),
        (("noise",) * 3, None),
    ],
)
async def test_an_event_is_asked_for_by_its_id_and_checked(
    opened: list[Server], frames: tuple[str, ...], event: Event | None
) -> None:
    there = await relay(opened, *frames)
    to = Diverted(there.port)
    assert await visitor(to, limits=VisitLimits(frames_max=3)).find_all(f"ws://{HOST}", WANTED) == (
        [event] if event else []
    )
    assert there.got == [["REQ", "look", {"ids": [EVENT.id], "limit": 1}]]


async def test_no_event_is_asked_for_at_an_address_inside() -> None:
    to = Diverted(0)
    with pytest.raises(Rejected, match="not public"):
        await visitor(to, ["10.0.0.1"]).find_all(f"ws://{HOST}", WANTED)
    assert to.dialled == []
