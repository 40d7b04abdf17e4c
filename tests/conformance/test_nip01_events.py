"""NIP-01: publishing, subscriptions and the sorts of kinds, sentence by sentence."""

from __future__ import annotations

import pytest

from tests.conformance.guest import ALICE, BOB, NOW, Guest, ids, in_order, key, note, obj

pytestmark = pytest.mark.nip(1)


async def test_ok_messages_must_be_sent_in_response_to_event_messages(client: Guest) -> None:
    event = note("one")
    assert (await client.publish(event))[:3] == ["OK", event.id, True]
    assert await client.stored({"ids": [event.id]}) == [event.id]


async def test_ok_true_with_duplicate_already_have_this_event(client: Guest) -> None:
    event = note("twice")
    await client.accepted(event)
    answer = await client.publish(event)
    assert answer[:3] == ["OK", event.id, True]
    assert answer[3].startswith("duplicate:")


async def test_all_other_characters_must_be_included_verbatim(client: Guest) -> None:
    event = note('odd "content" \\ / \u007f \u0001 \b\f\r\n\t é 🤙 \u2028', tags=[["t", "ü"], ["alt", "", "x"]])
    await client.accepted(event)
    await client.send("REQ", "s", {"ids": [event.id]})
    assert await client.hear() == ["EVENT", "s", obj(event)]


async def test_eose_indicates_the_end_of_stored_events_and_the_beginning_of_new_ones(
    client: Guest, other: Guest
) -> None:
    author = key()
    old, unwanted, new = (note(text, by=author, kind=kind) for text, kind in (("1", 1), ("2", 7), ("3", 1)))
    await client.accepted(old)
    assert await client.subscribe({"kinds": [1], "authors": [author.pubkey]}) == [old.id]
    await other.accepted(unwanted, new)
    assert await client.hear() == ["EVENT", "s", obj(new)]


async def test_limit_is_only_valid_for_the_initial_query(client: Guest, other: Guest) -> None:
    author = key()
    assert await client.subscribe({"authors": [author.pubkey], "limit": 0}) == []
    for number in range(2):
        event = note(str(number), by=author)
        await other.accepted(event)
        assert await client.hear() == ["EVENT", "s", obj(event)]


async def test_a_new_req_with_the_same_subscription_id_replaces_the_old_one(client: Guest, other: Guest) -> None:
    author = key()
    for kind in (7, 1):
        await client.subscribe({"kinds": [kind], "authors": [author.pubkey]})
    wanted = note("1", by=author)
    await other.accepted(note("+", by=author, kind=7), wanted)
    assert await client.hear() == ["EVENT", "s", obj(wanted)]
    await client.hears_nothing_more()


async def test_close_is_used_to_stop_previous_subscriptions(client: Guest, other: Guest) -> None:
    author = key()
    await client.subscribe({"authors": [author.pubkey]})
    await client.send("CLOSE", "s")
    await client.hears_nothing_more()
    await other.accepted(note(by=author))
    await client.hears_nothing_more()


async def test_a_subscription_that_is_refused_is_ended(client: Guest, other: Guest) -> None:
    author = key()
    await client.subscribe({"authors": [author.pubkey]})
    await client.send("REQ", "s", {"kinds": ["one"]})
    if (await client.hear())[0] != "CLOSED":
        pytest.skip("this relay refuses a malformed REQ by NOTICE")
    await other.accepted(note(by=author))
    await client.hears_nothing_more()


async def test_subscription_ids_are_managed_for_each_websocket_connection(client: Guest, other: Guest) -> None:
    author, event = key(), note("+", by=BOB, kind=7)
    await client.subscribe({"kinds": [1], "authors": [author.pubkey]})
    await other.subscribe({"authors": [BOB.pubkey], "kinds": [7], "limit": 0})
    await client.accepted(event)
    assert await other.hear() == ["EVENT", "s", obj(event)]
    await client.hears_nothing_more()


async def test_an_event_is_sent_to_every_subscription_that_matches(client: Guest, other: Guest) -> None:
    event = note(by=key())
    for sub, filter_ in (("a", {"authors": [event.pubkey]}), ("b", {"ids": [event.id]})):
        await client.subscribe(filter_, {"kinds": [1], "authors": [event.pubkey]}, sub=sub)
    await other.accepted(event)
    heard = sorted([await client.hear(), await client.hear()])
    assert heard == [["EVENT", "a", obj(event)], ["EVENT", "b", obj(event)]]
    await client.hears_nothing_more()


