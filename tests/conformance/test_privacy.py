"""NIP-42, NIP-59 and NIP-17 (gift wraps), NIP-70: who may read and write what."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from relaybot.nostr.event import Event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip42 import build_auth_event
from tests.conformance.guest import ALICE, BOB, NOW, Guest, ids, in_order, key, note, obj

AUTH = 22_242


def wrap_to(reader: KeyPair, kind: int = 1059) -> Event:
    return note(by=key(), kind=kind, tags=[["p", reader.pubkey]])


# ---- NIP-42


@pytest.mark.nip(42)
async def test_auth_messages_must_be_answered_with_an_ok_message(client: Guest, url: str) -> None:
    event = build_auth_event(ALICE, relay_url=url, challenge=await client.provoke(), now=int(time.time()))
    assert await client.authenticate(event) == ["OK", event.id, True, ""]


@pytest.mark.nip(42, 59)
async def test_relays_must_treat_all_pubkeys_as_authenticated(client: Guest) -> None:
    wraps = [wrap_to(ALICE), wrap_to(BOB)]
    await client.accepted(*wraps)
    await client.prove(ALICE, BOB)
    assert sorted(await client.stored({"kinds": [1059], "ids": ids(wraps)})) == sorted(ids(wraps))


@pytest.mark.nip(42)
async def test_the_challenge_is_valid_for_the_duration_of_the_connection(client: Guest) -> None:
    challenge = await client.provoke()
    await client.prove(ALICE)
    await client.accepted(note("meanwhile"))
    await client.prove(BOB)
    assert client.challenge == challenge


@pytest.mark.nip(42)
async def test_a_challenge_of_another_connection_is_none_of_this_one(client: Guest, other: Guest, url: str) -> None:
    await client.provoke()
    foreign = await other.provoke()
    event = build_auth_event(ALICE, relay_url=url, challenge=foreign, now=int(time.time()))
    assert (await client.authenticate(event))[:3] == ["OK", event.id, False]


Forgery = Callable[[str, str], Event]
FORGERIES: dict[str, Forgery] = {
    "the kind is 22242": lambda url, challenge: note(kind=1, tags=[["relay", url], ["challenge", challenge]]),
    "created_at is close to the current time: past": lambda url, challenge: note(
        kind=AUTH, tags=[["relay", url], ["challenge", challenge]], at=NOW - 3_600
    ),
    "created_at is close to the current time: future": lambda url, challenge: note(
        kind=AUTH, tags=[["relay", url], ["challenge", challenge]], at=NOW + 3_600
    ),
    "the challenge tag matches the challenge sent before": lambda url, challenge: note(
        kind=AUTH, tags=[["relay", url], ["challenge", challenge + "x"]]
    ),
    "there is a challenge tag": lambda url, _: note(kind=AUTH, tags=[["relay", url]]),
    "the relay tag matches the relay URL": lambda _, challenge: note(
        kind=AUTH, tags=[["relay", "wss://relay.in-between.test"], ["challenge", challenge]]
    ),
    "there is a relay tag": lambda _, challenge: note(kind=AUTH, tags=[["challenge", challenge]]),
}


@pytest.mark.nip(42)
@pytest.mark.parametrize("sentence", FORGERIES)
async def test_relays_must_ensure(client: Guest, url: str, sentence: str) -> None:
    event = FORGERIES[sentence](url, await client.provoke())
    assert (await client.authenticate(event))[:3] == ["OK", event.id, False]
    await client.closed("auth-required", "REQ", "s", {"kinds": [1059], "#p": [ALICE.pubkey]})


@pytest.mark.nip(42)
async def test_a_forged_signature_proves_nothing(client: Guest, url: str) -> None:
    event = build_auth_event(ALICE, relay_url=url, challenge=await client.provoke(), now=int(time.time()))
    await client.send("AUTH", obj(event) | {"sig": "0" * 128})
    assert (await client.hear())[:3] == ["OK", event.id, False]


@pytest.mark.nip(42)
async def test_kind_22242_is_never_broadcast(client: Guest, other: Guest) -> None:
    author = key()
    await other.subscribe({"authors": [author.pubkey]})
    await client.publish(note(by=author, kind=AUTH, tags=[["challenge", "x"]]))
    await other.hears_nothing_more()
    assert await client.stored({"authors": [author.pubkey]}) == []


# ---- NIP-59, NIP-17: gift wraps


@pytest.mark.nip(59, 42)
@pytest.mark.parametrize("kind", [1059, 21059])
async def test_who_asks_for_gift_wraps_without_auth_is_told_that_it_is_required(client: Guest, kind: int) -> None:
    await client.closed("auth-required", "REQ", "s", {"kinds": [kind], "#p": [ALICE.pubkey]})
    assert client.challenge is not None


@pytest.mark.nip(59, 42)
async def test_gift_wraps_are_only_served_to_the_marked_recipient(client: Guest, other: Guest) -> None:
    reader, stranger = key(), key()
    wraps = [wrap_to(reader), wrap_to(stranger)]
    await client.accepted(*wraps)
    await client.prove(reader)
    for asked in (
        {"kinds": [1059], "#p": [reader.pubkey]},
        {"ids": ids(wraps)},
        {"kinds": [1, 1059], "ids": ids(wraps)},
    ):
        assert await client.stored(asked) == [wraps[0].id]
    await other.prove(stranger)
    assert await other.stored({"kinds": [1059], "#p": [reader.pubkey, stranger.pubkey]}) == [wraps[1].id]


@pytest.mark.nip(59, 42)
async def test_who_asks_for_others_gift_wraps_is_restricted(client: Guest) -> None:
    await client.prove(ALICE)
    await client.closed("restricted", "REQ", "s", {"kinds": [1059], "#p": [BOB.pubkey]})


@pytest.mark.nip(59, 42)
async def test_a_filter_without_kinds_brings_everything_but_others_gift_wraps(client: Guest) -> None:
    reader = key()
    wrap, mention = wrap_to(reader), note("hello", tags=[["p", reader.pubkey]])
    await client.accepted(wrap, mention)
    asked: list[dict[str, list[str]]] = [
        {"#p": [reader.pubkey]},
        {"ids": ids([wrap, mention])},
        {"authors": [wrap.pubkey, mention.pubkey], "#p": [reader.pubkey]},
    ]
    for filter_ in asked:
        assert await client.stored(filter_) == [mention.id]
    await client.prove(reader)
    for filter_ in asked:
        assert await client.stored(filter_) == ids(in_order([wrap, mention]))


@pytest.mark.nip(59, 42)
@pytest.mark.parametrize("kind", [1059, 21059])
async def test_new_gift_wraps_reach_their_recipient_and_nobody_else(client: Guest, other: Guest, kind: int) -> None:
    reader = key()
    await client.prove(reader)
    await client.subscribe({"kinds": [kind], "#p": [reader.pubkey]})
    await other.subscribe({"#p": [reader.pubkey]})
    wrap, mention = wrap_to(reader, kind), note("hello", tags=[["p", reader.pubkey]])
    await client.send("EVENT", obj(wrap))
    heard = sorted([await client.hear(), await client.hear()])
    assert heard == [["EVENT", "s", obj(wrap)], ["OK", wrap.id, True, ""]]
    await client.accepted(mention)
    assert await other.hear() == ["EVENT", "s", obj(mention)]
    await other.hears_nothing_more()


@pytest.mark.nip(59, 45, 42)
async def test_gift_wraps_are_not_counted_for_others(client: Guest) -> None:
    reader = key()
    await client.accepted(wrap_to(reader), note("hello", tags=[["p", reader.pubkey]]))
    # NIP-45: ["CLOSED", <query_id>, "auth-required: cannot count other people's DMs"]
    await client.closed("auth-required", "COUNT", "q", {"kinds": [1059], "#p": [reader.pubkey]})
    assert await client.count({"#p": [reader.pubkey]}) == 1
    await client.prove(reader)
    assert await client.count({"kinds": [1059], "#p": [reader.pubkey]}) == 1
    assert await client.count({"#p": [reader.pubkey]}) == 2


@pytest.mark.nip(1)
async def test_wallet_connect_events_are_open(client: Guest, other: Guest) -> None:
    # NIP-47: its clients do not authenticate
    wallet = key()
    await other.subscribe({"kinds": [23194], "#p": [wallet.pubkey]})
    request = note(by=key(), kind=23194, tags=[["p", wallet.pubkey]])
    await client.accepted(request)
    assert await other.hear() == ["EVENT", "s", obj(request)]


# ---- NIP-70


@pytest.mark.nip(70, 42)
async def test_a_protected_event_can_only_be_published_by_its_author(client: Guest) -> None:
    author = key()
    event = note("members only", by=author, tags=[["-"]])
    await client.refused(event, "auth-required")
    assert client.challenge is not None
    await client.prove(ALICE)
    await client.refused(event, "restricted")
    await client.prove(author)
    await client.accepted(event)
    assert await client.stored({"ids": [event.id]}) == [event.id]


@pytest.mark.nip(70)
async def test_the_tag_is_a_simple_tag_with_a_single_item(client: Guest) -> None:
    await client.accepted(note("not protected", tags=[["-", "x"], ["x", "-"]]))


@pytest.mark.nip(70)
@pytest.mark.parametrize("kind", [6, 16])
async def test_a_repost_that_embeds_a_protected_event_is_rejected(client: Guest, kind: int) -> None:
    protected, plain = note("members only", tags=[["-"]]), note('"-"')
    for embedded, accepted in ((protected, False), (plain, True)):
        repost = note(encoded(embedded), by=key(), kind=kind, tags=[["e", embedded.id]])
        assert (await client.publish(repost))[2] is accepted
    await client.accepted(note('"-" and no JSON', by=key(), kind=kind))


def encoded(event: Event) -> str:

    return json.dumps(obj(event))
