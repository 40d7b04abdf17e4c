"""Filters of NIP-01: exact shapes, and matching as nostr-sdk matches."""

from __future__ import annotations

from typing import Any

import msgspec
import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from relaybot.nostr.event import encode_event
from relaybot.nostr.filters import Filter, encode_filter, matches, parse_filter
from relaybot.nostr.keys import KeyPair
from tests.nostr.conftest import NOW, patient, secret_of

PEOPLE = [KeyPair(secret_of(name)) for name in ("alice", "bob", "carol")]
KEYS = [person.pubkey for person in PEOPLE]

FULL = {
    "ids": ["0" * 64],
    "authors": sorted(KEYS),
    "kinds": [0, 1, 65_535],
    "#T": ["", "x"],
    "#e": ["1" * 64],
    "#p": [KEYS[0]],
    "#t": ["a"],
    "since": 0,
    "until": 2**53 - 1,
    "limit": 0,
}


def test_a_filter_survives_the_wire() -> None:
    found = parse_filter(FULL)
    assert found.authors == frozenset(KEYS)
    assert found.tags["p"] == frozenset({KEYS[0]})
    assert found.limit == 0
    assert encode_filter(found) == FULL


def test_an_empty_filter_asks_for_everything() -> None:
    event = PEOPLE[0].sign(kind=1, content="", tags=(), created_at=NOW)
    assert parse_filter({}) == Filter()
    assert encode_filter(Filter()) == {}
    assert matches(Filter(), event)


def test_an_empty_list_is_met_by_no_event() -> None:
    event = PEOPLE[0].sign(kind=1, content="", tags=(("t", "a"),), created_at=NOW)
    for name in ("ids", "authors", "kinds", "#t"):
        assert not matches(parse_filter({name: []}), event)


@pytest.mark.parametrize(
    "obj",
    [
        None,
        [],
        "x",
        {"ids": ["0" * 63]},
        {"ids": ["A" * 64]},
        {"ids": "0" * 64},
        {"ids": [None]},
        {"authors": [1]},
        {"authors": [""]},
        {"kinds": [-1]},
        {"kinds": [65_536]},
        {"kinds": [1.0]},
        {"kinds": [True]},
        {"kinds": ["1"]},
        {"kinds": 1},
        {"#e": ["short"]},
        {"#p": ["A" * 64]},
        {"#t": [1]},
        {"#t": {"a": 1}},
        {"#tt": ["a"]},
        {"#": ["a"]},
        {"#1": ["a"]},
        {"t": ["a"]},
        {"search": "x"},
        {1: 2},
        {"since": -1},
        {"since": 1.5},
        {"since": "1"},
        {"since": True},
        {"since": None},
        {"until": 2**53},
        {"limit": -1},
    ],
    ids=repr,
)
def test_i8_a_filter_of_another_shape_is_refused(obj: object) -> None:
    with pytest.raises(Rejected) as caught:
        parse_filter(obj)
    unknown = caught.value.reason == "filter contains unknown elements"  # for which NIP-01 has a prefix of its own
    assert caught.value.prefix == ("unsupported" if unknown else "invalid")


def test_times_are_inclusive() -> None:
    event = PEOPLE[0].sign(kind=1, content="", tags=(), created_at=NOW)
    assert matches(Filter(since=NOW, until=NOW), event)
    assert not matches(Filter(since=NOW + 1), event)
    assert not matches(Filter(until=NOW - 1), event)


def test_only_the_first_value_of_a_tag_counts() -> None:
    event = PEOPLE[0].sign(kind=1, content="", tags=(("t",), ("t", "a", "b"), ("T", "c")), created_at=NOW)
    assert matches(Filter(tags={"t": frozenset({"x", "a"})}), event)
    assert not matches(Filter(tags={"t": frozenset({"b"})}), event)
    assert not matches(Filter(tags={"t": frozenset({"c"})}), event)
    assert not matches(Filter(tags={"t": frozenset({"a"}), "e": frozenset({"0" * 64})}), event)


_some = {
    "authors": st.lists(st.sampled_from(KEYS), min_size=1, unique=True),
    "kinds": st.lists(st.integers(0, 3), min_size=1, unique=True),
    "#t": st.lists(st.sampled_from(["a", "b", ""]), min_size=1, unique=True),
    "#p": st.lists(st.sampled_from(KEYS), min_size=1, unique=True),
    "since": st.integers(NOW, NOW + 3),
    "until": st.integers(NOW, NOW + 3),
    "limit": st.integers(1, 9),
}


@patient
@given(
    obj=st.fixed_dictionaries({}, optional=_some),
    author=st.sampled_from(PEOPLE),
    kind=st.integers(0, 3),
    tags=st.lists(
        st.tuples(st.just("t"), st.sampled_from(["a", "b", ""])) | st.tuples(st.just("p"), st.sampled_from(KEYS)),
        max_size=3,
    ),
    created_at=st.integers(NOW, NOW + 3),
)
def test_nostr_sdk_matches_the_same_events(
    obj: dict[str, Any], author: KeyPair, kind: int, tags: list[tuple[str, str]], created_at: int
) -> None:
    event = author.sign(kind=kind, content="", tags=tags, created_at=created_at)
    found = parse_filter(obj)
    theirs = nostr_sdk.Filter.from_json(msgspec.json.encode(obj).decode())
    assert matches(found, event) == theirs.match_event(nostr_sdk.Event.from_json(encode_event(event)))
    assert parse_filter(encode_filter(found)) == found
