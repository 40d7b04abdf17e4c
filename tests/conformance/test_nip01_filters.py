"""NIP-01: what a REQ brings, and what is refused; a sentence each.

A query is asked of STAGE, narrowed to its authors: a foreign relay has other events, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from relaybot.nostr.event import Event
from tests.conformance.guest import NOW, Guest, ids, in_order, key, note, obj

ALICE, BOB = key(), key()  # who write nothing else
OLD, MIDDLE, NEW = (
    note("old", by=ALICE, at=NOW - 20),
    note("middle", by=ALICE, at=NOW - 10),
    note("new", by=ALICE, at=NOW),
)
TIES = in_order([note(f"tie {number}", by=ALICE, at=NOW - 500) for number in range(6)])
REPLY = note("reply", by=BOB, tags=[["e", OLD.id, "wss://a", "root"], ["p", ALICE.pubkey, "wss://b"], ["t", "x"]])
TAGGED = note("tagged", by=BOB, at=NOW - 1, tags=[["t", "one", "two"], ["t", "three"], ["T", "big"], ["word", "w"]])
REACTION = note("+", by=BOB, kind=7, at=NOW - 2, tags=[["e", NEW.id]])
STAGE = [OLD, MIDDLE, NEW, REPLY, TAGGED, REACTION]
OURS = {"authors": [ALICE.pubkey, BOB.pubkey], "since": NOW - 20}


@dataclass(frozen=True)
class Query:
    """A REQ over STAGE, and the events it must bring, in this order."""

    sentence: str
    filters: list[dict[str, Any]]
    expected: list[Event]


QUERIES = [
    Query("ids: a list of event ids", [{"ids": [OLD.id, REPLY.id]}], [REPLY, OLD]),
    Query("authors: the pubkey of an event must be one of these", [{"authors": [ALICE.pubkey]}], [NEW, MIDDLE, OLD]),
    Query("kinds: a list of a kind numbers", [{"kinds": [7]}], [REACTION]),
    Query("#e: a list of event ids", [{"#e": [OLD.id]}], [REPLY]),
    Query("#p: a list of pubkeys", [{"#p": [ALICE.pubkey]}], [REPLY]),
    Query("only the first value in any given tag is indexed", [{"#t": ["two"]}], []),
    Query("all single-letter key tags are expected to be indexed: a second t", [{"#t": ["three"]}], [TAGGED]),
    Query("only english alphabet letters, a-z, A-Z: a capital is another tag", [{"#T": ["big"]}], [TAGGED]),
    Query("the event and filter condition values must have at least one item in common", [{"#t": ["x", "one"]}], []),
    Query("greater than or equal to since", [{"since": NOW - 10, "authors": [ALICE.pubkey]}], [NEW, MIDDLE]),
    Query("less than or equal to until", [{"until": NOW - 10, "authors": [ALICE.pubkey]}], [MIDDLE, OLD]),
    Query("since <= created_at <= until", [{"since": NOW - 10, "until": NOW - 10}], [MIDDLE]),
    Query("limit: the last n events ordered by the created_at", [{"limit": 2, "authors": [ALICE.pubkey]}], []),
    Query("limit: 0 brings nothing that is stored", [{"limit": 0}], []),
    Query("multiple conditions are interpreted as &&", [{"kinds": [1], "authors": [BOB.pubkey], "#t": ["x"]}], [REPLY]),
    Query("multiple filters are interpreted as ||", [{"kinds": [7]}, {"ids": [OLD.id]}], [REACTION, OLD]),
    Query("multiple filters: an event comes once", [{"kinds": [7]}, {"ids": [REACTION.id]}], [REACTION]),
    Query("what is not there is not found", [{"ids": ["0" * 64]}], []),
]
QUERIES[8] = Query(QUERIES[8].sentence, QUERIES[8].filters, in_order([REPLY, TAGGED]))
QUERIES[12] = Query(QUERIES[12].sentence, QUERIES[12].filters, [NEW, MIDDLE])


@pytest.mark.nip(1)
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.sentence)
async def test_stored_events_come_as_asked_for(client: Guest, query: Query) -> None:
    await client.accepted(*STAGE)
    found = await client.stored(*[OURS | filter_ for filter_ in query.filters])
    assert sorted(found) == sorted(ids(query.expected))


@pytest.mark.nip(1)
async def test_newer_events_should_appear_first(client: Guest) -> None:
    await client.accepted(*STAGE)
    assert await client.stored(OURS) == ids(in_order(STAGE))


@pytest.mark.nip(1)
async def test_in_the_case_of_ties_the_event_with_the_lowest_id_should_be_first(client: Guest) -> None:
    await client.accepted(*reversed(TIES))
    tied = {"authors": [ALICE.pubkey], "since": NOW - 500, "until": NOW - 500}
    assert await client.stored(tied | {"limit": 4}) == ids(TIES[:4])


Heard = Callable[[list[Any]], bool]


@dataclass(frozen=True)
class Refusal:
    """Something said by a client, and what the answer must be."""

    sentence: str
    said: list[Any]
    heard: Heard = field(repr=False)


def _ok(event_id: str, prefix: str) -> Heard:
    return lambda heard: heard[:3] == ["OK", event_id, False] and heard[3].startswith(f"{prefix}: ")


def _closed(heard: list[Any]) -> bool:
    return (heard[:2] == ["CLOSED", "s"] and ": " in heard[2]) or heard[0] == "NOTICE"


def _told(heard: list[Any]) -> bool:
    return heard[0] in {"NOTICE", "CLOSED"} or heard[:3:2] == ["OK", False]


def _forged(**changes: Any) -> dict[str, Any]:
    return obj(FRESH) | changes


FRESH = note("never sent as it is", by=ALICE, at=NOW - 30)
HEX = "a" * 64
INVALID = _ok(FRESH.id, "invalid")
REFUSALS = [
    Refusal("id: 32-bytes lowercase hex-encoded sha256", ["EVENT", _forged(id=HEX)], _ok(HEX, "invalid")),
    Refusal("pubkey: lowercase hex-encoded", ["EVENT", _forged(pubkey=ALICE.pubkey.upper())], _told),
    Refusal("sig: the signature of the event data", ["EVENT", _forged(sig="0" * 128)], INVALID),
    Refusal("sig: of this event", ["EVENT", _forged(sig=NEW.sig)], INVALID),
    Refusal("sig: 64-bytes", ["EVENT", _forged(sig=FRESH.sig[:-2])], _told),
    Refusal("created_at: unix timestamp in seconds, no fraction", ["EVENT", _forged(created_at=1.5)], _told),
    Refusal("created_at: a number, no text", ["EVENT", _forged(created_at=str(NOW))], _told),
    Refusal("kind: integer between 0 and 65535, not below", ["EVENT", _forged(kind=-1)], _told),
    Refusal("kind: integer between 0 and 65535, not above", ["EVENT", _forged(kind=65_536)], _told),
    Refusal("kind: integer, no truth value", ["EVENT", _forged(kind=True)], _told),
    Refusal("tags: arrays of arrays of strings", ["EVENT", _forged(tags=[["e", 1]])], _told),
    Refusal("tags: non-null strings", ["EVENT", _forged(tags=[["e", None]])], _told),
    Refusal("content: arbitrary string", ["EVENT", _forged(content=None)], _told),
    Refusal("an event has all its fields", ["EVENT", {"id": FRESH.id}], _told),
    Refusal("an event is an object with an id", ["EVENT", {}], _told),
    Refusal("EVENT has an event", ["EVENT"], _told),
    Refusal("subscription_id: non-empty", ["REQ", "", {"limit": 1}], _told),
    Refusal("subscription_id: max length 64 chars", ["REQ", "s" * 65, {"limit": 1}], _told),
    Refusal("subscription_id: string", ["REQ", 1, {"limit": 1}], _told),
    Refusal("filters are JSON objects", ["REQ", "s", []], _closed),
    Refusal("ids MUST contain exact 64-character lowercase hex values", ["REQ", "s", {"ids": ["abc"]}], _closed),
    Refusal("authors MUST contain lowercase hex values", ["REQ", "s", {"authors": [HEX.upper()]}], _closed),
    Refusal("#e MUST contain exact 64-character values", ["REQ", "s", {"#e": ["abc"]}], _closed),
    Refusal("#p MUST contain exact 64-character values", ["REQ", "s", {"#p": ["abc"]}], _closed),
    Refusal("kinds: numbers", ["REQ", "s", {"kinds": ["1"]}], _closed),
    Refusal("since: an integer", ["REQ", "s", {"since": "1"}], _closed),
    Refusal("limit: not below nothing", ["REQ", "s", {"limit": -1}], _closed),
    Refusal("unsupported: filter contains unknown elements", ["REQ", "s", {"unheard_of": "x"}], _closed),
    Refusal("clients can send the messages there are", ["HELLO", "s"], _told),
]


@pytest.mark.nip(1)
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.sentence)
async def test_what_is_malformed_is_refused_and_the_connection_goes_on(client: Guest, refusal: Refusal) -> None:
    await client.send(*refusal.said)
    assert refusal.heard(await client.hear())
    await client.accepted(NEW)
    assert await client.stored({"ids": [FRESH.id, NEW.id]}) == [NEW.id]
