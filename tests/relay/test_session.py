"""The pure session: one frame in, one action out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.nostr.filters import Filter
from relaybot.nostr.messages import build_close, build_closed, build_event_frame
from relaybot.relay.session import RefuseSubscription, Send, Session, StoreEvent, Subscribe, Unsubscribe
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import note, raw

LIMITS = RelayLimits(subscriptions_max=2, filters_max=2, filter_values_max=3, limit_max=100, limit_default=10)


@pytest.fixture
def session() -> Session:
    return Session(LIMITS)


def frame(*message: object) -> bytes:
    return json.dumps(message).encode()


def req(sub_id: str, *filters: dict[str, Any]) -> bytes:
    return frame("REQ", sub_id, *filters)


def test_an_event_is_to_be_stored_with_its_own_bytes(session: Session) -> None:
    event = note("hello")
    assert session.receive(build_event_frame(event).encode()) == StoreEvent(raw(event), event)


def test_a_bad_event_is_refused_by_its_id(session: Session) -> None:
    action = session.receive(frame("EVENT", {"id": "a" * 64}))
    assert isinstance(action, Send)
    assert json.loads(action.text)[:3] == ["OK", "a" * 64, False]


def test_a_bad_event_without_an_id_is_refused_by_notice(session: Session) -> None:
    action = session.receive(frame("EVENT", {}))
    assert isinstance(action, Send)
    assert json.loads(action.text)[0] == "NOTICE"


def test_a_subscription_has_its_filters(session: Session) -> None:
    action = session.receive(req("s", {"kinds": [1], "limit": 5}, {"#t": ["x"], "kinds": [2], "limit": 7}))
    second = Filter(kinds=frozenset({2}), tags={"t": frozenset("x")}, limit=7)
    assert action == Subscribe("s", (Filter(kinds=frozenset({1}), limit=5), second))


@pytest.mark.parametrize(("wanted", "limit"), [(None, 10), (0, 0), (10, 10), (100, 100), (101, 100)])
def test_limits_are_filled_in_and_clamped(session: Session, wanted: int | None, limit: int) -> None:
    filter_ = {"kinds": [1]} if wanted is None else {"kinds": [1], "limit": wanted}
    assert session.receive(req("s", filter_)) == Subscribe("s", (Filter(kinds=frozenset({1}), limit=limit),))


def test_no_more_subscriptions_than_allowed(session: Session) -> None:
    for sub_id in ("a", "b"):
        assert isinstance(session.receive(req(sub_id, {})), Subscribe)
    refused = session.receive(req("c", {}))
    assert refused == RefuseSubscription("c", "error: too many subscriptions (allowed=2)")


@pytest.mark.parametrize("end", ["close", "closed", "refused"])
def test_an_ended_subscription_makes_room(session: Session, end: str) -> None:
    for sub_id in ("a", "b"):
        session.receive(req(sub_id, {}))
    if end == "close":
        assert session.receive(build_close("a").encode()) == Unsubscribe("a")
    elif end == "closed":
        session.ended("a")
    else:
        assert isinstance(session.receive(req("a", {"ids": 1})), RefuseSubscription)
    assert isinstance(session.receive(req("c", {})), Subscribe)


def test_replacing_a_subscription_needs_no_room(session: Session) -> None:
    for sub_id in ("a", "b", "a", "b"):
        assert isinstance(session.receive(req(sub_id, {})), Subscribe)


def test_no_more_filters_than_allowed(session: Session) -> None:
    action = session.receive(req("s", {}, {}, {}))
    assert action == RefuseSubscription("s", "invalid: too many filters (found=3, allowed=2)")


def test_no_more_values_than_allowed_in_all_filters_together(session: Session) -> None:
    assert isinstance(session.receive(req("s", {"kinds": [1, 2]}, {"#t": ["x"]})), Subscribe)
    action = session.receive(req("s", {"kinds": [1, 2]}, {"#t": ["x"], "authors": ["a" * 64]}))
    assert action == RefuseSubscription("s", "invalid: too many values in filters (found=4, allowed=3)")


def test_a_bad_filter_is_refused_by_its_subscription(session: Session) -> None:
    action = session.receive(req("s", {"kinds": "1"}))
    assert isinstance(action, RefuseSubscription)
    assert json.loads(build_closed(action.sub_id, action.message))[:2] == ["CLOSED", "s"]


_JSON = st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)


@given(st.binary(max_size=200) | _JSON)
def test_whatever_is_said_is_answered(said: bytes) -> None:
    action = Session(LIMITS).receive(said)
    assert isinstance(action, Send)
    assert action.text.startswith('["NOTICE",')
