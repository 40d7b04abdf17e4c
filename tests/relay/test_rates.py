"""Attack I8: how often, and for whom: addresses, proxies, and what one of them may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from relaybot.errors import Unavailable
from relaybot.relay import rates
from relaybot.relay.connections import Connections
from relaybot.relay.hub import Hub
from relaybot.relay.policies import ConnectionFacts
from relaybot.relay.proxies import forwarded_address, is_trusted, origin
from relaybot.relay.rates import Rate
from relaybot.relay.settings import RelayLimits, RelaySettings
from tests.relay.authors import ALICE, BOB, note, obj, raw
from tests.relay.client import Client
from tests.relay.conftest import Relay, running
from tests.relay.test_hub import publish

PROXIES = (ip_network("127.0.0.0/8"), ip_network("10.0.0.1"), ip_network("fd00::/16"))


def test_a_bucket_empties_and_fills_again() -> None:
    rate = Rate(60)
    assert [rate.take("a", 0.0) for _ in range(61)] == [True] * 60 + [False]
    assert rate.take("b", 0.0)
    assert [rate.take("a", 2.0) for _ in range(3)] == [True, True, False]
    assert [rate.take("a", 1e6) for _ in range(61)] == [True] * 60 + [False]


def test_no_bound_is_none() -> None:
    rate = Rate(0)
    assert all(rate.take("a", 0.0) for _ in range(10_000))


def test_the_longest_unused_name_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "NAMES_MAX", 2)
    rate = Rate(1)
    assert [rate.take(name, 0.0) for name in "abacab"] == [True, True, False, True, False, True]


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("", ""),
        ("unix", ""),
    ],
)
def test_an_address_is_counted_as_its_subscriber(address: str, counted_as: str) -> None:
    assert origin(address) == counted_as


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        (["x-forwarded-for: 203.0.113.9, 192.0.2.1, 10.0.0.1"], "192.0.2.1"),  # the first is the client's own claim
        (["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        (["X-Forwarded-For: 192.0.2.1, nonsense"], "10.0.0.1"),
        (["X-Forwarded-For: 10.0.0.1"], "10.0.0.1"),
        (["X-Real-IP: 192.0.2.1"], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_a_trusted_proxy_names_its_client(forwarded: list[str], address: str) -> None:
    head = "\r\n".join(["GET / HTTP/1.1", "Host: x", *forwarded, "", ""]).encode()
    assert forwarded_address(head, "10.0.0.1", PROXIES) == address


def test_only_the_operators_proxies_are_trusted() -> None:
    assert is_trusted("10.0.0.1", PROXIES)
    assert is_trusted("fd00::9", PROXIES)
    assert not any(is_trusted(peer, PROXIES) for peer in ("10.0.0.2", "192.0.2.1", "", "x"))


# ---- over sockets: the test is a proxy and speaks for others


@asynccontextmanager
async def behind_proxy(path: Path, **limits: Any) -> AsyncIterator[Relay]:
    settings = RelaySettings(limits=RelayLimits(trusted_proxies=PROXIES, **limits))
    async with running(path, settings) as relay:
        yield relay


@asynccontextmanager
async def coming_from(relay: Relay, address: str) -> AsyncIterator[Client]:
    headers = {"X-Forwarded-For": address}
    async with connect(relay.url, compression=None, additional_headers=headers, ping_interval=None) as socket:
        yield Client(socket)


async def heard(client: Client, events: Sequence[Any]) -> list[str]:
    return [(await client.publish(event))[3] for event in events]


async def test_i8_an_address_that_floods_is_told_to_slow_down_and_others_are_served(path: Path) -> None:
    async with behind_proxy(path, events_per_address_minute_max=3) as relay:
        notes = [note(str(number)) for number in range(5)]
        async with coming_from(relay, "192.0.2.1") as flood, coming_from(relay, "192.0.2.2") as other:
            too_many = "rate-limited: too many events from this address (allowed=3 a minute)"
            assert await heard(flood, notes) == ["", "", "", too_many, too_many]
            await other.accepted(notes[3])


async def test_i8_a_key_that_floods_over_many_addresses_is_told_to_slow_down(path: Path) -> None:
    async with behind_proxy(path, events_per_key_minute_max=2) as relay:
        answers = []
        for number in range(3):
            async with coming_from(relay, f"192.0.2.{number}") as client:
                answers += await heard(client, [note(str(number))])
        assert answers == ["", "", "rate-limited: too many events of this key (allowed=2 a minute)"]


async def test_i8_an_address_that_asks_without_end_is_told_to_slow_down(path: Path) -> None:
    async with behind_proxy(path, requests_per_address_minute_max=2) as relay:
        async with coming_from(relay, "192.0.2.1") as client:
            assert await client.stored({}) == await client.stored({}) == []
            for verb in ("REQ", "COUNT"):
                await client.send(verb, "s", {})
                too_many = "rate-limited: too many requests from this address (allowed=2 a minute)"
                assert await client.hear() == ["CLOSED", "s", too_many]
        assert len(relay.hub._subscriptions) == 0


async def test_i8_one_address_has_so_many_connections_and_no_more(path: Path) -> None:
    async with behind_proxy(path, connections_per_address_max=2) as relay:
        async with coming_from(relay, "192.0.2.1") as one, coming_from(relay, "192.0.2.1"):
            with pytest.raises(InvalidStatus) as raised:
                async with coming_from(relay, "192.0.2.1"):
                    pass
            assert raised.value.response.status_code == 503
            async with coming_from(relay, "192.0.2.2") as other:
                await other.accepted(note())
            await one.accepted(note("still served"))
        async with coming_from(relay, "192.0.2.1") as again:
            await again.accepted(note("again"))


async def test_this_machine_itself_is_not_counted(path: Path) -> None:
    limits = RelayLimits(events_per_address_minute_max=1, events_per_key_minute_max=1, connections_per_address_max=1)
    async with running(path, RelaySettings(limits=limits)) as relay, relay.client() as one, relay.client() as other:
        await one.accepted(note("1"), note("2"))
        await other.accepted(note("3"))


# ---- web of accounts

MEMBERS = RelayLimits(kinds_of_members=frozenset({1, 1059}))


async def has_account(pubkey: str) -> bool:
    return pubkey == ALICE.pubkey


async def test_some_kinds_are_for_keys_with_an_account(path: Path) -> None:
    async with running(path, RelaySettings(limits=MEMBERS)) as relay, relay.client() as client:
        relay.hub._has_account = has_account
        await client.accepted(note(by=ALICE), note(by=BOB, kind=7))
        assert (await client.publish(note("2", by=ALICE)))[2] is True
        await client.send("EVENT", obj(note(by=BOB)))
        assert (await client.hear())[0] == "AUTH"
        heard = await client.hear()
        assert heard[3] == "auth-required: this kind is for keys with an account here; AUTH, or open one"


async def test_a_member_may_send_what_a_one_time_key_signed(hub: Hub) -> None:
    hub.limits = MEMBERS
    hub._has_account = has_account
    wrap, answers = note(by=BOB, kind=1059), list[bool]()
    for keys in (frozenset({BOB.pubkey}), frozenset({BOB.pubkey, ALICE.pubkey})):
        facts = ConnectionFacts("192.0.2.1", keys=keys)
        hub.submit(raw(wrap), wrap, facts, lambda ok: answers.append(ok.accepted))
        while hub._tasks:
            await next(iter(hub._tasks))
        await hub.all_answered()
    assert answers == [False, True]


async def test_the_service_itself_is_a_member(hub: Hub) -> None:
    hub.limits = MEMBERS
    assert (await publish(hub, note())).accepted


async def test_a_book_that_does_not_answer_lets_nobody_in(hub: Hub) -> None:
    async def silent(_pubkey: str) -> bool:
        raise Unavailable("locked")

    hub.limits = MEMBERS
    hub._has_account = silent
    answers: list[str] = []
    with capture_logs() as logs:
        hub.submit(raw(note()), note(), ConnectionFacts("192.0.2.1"), lambda ok: answers.append(ok.message))
        while hub._tasks:
            await next(iter(hub._tasks))
    assert answers == ["error: the event could not be taken in, try again later"]
    assert [line["event"] for line in logs] == ["relay_account_not_looked_up"]


class Peer:
    """A transport of somebody who asks for a page, and stays."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.closing = False

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return self.address, 5_000

    def is_closing(self) -> bool:
        return self.closing


async def test_connections_of_the_http_server_count_until_they_are_closed() -> None:
    """Else one address could take every socket there is, by requests for pages that never end."""
    everybody = Connections(None, RelayLimits(connections_per_address_max=2), asyncio.Protocol)  # type: ignore[arg-type]
    peers = [Peer("192.0.2.1") for _ in range(3)] + [Peer("198.51.100.7")]  # the last is a proxy, for the same client
    for peer in peers:
        everybody.move("", "192.0.2.1")
        everybody.hand_over(None, peer, "192.0.2.1")  # type: ignore[arg-type]  # all that is asked of a transport
    assert (everybody.too_many("192.0.2.1"), everybody.too_many("192.0.2.2")) == (True, False)
    peers[0].closing = True
    assert not everybody.too_many("192.0.2.1")
    for peer in peers:
        peer.closing = True
    everybody.forget_closed()
    assert everybody._by_origin == {}