@pytest.mark.parametrize("kind", [0, 3, 10_000, 19_999, 10_002, 10_050])
async def test_replaceable_only_the_latest_event_must_be_stored(client: Guest, kind: int) -> None:
    # 10002 is NIP-65's, 10050 NIP-17's: they are served like any other
    author = key()
    first, second = note("1", by=author, kind=kind, at=NOW - 9), note("2", by=author, kind=kind, at=NOW - 8)
    others = note("3", by=BOB, kind=kind, at=NOW - 9)
    await client.accepted(first, others, second)
    both = {"kinds": [kind], "authors": [author.pubkey, BOB.pubkey]}
    assert await client.stored(both) == [second.id, others.id]
    await client.publish(first)
    assert await client.stored(both) == [second.id, others.id]


@pytest.mark.parametrize("kind", [30_000, 39_999])
async def test_addressable_the_latest_event_for_each_kind_pubkey_and_d(client: Guest, kind: int) -> None:
    author = key()
    first, second = (
        note(text, by=author, kind=kind, tags=[["d", "a"]], at=at) for text, at in (("1", NOW - 9), ("2", NOW))
    )
    others = note("3", by=author, kind=kind, tags=[["d", "b"]], at=NOW - 9)
    await client.accepted(first, others, second)
    assert await client.stored({"kinds": [kind], "authors": [author.pubkey]}) == [second.id, others.id]
    assert await client.stored({"kinds": [kind], "authors": [author.pubkey], "#d": ["a"]}) == [second.id]


@pytest.mark.parametrize(("kind", "tags"), [(0, []), (30_000, [["d", "a"]])])
@pytest.mark.parametrize("order", [1, -1], ids=["lowest first", "lowest last"])
async def test_of_the_same_timestamp_the_lowest_id_should_be_retained(
    client: Guest, kind: int, tags: list[list[str]], order: int
) -> None:
    author = key()
    low, high = in_order([note(str(number), by=author, kind=kind, tags=tags) for number in range(2)])
    for event in (low, high)[::order]:
        await client.publish(event)
    assert await client.stored({"kinds": [kind], "authors": [author.pubkey]}) == [low.id]


@pytest.mark.parametrize("kind", [1, 2, 4, 44, 1_000, 9_999])
async def test_regular_events_are_all_expected_to_be_stored(client: Guest, kind: int) -> None:
    author = key()
    both = [note("2", by=author, kind=kind, at=NOW), note("1", by=author, kind=kind, at=NOW - 9)]
    await client.accepted(*both)
    assert await client.stored({"kinds": [kind], "authors": [author.pubkey]}) == ids(both)


@pytest.mark.parametrize("kind", [20_000, 29_999])
async def test_ephemeral_events_are_sent_on_and_not_expected_to_be_stored(
    client: Guest, other: Guest, kind: int
) -> None:
    event = note("now", by=ALICE, kind=kind)
    await client.subscribe({"kinds": [kind], "authors": [ALICE.pubkey]})
    await other.accepted(event)
    assert await client.hear() == ["EVENT", "s", obj(event)]
    assert await other.stored({"kinds": [kind], "authors": [ALICE.pubkey]}) == []


async def test_addressable_a_missing_d_is_an_empty_one(client: Guest) -> None:
    author = key()
    versions = [
        note(by=author, kind=30_000, tags=tags, at=NOW - 10 + number)
        for number, tags in enumerate(([], [["d", ""]], [["d"]], [["d", "", "more"]]))
    ]
    await client.accepted(*versions)
    assert await client.stored({"authors": [author.pubkey]}) == ids(versions[-1:])


async def test_the_d_of_a_replaceable_event_makes_no_other_address(client: Guest) -> None:
    author = key()
    older, newer = (note(by=author, kind=10_000, tags=[["d", d]], at=at) for d, at in (("a", NOW - 1), ("b", NOW)))
    await client.accepted(older, newer)
    assert await client.stored({"authors": [author.pubkey]}) == [newer.id]


async def test_since_and_until_count_for_new_events_too(client: Guest, other: Guest) -> None:
    author = key()
    assert await client.subscribe({"authors": [author.pubkey], "since": NOW - 5, "until": NOW - 2}) == []
    within = note("within", by=author, at=NOW - 5)
    await other.accepted(note("before", by=author, at=NOW - 6), note("after", by=author, at=NOW - 1), within)
    assert await client.hear() == ["EVENT", "s", obj(within)]


async def test_filters_of_one_req_are_alternatives_for_new_events_and_each_comes_once(
    client: Guest, other: Guest
) -> None:
    author = key()
    assert await client.subscribe({"authors": [author.pubkey]}, {"#t": [author.pubkey]}) == []
    events = [note(by=author, tags=[["t", author.pubkey]]), note(tags=[["t", author.pubkey]]), note("2", by=author)]
    await other.accepted(*events)
    assert [await client.hear() for _ in events] == [["EVENT", "s", obj(event)] for event in events]
