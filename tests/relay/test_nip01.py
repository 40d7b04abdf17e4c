"""NIP-01, sentence by sentence, over a real socket.

A case is what was published before, what is said, and what must be heard; the sentence it
stands for is beside it. Longer stories follow below the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from relaybot.nostr.event import Event
from tests.relay.authors import ALICE, BOB, CAROL, NOW, in_order, note, obj
from tests.relay.client import Client


def _forged(event: Event, **changes: Any) -> dict[str, Any]:
    return obj(event) | changes


OLD, MIDDLE, NEW = note("old", at=NOW - 20), note("middle", at=NOW - 10), note("new", at=NOW)
TIES = in_order([note(f"tie {number}", at=NOW - 5) for number in range(6)])
REPLY = note("reply", by=BOB, tags=[["e", OLD.id, "wss://a", "root"], ["p", ALICE.pubkey, "wss://b"], ["t", "x"]])
TAGGED = note("tagged", by=BOB, at=NOW - 1, tags=[["t", "one", "two"], ["t", "three"], ["T", "big"], ["word", "w"]])
REACTION = note("+", by=BOB, kind=7, at=NOW - 2, tags=[["e", NEW.id]])
STAGE = [OLD, MIDDLE, NEW, REPLY, TAGGED, REACTION]


@dataclass(frozen=True)
class Query:
    """A REQ over STAGE, and the events it must bring, in this order."""

    sentence: str
    filters: list[dict[str, Any]]
    expected: list[Event]


QUERIES = [
    Query("ids: a list of event ids", [{"ids": [OLD.id, REPLY.id]}], [REPLY, OLD]),
    Query("authors: the pubkey of an event must be one of these", [{"authors": [ALICE.pubkey]}], [NEW, MIDDLE, OLD]),
    Query("kinds: a list of kind numbers", [{"kinds": [7]}], [REACTION]),
    Query("#e: a list of event ids referenced in an e tag", [{"#e": [OLD.id]}], [REPLY]),
    Query("#p: a list of pubkeys referenced in a p tag", [{"#p": [ALICE.pubkey]}], [REPLY]),
    Query("only the first value in any given tag is indexed", [{"#t": ["two"]}], []),
    Query("all single-letter key tags are expected to be indexed: a second t", [{"#t": ["three"]}], [TAGGED]),
    Query("a-z, A-Z: a capital letter is another tag", [{"#T": ["big"]}], [TAGGED]),
    Query("at least one of the list's values matches", [{"#t": ["x", "one"]}], in_order([REPLY, TAGGED])),
    Query("since <= created_at", [{"since": MIDDLE.created_at, "authors": [ALICE.pubkey]}], [NEW, MIDDLE]),
    Query("created_at <= until", [{"until": MIDDLE.created_at, "authors": [ALICE.pubkey]}], [MIDDLE, OLD]),
    Query("since and until: both ends belong to it", [{"since": NOW - 10, "until": NOW - 10}], [MIDDLE]),
    Query("limit: the newest events of the initial query", [{"limit": 2, "authors": [ALICE.pubkey]}], [NEW, MIDDLE]),
    Query("limit 0 is the initial query without events", [{"limit": 0}], []),
    Query("all conditions of a filter are &&", [{"kinds": [1], "authors": [BOB.pubkey], "#t": ["x"]}], [REPLY]),
    Query("several filters are ||", [{"kinds": [7]}, {"ids": [OLD.id]}], [REACTION, OLD]),
    Query("several filters: each event once", [{"kinds": [7]}, {"authors": [BOB.pubkey], "kinds": [7]}], [REACTION]),
    Query(
        "several filters: limit counts for each",
        [{"kinds": [7], "limit": 1}, {"limit": 1}],
        [*in_order([NEW, REPLY])[:1], REACTION],
    ),
    Query("an empty filter is met by everything", [{}], in_order(STAGE)),
    Query("nothing is met by an empty list", [{"ids": []}], []),
    Query("nothing is met by an empty list of a tag", [{"#e": []}], []),
    Query("what is not there is not found", [{"ids": ["0" * 64]}], []),
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.sentence)
async def test_stored_events_come_as_nip_01_says(client: Client, query: Query) -> None:
    await client.accepted(*STAGE)
    assert await client.stored(*query.filters) == [event.id for event in query.expected]


async def test_events_of_one_second_come_by_lowest_id(client: Client) -> None:
    # NIP-01: In case of ties, the event with the lowest id (first in lexical order) should be first
    await client.accepted(*reversed(TIES))
    assert await client.stored({"limit": 4}) == [event.id for event in TIES[:4]]


@dataclass(frozen=True)
class Refusal:
    """Something said by a client, and what the answer must be."""

    sentence: str
    said: list[Any]
    heard: Callable[[list[Any]], bool] = field(repr=False)


def _ok(event_id: str, prefix: str) -> Callable[[list[Any]], bool]:
    return lambda heard: heard[:3] == ["OK", event_id, False] and heard[3].startswith(f"{prefix}: ")


def _closed(sub_id: str, prefix: str) -> Callable[[list[Any]], bool]:
    return lambda heard: heard[:2] == ["CLOSED", sub_id] and heard[2].startswith(f"{prefix}: ")


def _notice(heard: list[Any]) -> bool:
    return heard[0] == "NOTICE" and isinstance(heard[1], str)


HEX = "a" * 64
REFUSALS = [
    Refusal("id: 32-bytes lowercase hex-encoded sha256", ["EVENT", _forged(OLD, id=HEX)], _ok(HEX, "invalid")),
    Refusal("pubkey: lowercase", ["EVENT", _forged(OLD, pubkey=ALICE.pubkey.upper())], _ok(OLD.id, "invalid")),
    Refusal("sig: of the id by the pubkey", ["EVENT", _forged(OLD, sig="0" * 128)], _ok(OLD.id, "invalid")),
    Refusal("sig: by this pubkey", ["EVENT", _forged(OLD, sig=NEW.sig)], _ok(OLD.id, "invalid")),
    Refusal("sig: 64 bytes", ["EVENT", _forged(OLD, sig=OLD.sig[:-2])], _ok(OLD.id, "invalid")),
    Refusal("created_at: unix timestamp in seconds", ["EVENT", _forged(OLD, created_at=1.5)], _ok(OLD.id, "invalid")),
    Refusal("created_at: no text", ["EVENT", _forged(OLD, created_at=str(NOW))], _ok(OLD.id, "invalid")),
    Refusal("kind: 0 to 65535, not below", ["EVENT", _forged(OLD, kind=-1)], _ok(OLD.id, "invalid")),
    Refusal("kind: 0 to 65535, not above", ["EVENT", _forged(OLD, kind=65_536)], _ok(OLD.id, "invalid")),
    Refusal("kind: integer", ["EVENT", _forged(OLD, kind=True)], _ok(OLD.id, "invalid")),
    Refusal("tags: arrays of strings", ["EVENT", _forged(OLD, tags=[["e", 1]])], _ok(OLD.id, "invalid")),
    Refusal("tags: non-null strings", ["EVENT", _forged(OLD, tags=[["e", None]])], _ok(OLD.id, "invalid")),
    Refusal("content: arbitrary string", ["EVENT", _forged(OLD, content=None)], _ok(OLD.id, "invalid")),
    Refusal("an event has all its fields", ["EVENT", {"id": OLD.id}], _ok(OLD.id, "invalid")),
    Refusal("OK names the event id; without one there is NOTICE", ["EVENT", {}], _notice),
    Refusal("EVENT has one event", ["EVENT"], _notice),
    Refusal("subscription id: non-empty", ["REQ", "", {}], _notice),
    Refusal("subscription id: max length 64", ["REQ", "s" * 65, {}], _notice),
    Refusal("subscription id: string", ["REQ", 1, {}], _notice),
    Refusal("REQ has at least one filter", ["REQ", "s"], _notice),
    Refusal("filters are objects", ["REQ", "s", []], _closed("s", "invalid")),
    Refusal("ids: 64-character lowercase hex", ["REQ", "s", {"ids": ["abc"]}], _closed("s", "invalid")),
    Refusal("authors: lowercase", ["REQ", "s", {"authors": [HEX.upper()]}], _closed("s", "invalid")),
    Refusal("#e: 64-character lowercase hex", ["REQ", "s", {"#e": ["abc"]}], _closed("s", "invalid")),
    Refusal("#p: 64-character lowercase hex", ["REQ", "s", {"#p": ["abc"]}], _closed("s", "invalid")),
    Refusal("kinds: integers", ["REQ", "s", {"kinds": ["1"]}], _closed("s", "invalid")),
    Refusal("since: integer", ["REQ", "s", {"since": "1"}], _closed("s", "invalid")),
    Refusal("limit: not negative", ["REQ", "s", {"limit": -1}], _closed("s", "invalid")),
    Refusal(
        "CLOSED for a filter that contains unknown elements", ["REQ", "s", {"search": "x"}], _closed("s", "unsupported")
    ),
    Refusal("messages are EVENT, REQ, CLOSE", ["HELLO", "s"], _notice),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.sentence)
async def test_what_is_wrong_is_refused_by_name(client: Client, refusal: Refusal) -> None:
    await client.send(*refusal.said)
    assert refusal.heard(await client.hear())
    await client.accepted(OLD)
    assert await client.stored({}) == [OLD.id]


async def test_an_event_is_answered_ok_true_and_stored(client: Client) -> None:
    # NIP-01: OK messages MUST be sent in response to EVENT messages received from clients
    assert await client.publish(OLD) == ["OK", OLD.id, True, ""]
    assert await client.stored({"ids": [OLD.id]}) == [OLD.id]


async def test_an_event_sent_again_is_a_duplicate_and_fine(client: Client) -> None:
    # NIP-01: ["OK", "b1a649ebe8...", true, "duplicate: already have this event"]
    await client.accepted(OLD)
    answer = await client.publish(OLD)
    assert answer[:3] == ["OK", OLD.id, True]
    assert answer[3].startswith("duplicate: ")


async def test_a_stored_event_comes_back_field_by_field(client: Client) -> None:
    event = note('odd "content" \\ / \u007f \u0001 \n\t é 🤙', tags=[["t", "ü"], ["alt", "", "x"]])
    await client.accepted(event)
    await client.subscribe({"ids": [event.id]}, sub="s")
    assert await client.hear() == ["EVENT", "s", obj(event)]


async def test_new_events_follow_eose(client: Client, other: Client) -> None:
    # NIP-01: EOSE: used to indicate the end of stored events and the beginning of events newly received in real-time
    await client.accepted(OLD)
    await client.subscribe({"kinds": [1]}, sub="s")
    assert await client.until_eose("s") == [OLD.id]
    await other.accepted(REACTION, NEW)
    assert await client.hear() == ["EVENT", "s", obj(NEW)]


async def test_a_limit_says_nothing_about_new_events(client: Client) -> None:
    # NIP-01: limit is only valid for the initial query and MUST be ignored afterwards
    await client.subscribe({"kinds": [1], "limit": 0}, sub="s")
    assert await client.until_eose("s") == []
    for event in (OLD, NEW):
        await client.send("EVENT", obj(event))
        heard = sorted([await client.hear(), await client.hear()])
        assert heard == [["EVENT", "s", obj(event)], ["OK", event.id, True, ""]]


async def test_a_request_of_the_same_id_replaces_the_subscription(client: Client, other: Client) -> None:
    # NIP-01: When a REQ comes to a relay with a subscription_id that exists, it overwrites the previous subscription
    for kind in (7, 1):
        await client.subscribe({"kinds": [kind]}, sub="s")
        await client.until_eose("s")
    await other.accepted(REACTION, NEW)
    assert await client.hear() == ["EVENT", "s", obj(NEW)]
    await client.hears_nothing_more()


async def test_a_closed_subscription_is_silent(client: Client, other: Client) -> None:
    # NIP-01: CLOSE: used to stop previous subscriptions
    await client.subscribe({"kinds": [1]}, sub="s")
    await client.until_eose("s")
    await client.send("CLOSE", "s")
    await client.hears_nothing_more()
    await other.accepted(NEW)
    await client.hears_nothing_more()


async def test_a_refused_request_ends_the_subscription_of_that_id(client: Client, other: Client) -> None:
    # NIP-01: CLOSED: used to indicate that a subscription was ended on the server side
    await client.subscribe({"kinds": [1]}, sub="s")
    await client.until_eose("s")
    await client.subscribe({"kinds": ["one"]}, sub="s")
    assert (await client.hear())[:2] == ["CLOSED", "s"]
    await other.accepted(NEW)
    await client.hears_nothing_more()


async def test_subscription_ids_belong_to_their_connection(client: Client, other: Client) -> None:
    # NIP-01: relays should manage subscription_ids independently for each WebSocket connection
    for one, kind in ((client, 1), (other, 7)):
        await one.subscribe({"kinds": [kind], "limit": 0}, sub="s")
        await one.until_eose("s")
    await client.send("EVENT", obj(REACTION))
    assert await client.hear() == ["OK", REACTION.id, True, ""]
    assert await other.hear() == ["EVENT", "s", obj(REACTION)]


async def test_an_event_reaches_each_subscription_of_a_connection_once(client: Client, other: Client) -> None:
    await client.subscribe({"kinds": [1]}, {"authors": [ALICE.pubkey]}, sub="a")
    await client.until_eose("a")
    await client.subscribe({"ids": [NEW.id]}, sub="b")
    await client.until_eose("b")
    await other.accepted(NEW)
    assert sorted([await client.hear(), await client.hear()]) == [["EVENT", "a", obj(NEW)], ["EVENT", "b", obj(NEW)]]
    await client.hears_nothing_more()


# ---- kinds


@pytest.mark.parametrize("kind", [0, 3, 10_000, 19_999])
async def test_of_a_replaceable_kind_only_the_latest_is_stored(client: Client, kind: int) -> None:
    # NIP-01: for each combination of pubkey and kind, only the latest event MUST be stored by relays
    first, second = note("1", kind=kind, at=NOW - 9), note("2", kind=kind, at=NOW - 8)
    others = note("3", kind=kind, by=BOB, at=NOW - 9)
    await client.accepted(first, others, second)
    assert await client.stored({"kinds": [kind]}) == [second.id, others.id]
    late = await client.publish(first)
    assert late[:3] == ["OK", first.id, True]
    assert late[3].startswith("duplicate: ")
    assert await client.stored({"kinds": [kind]}) == [second.id, others.id]


@pytest.mark.parametrize("kind", [30_000, 39_999])
async def test_of_an_addressable_kind_the_latest_of_each_d_is_stored(client: Client, kind: int) -> None:
    # NIP-01: addressable by their kind, pubkey and d tag value
    first, second = note("1", kind=kind, tags=[["d", "a"]], at=NOW - 9), note("2", kind=kind, tags=[["d", "a"]], at=NOW)
    others = note("3", kind=kind, tags=[["d", "b"]], at=NOW - 9)
    await client.accepted(first, others, second)
    assert await client.stored({"kinds": [kind]}) == [second.id, others.id]
    assert await client.stored({"kinds": [kind], "authors": [ALICE.pubkey], "#d": ["a"]}) == [second.id]


async def test_an_addressable_event_without_d_has_an_empty_one(client: Client) -> None:
    without, empty = note("1", kind=30_000, at=NOW - 9), note("2", kind=30_000, tags=[["d", ""]], at=NOW)
    await client.accepted(without, empty)
    assert await client.stored({"kinds": [30_000]}) == [empty.id]


@pytest.mark.parametrize(("kind", "tags"), [(0, []), (30_000, [["d", "a"]])])
@pytest.mark.parametrize("order", [1, -1], ids=["lowest first", "lowest last"])
async def test_of_equal_dates_the_lowest_id_stays(client: Client, kind: int, tags: list[list[str]], order: int) -> None:
    # NIP-01: In case of replaceable events with the same timestamp, the event with the lowest id should be retained
    low, high = in_order([note(str(number), kind=kind, tags=tags) for number in range(2)])
    for event in (low, high)[::order]:
        await client.publish(event)
    assert await client.stored({"kinds": [kind]}) == [low.id]


@pytest.mark.parametrize("kind", [1, 2, 4, 44, 45, 999, 1_000, 9_999, 40_000, 65_535])
async def test_all_events_of_other_kinds_are_stored(client: Client, kind: int) -> None:
    # NIP-01: regular, which means they're all expected to be stored by relays
    both = [note("2", kind=kind, at=NOW), note("1", kind=kind, at=NOW - 9)]
    await client.accepted(*both)
    assert await client.stored({"kinds": [kind]}) == [event.id for event in both]


@pytest.mark.parametrize("kind", [20_000, 29_999])
async def test_ephemeral_events_are_sent_on_but_not_stored(client: Client, other: Client, kind: int) -> None:
    # NIP-01: ephemeral, which means they are not expected to be stored by relays
    await client.subscribe({"kinds": [kind]}, sub="s")
    await client.until_eose("s")
    event = note("now", kind=kind)
    await other.accepted(event)
    assert await client.hear() == ["EVENT", "s", obj(event)]
    assert await other.stored({"kinds": [kind]}) == []
    assert (await other.publish(event))[2:] == [True, "duplicate: already have this event"]
    await client.hears_nothing_more()


# ---- NIP-09


async def test_a_deletion_request_removes_its_authors_events(client: Client) -> None:
    # NIP-09: "delete or stop publishing any referenced events that have an identical id as the deletion request"
    others = note("others", by=BOB)
    request = note(kind=5, tags=[["e", OLD.id], ["e", others.id], ["e", "no id"], ["k", "1"], ["e"]], at=NOW)
    await client.accepted(OLD, NEW, others, request)
    assert await client.stored({"kinds": [1]}) == [event.id for event in in_order([NEW, others])]
    assert await client.stored({"#e": [OLD.id]}) == [request.id]


async def test_a_deleted_event_stays_away(client: Client) -> None:
    request = note(kind=5, tags=[["e", OLD.id]])
    await client.accepted(request)
    answer = await client.publish(OLD)
    assert answer[:3] == ["OK", OLD.id, False]
    assert answer[3].startswith("blocked: ")


async def test_somebody_elses_request_deletes_nothing_even_beforehand(client: Client) -> None:
    await client.accepted(note(kind=5, by=CAROL, tags=[["e", OLD.id]]), OLD)
    assert await client.stored({"kinds": [1]}) == [OLD.id]


@pytest.mark.parametrize(("kind", "d"), [(30_000, "a"), (0, "")])
async def test_an_address_is_deleted_up_to_the_date_of_the_request(client: Client, kind: int, d: str) -> None:
    # NIP-09: "relays SHOULD delete all versions of the replaceable event up to the created_at timestamp"
    tags = [["d", d]] if d else []
    before, after = note("1", kind=kind, tags=tags, at=NOW - 9), note("2", kind=kind, tags=tags, at=NOW)
    request = note(kind=5, tags=[["a", f"{kind}:{ALICE.pubkey}:{d}"]], at=NOW - 5)
    await client.accepted(before, request)
    assert await client.stored({"kinds": [kind]}) == []
    assert (await client.publish(before))[2] is False
    await client.accepted(after)
    late = note("late", kind=5, tags=[["a", f"{kind}:{ALICE.pubkey}:{d}"]], at=NOW - 4)
    await client.accepted(late)
    assert await client.stored({"kinds": [kind]}) == [after.id]


async def test_addresses_of_others_and_of_nothing_are_not_deleted(client: Client) -> None:
    event = note("1", kind=30_000, tags=[["d", "a"]], at=NOW - 9)
    address = event.address()
    names = [address.replace("30000", wrong) for wrong in ("1", "x", "", "٣", "300000", "030000")]
    await client.accepted(
        event, note(kind=5, by=BOB, tags=[["a", address]]), note(kind=5, tags=[["a", n] for n in names])
    )
    assert await client.stored({"kinds": [30_000]}) == [event.id]


async def test_a_request_against_a_request_has_no_effect(client: Client) -> None:
    # NIP-09: "Publishing a deletion request event against a deletion request has no effect"
    request = note(kind=5, tags=[["e", OLD.id]])
    await client.accepted(request, note("undo", kind=5, tags=[["e", request.id]]))
    assert await client.stored({"ids": [request.id]}) == [request.id]
    assert (await client.publish(OLD))[2] is False
