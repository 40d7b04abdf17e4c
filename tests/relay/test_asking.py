"""COUNT and AUTH on one connection: what is asked twice, taken back, too much, or not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from relaybot.errors import Unavailable
from relaybot.nostr.filters import Filter
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip42 import build_auth_event
from tests.relay.authors import ALICE, NOW, note, obj
from tests.relay.client import Client
from tests.relay.conftest import Relay, limited, running
from tests.relay.wire import open_connections, until


class Slow:
    """A store's count that ends when the test says so."""

    def __init__(self, found: int | Unavailable) -> None:
        self.found = found
        self.go_on = asyncio.Event()
        self.begun = 0
        self.cancelled = 0

    async def __call__(self, _filters: Sequence[Filter], _now: int) -> int:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.found, Unavailable):
            raise self.found
        return self.found


def slow_count(relay: Relay, monkeypatch: pytest.MonkeyPatch, found: int | Unavailable = 7) -> Slow:
    slow = Slow(found)
    monkeypatch.setattr(relay.store, "count", slow)
    return slow


async def test_a_count_that_takes_too_long_is_refused(
    relay: Relay, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_count(relay, monkeypatch, Unavailable("the query took too long")).go_on.set()
    await client.send("COUNT", "q", {})
    assert await client.hear() == ["CLOSED", "q", "error: the query took too long"]


async def test_a_count_of_the_same_id_takes_the_place_of_the_first(
    relay: Relay, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = slow_count(relay, monkeypatch)
    await client.send("COUNT", "q", {})
    await until(lambda: slow.begun == 1)
    await client.send("COUNT", "q", {})
    await until(lambda: slow.begun == 2)
    slow.go_on.set()
    assert await client.hear() == ["COUNT", "q", {"count": 7}]
    await client.hears_nothing_more()
    (connection,) = open_connections(relay.server)
    assert (slow.cancelled, connection._unanswered, connection._counts) == (1, 0, {})


async def test_i8_counting_ends_with_its_connection(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = slow_count(relay, monkeypatch)
    async with relay.client() as client:
        for number in range(20):
            await client.send("COUNT", str(number), {})
        await until(lambda: slow.begun == 20)
    await until(lambda: not relay.hub._tasks)
    assert slow.cancelled == 20


async def prove(client: Client, relay: Relay, challenge: str, secret: int, *, url: str | None = None) -> str:
    """AUTH with a key; return what is said to it."""
    keypair = KeyPair(bytes([secret]) * 32)
    event = build_auth_event(keypair, relay_url=url or relay.url, challenge=challenge, now=NOW)
    await client.send("AUTH", obj(event))
    verb, event_id, _, message = await client.hear()
    assert (verb, event_id) == ("OK", event.id)
    return str(message)


async def test_where_auth_is_required_the_challenge_comes_first(path: Path) -> None:
    async with running(path, limited(auth_required=True)) as relay, relay.client() as client:
        verb, challenge = await client.hear()
        assert verb == "AUTH"
        for verb, refusal in (("REQ", "CLOSED"), ("COUNT", "CLOSED")):
            await client.send(verb, "s", {"kinds": [1]})
            assert await client.hear() == [refusal, "s", "auth-required: this relay is for those who AUTH"]
        assert (await client.publish(note()))[3] == "auth-required: this relay is for those who AUTH"
        assert await prove(client, relay, challenge, 1) == ""
        await client.accepted(note())
        assert await client.stored({"kinds": [1]}) == [note().id]


async def test_a_connection_has_so_many_keys_and_no_more(path: Path) -> None:
    async with running(path, limited(keys_max=2)) as relay, relay.client() as client:
        await client.send("REQ", "s", {"kinds": [1059]})
        challenge = (await client.hear())[1]
        assert (await client.hear())[0] == "CLOSED"
        said = [await prove(client, relay, challenge, secret) for secret in (1, 2, 1, 3)]
        assert said == ["", "", "", "restricted: too many keys on one connection (allowed=2)"]


async def test_a_key_may_be_proved_by_any_name_of_the_relay_and_by_no_other(client: Client, relay: Relay) -> None:
    await client.send("REQ", "s", {"kinds": [1059]})
    challenge = (await client.hear())[1]
    await client.hear()
    for name in (f"ws://LOCALHOST:{relay.port}/", f"wss://127.0.0.1:{relay.port}", f"ws://[::1]:{relay.port}"):
        assert await prove(client, relay, challenge, 1, url=name) == ""
    for name in (
        "ws://relay.test",
        f"ws://127.0.0.1:{relay.port + 1}",
        f"{relay.url}/other",
        "ws://127.0.0.1:x",
        "",
        "x",
    ):
        assert (await prove(client, relay, challenge, 1, url=name or " ")).startswith(
            "invalid: AUTH is for another relay"
        )


async def test_where_gift_wraps_are_open_nobody_needs_to_auth(path: Path) -> None:
    wrap = note(kind=1059, tags=[["p", ALICE.pubkey]])
    async with running(path, limited(wraps_to_recipients_only=False)) as relay, relay.client() as client:
        await client.accepted(wrap)
        assert await client.stored({"kinds": [1059]}) == [wrap.id]
        assert await client.stored({"#p": [ALICE.pubkey]}) == [wrap.id]
