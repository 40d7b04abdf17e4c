"""A stranger asks in every way there is, and learns nothing of letters between others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip42 import build_auth_event
from tests.relay.authors import ALICE, BOB, CAROL, NOW, note, obj
from tests.relay.client import Client
from tests.relay.conftest import Relay, limited, running

WRAP = note("sealed", by=CAROL, kind=1059, tags=[["p", ALICE.pubkey], ["t", "letter"]])
PASSING = note("sealed", by=CAROL, kind=21_059, tags=[["p", ALICE.pubkey]])
OPEN = note("for everybody", by=CAROL)

WAYS: dict[str, dict[str, Any]] = {
    "by its id": {"ids": [WRAP.id]},
    "by the key that wrapped it": {"authors": [CAROL.pubkey]},
    "by its recipient": {"#p": [ALICE.pubkey]},
    "by another tag": {"#t": ["letter"]},
    "by its date": {"since": NOW, "until": NOW},
    "by everything": {},
    "by its kind among others": {"kinds": [1, 1059]},
    "by its kind": {"kinds": [1059]},
    "by its kind and recipient": {"kinds": [1059], "#p": [ALICE.pubkey]},
    "by its kind and a crowd of recipients": {"kinds": [1059], "#p": [ALICE.pubkey, BOB.pubkey]},
}


async def authenticate(client: Client, relay: Relay, keypair: KeyPair, *, challenge: str) -> None:
    event = build_auth_event(keypair, relay_url=relay.url, challenge=challenge, now=NOW)
    await client.send("AUTH", obj(event))
    assert await client.hear() == ["OK", event.id, True, ""]


async def challenge_of(client: Client) -> str:
    await client.send("REQ", "provoke", {"kinds": [1059]})
    verb, challenge = await client.hear()
    assert verb == "AUTH"
    assert (await client.hear())[0] == "CLOSED"
    return str(challenge)


@pytest.fixture(params=["who does not say who they are", "who says so, and is somebody else"])
async def stranger(request: pytest.FixtureRequest, relay: Relay) -> AsyncIterator[Client]:
    async with relay.client() as client:
        challenge = await challenge_of(client)
        if request.param == "who says so, and is somebody else":
            await authenticate(client, relay, BOB, challenge=challenge)
        yield client


async def overheard(client: Client, *message: object) -> str:
    """Say something; return everything heard until its end."""
    await client.send(*message)
    heard: list[Any] = []
    while not heard or heard[-1][0] not in ("EOSE", "CLOSED", "COUNT", "OK"):
        heard.append(await client.hear())
    return json.dumps(heard)


async def test_i9_no_question_brings_a_strangers_gift_wrap_or_tells_that_there_is_one(
    client: Client, stranger: Client
) -> None:
    async def answers() -> list[str]:
        asked = [(verb, f"{verb} {way}", filter_) for verb in ("REQ", "COUNT") for way, filter_ in WAYS.items()]
        return [await overheard(stranger, *message) for message in asked]

    before = await answers()
    await client.accepted(WRAP, PASSING)
    await stranger.hears_nothing_more()
    assert await answers() == before
    assert not any(WRAP.id in answer or WRAP.content in answer for answer in before)


async def test_i9_open_subscriptions_of_strangers_hear_of_no_gift_wrap_and_its_recipient_does(
    relay: Relay, client: Client, other: Client, stranger: Client
) -> None:
    await authenticate(client, relay, ALICE, challenge=await challenge_of(client))
    await client.subscribe({"kinds": [1059, 21_059]}, sub="mine")
    assert await client.until_eose("mine") == []
    await stranger.subscribe({}, {"#p": [ALICE.pubkey]}, {"authors": [CAROL.pubkey]}, sub="all")
    assert await stranger.until_eose("all") == []
    await other.accepted(WRAP, PASSING, OPEN)
    assert [await client.hear() for _ in range(2)] == [["EVENT", "mine", obj(WRAP)], ["EVENT", "mine", obj(PASSING)]]
    assert await stranger.hear() == ["EVENT", "all", obj(OPEN)]
    await stranger.hears_nothing_more()


async def test_a_stranger_deletes_no_gift_wrap(relay: Relay, client: Client, stranger: Client) -> None:
    await client.accepted(WRAP)
    await stranger.accepted(note(kind=5, by=BOB, tags=[["e", WRAP.id], ["p", ALICE.pubkey], ["k", "1059"]]))
    await authenticate(client, relay, ALICE, challenge=await challenge_of(client))
    assert await client.stored({"kinds": [1059]}) == [WRAP.id]


async def test_i9_where_auth_is_required_wallet_connect_is_hidden_from_who_did_not_auth(path: Path) -> None:
    request = note("sealed", by=BOB, kind=23_194, tags=[["p", ALICE.pubkey]])
    info = note("pay_invoice", by=ALICE, kind=13_194)
    settings = limited(auth_required=True)
    async with running(path, settings) as relay, relay.client() as wallet, relay.client() as stranger:
        for client in (wallet, stranger):
            assert (await client.hear())[0] == "AUTH"
        for verb in ("REQ", "COUNT"):
            for kinds in ([13_194], [23_194, 23_195], [23_196, 23_197]):
                told = await overheard(stranger, verb, "s", {"kinds": kinds})
                assert "auth-required: " in told
        assert "auth-required: " in await overheard(stranger, "EVENT", obj(request))
        assert "auth-required: " in await overheard(stranger, "EVENT", obj(info))
