"""What the relay takes and what it refuses, rule by rule."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from relaybot.nostr.event import Event
from relaybot.relay.policies import (
    INSIDE,
    ConnectionFacts,
    refusal,
    refusal_of_a_stranger,
    rules_in_force,
)
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import ALICE, BOB, CAROL, NOW, note, obj

LIMITS = RelayLimits(content_characters_max=5, tags_max=2, future_seconds=10)
STRANGER = ConnectionFacts(address="192.0.2.1", known_as=frozenset({"relay.test"}))
AS_BOB = replace(STRANGER, keys=frozenset({BOB.pubkey}))
OPEN = RelayLimits()


def said(event: Event, limits: RelayLimits, facts: ConnectionFacts = STRANGER) -> str:
    """Return the refusal in words; nothing if the event is taken."""
    rejected = refusal(event, facts, NOW, limits, rules_in_force(limits))
    return "" if rejected is None else str(rejected)


@pytest.mark.parametrize(
    "event",
    [note("12345"), note("üüüüü"), note(tags=[["a"], ["b"]]), note(at=NOW + 10), note(at=0), note(kind=65_535)],
)
def test_what_is_within_the_limits_is_taken(event: Event) -> None:
    for facts in (STRANGER, INSIDE):
        assert said(event, LIMITS, facts) == ""


@pytest.mark.parametrize(
    ("event", "refused"),
    [
        (note("123456"), "invalid: content is too long (found=6, allowed=5 characters)"),
        (note(tags=[["a"]] * 3), "invalid: too many tags (found=3, allowed=2)"),
        (note(at=NOW + 11), "invalid: created_at is in the future (ahead_seconds=11, allowed=10)"),
        (note(kind=22_242), "blocked: this kind is not taken here (kind=22242)"),
        (note(tags=[["expiration", str(NOW)]]), f"invalid: the event has expired (expiration={NOW})"),
        (note(tags=[["expiration", "soon"]]), "invalid: expiration: not a time in seconds"),
        (note(tags=[["expiration"]]), "invalid: expiration: not a time in seconds"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_its_figures(event: Event, refused: str) -> None:
    assert said(event, LIMITS) == refused


def test_old_events_are_taken_unless_the_operator_says_otherwise() -> None:
    limits = replace(OPEN, past_seconds=100)
    assert said(note(at=NOW - 100), limits) == ""
    assert said(note(at=NOW - 101), limits) == "invalid: created_at is too long ago (age_seconds=101, allowed=100)"


def test_only_some_kinds_are_taken_where_there_is_such_a_list() -> None:
    limits = replace(OPEN, kinds_allowed=frozenset({1}), kinds_refused=frozenset({4}))
    assert said(note(kind=1), limits) == ""
    assert said(note(kind=7), limits) == "blocked: only some kinds are taken here (kind=7)"
    assert said(note(kind=4), limits) == "blocked: this kind is not taken here (kind=4)"
    assert said(note(kind=7), limits, INSIDE) == ""


def test_only_some_keys_write_where_there_is_such_a_list() -> None:
    limits = replace(OPEN, authors_allowed=frozenset({BOB.pubkey}), authors_denied=frozenset({CAROL.pubkey}))
    assert said(note(by=BOB), limits) == ""
    assert said(note(by=ALICE), limits) == "restricted: only some keys may write here"
    assert said(note(by=ALICE), limits, INSIDE) == ""
    assert said(note(by=CAROL), limits, AS_BOB) == "blocked: this key may not write here"
    # a gift wrap's key is nobody's: what counts is over whose connection it comes
    assert said(note(by=ALICE, kind=1059), limits, AS_BOB) == ""


def test_who_does_not_auth_writes_nothing_where_it_is_required() -> None:
    limits = replace(OPEN, auth_required=True)
    assert said(note(), limits) == "auth-required: this relay is for those who AUTH"
    assert said(note(), limits, AS_BOB) == said(note(), limits, INSIDE) == ""


def test_proof_of_work_is_counted_and_must_have_been_aimed_at() -> None:
    def mined(*target: str, bits: int) -> Event:
        tries = (note(tags=[["nonce", str(number), *target]]) for number in range(10_000))
        return next(event for event in tries if int(event.id[:2], 16) >> (8 - bits) == 0)

    limits = replace(OPEN, pow_bits_min=4)
    unmined = next(event for event in (note(str(number)) for number in range(99)) if event.id[0] not in "01")
    assert said(unmined, limits).startswith("pow: difficulty is too low (found=")
    for target in ((), ("4",), ("5",), ("a few",), ("9" * 9,)):
        assert said(mined(*target, bits=4), limits) == ""
    lucky = "pow: the difficulty that was aimed at is too low (found=3, allowed=4)"
    assert said(mined("3", bits=4), limits) == lucky


def test_a_protected_event_is_taken_from_its_author_only() -> None:
    event = note(by=BOB, tags=[["-"]])
    assert said(event, OPEN) == "auth-required: this event may only be published by its author"
    assert said(event, OPEN, AS_BOB) == said(event, OPEN, INSIDE) == ""
    not_bob = replace(STRANGER, keys=frozenset({ALICE.pubkey}))
    assert said(event, OPEN, not_bob) == "restricted: this event may only be published by its author"


@pytest.mark.parametrize("kind", [6, 16, 1])
def test_a_repost_does_not_embed_a_protected_event(kind: int) -> None:
    protected = json.dumps(obj(note(tags=[["-"]])))
    embedding = "blocked: a repost must not embed a protected event"
    assert said(note(protected, kind=kind), OPEN) == ("" if kind == 1 else embedding)
    for content in ("", '"-"', json.dumps(obj(note('"-"', tags=[["t", "-"]])))):
        assert said(note(content, kind=kind), OPEN) == ""


@pytest.mark.parametrize(
    ("tags", "taken"),
    [
        ([["relay", "wss://RELAY.test/"]], True),
        ([["relay", "wss://other.test"], ["relay", "ws://relay.test:80"]], True),
        ([["relay", "ALL_RELAYS"]], True),
        ([["relay", "wss://other.test"]], False),
        ([["relay", "wss://relay.test/inbox"]], False),
        ([["relay", "wss://relay.test:x"], ["relay", "https://relay.test"], ["relay"]], False),
        ([], False),
    ],
)
def test_a_request_to_vanish_must_be_for_this_relay(tags: list[list[str]], taken: bool) -> None:  # noqa: FBT001 - of a table
    refused = "invalid: the request to vanish does not name this relay"
    assert said(note(kind=62, tags=tags), OPEN) == ("" if taken else refused)


def test_a_stranger_is_told_how_to_be_none() -> None:
    assert str(refusal_of_a_stranger(STRANGER)).startswith("auth-required: ")
    assert str(refusal_of_a_stranger(AS_BOB)).startswith("restricted: ")
