"""Open subscriptions are found by what they ask for, not one after the other."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter, matches
from relaybot.relay import subscriptions as module
from relaybot.relay.subscriptions import Subscriptions
from tests.relay.authors import ALICE, BOB, note
from tests.relay.random_events import events, filters

# A machine that is busy with other tests is no mistake of this one.
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SOME
@given(st.lists(st.lists(filters(), max_size=3), max_size=8), st.lists(events(), min_size=1, max_size=5))
def test_an_event_finds_exactly_the_subscribers_with_a_filter_it_meets(
    wanted: list[list[Filter]], published: list[Event]
) -> None:
    subscriptions: Subscriptions[int] = Subscriptions()
    for subscriber, filters_ in enumerate(wanted):
        subscriptions.add(subscriber, filters_)
    for event in published:
        expected = [who for who, asked in enumerate(wanted) if any(matches(filter_, event) for filter_ in asked)]
        assert sorted(subscriptions.matching(event)) == expected


@SOME
@given(st.lists(st.lists(filters(), max_size=3), max_size=8), events())
def test_who_is_removed_is_not_found_and_leaves_nothing_behind(wanted: list[list[Filter]], event: Event) -> None:
    subscriptions: Subscriptions[int] = Subscriptions()
    for subscriber, filters_ in enumerate(wanted):
        subscriptions.add(subscriber, filters_)
    assert len(subscriptions) == len(wanted)
    for subscriber in range(len(wanted)):
        subscriptions.remove(subscriber)
        assert subscriber not in subscriptions.matching(event)
    assert len(subscriptions) == 0
    assert not any((subscriptions._ids, subscriptions._tags, subscriptions._authors, subscriptions._kinds))
    assert not subscriptions._any


def test_removing_a_stranger_is_no_mistake() -> None:
    Subscriptions[str]().remove("nobody")


@pytest.mark.parametrize(
    "filter_",
    [
        Filter(ids=frozenset({"0" * 64})),
        Filter(authors=frozenset({BOB.pubkey}), kinds=frozenset({1})),
        Filter(kinds=frozenset({7})),
        Filter(tags={"t": frozenset({"other"})}),
        Filter(tags={"t": frozenset({"topic"}), "p": frozenset()}),
    ],
    ids=["ids", "authors", "kinds", "tags", "nothing"],
)
def test_subscriptions_that_cannot_match_are_not_looked_at(filter_: Filter, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def counted(filter_: Filter, event: Event) -> bool:
        looked_at.append(filter_)
        return matches(filter_, event)

    monkeypatch.setattr(module, "matches", counted)
    subscriptions: Subscriptions[int] = Subscriptions()
    for subscriber in range(100):
        subscriptions.add(subscriber, [filter_])
    subscriptions.add(100, [Filter(authors=frozenset({ALICE.pubkey}))])
    assert subscriptions.matching(note(tags=[["t", "topic"], ["t"]])) == [100]
    assert len(looked_at) == 1
