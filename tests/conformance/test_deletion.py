"""NIP-09, NIP-40, NIP-62, and what NIP-59 says of deleting: what a relay no longer serves."""

from __future__ import annotations

import pytest

from tests.conformance.guest import ALICE, BOB, CAROL, NOW, Guest, ids, in_order, key, note

# ---- NIP-09


@pytest.mark.nip(9)
async def test_referenced_events_that_have_an_identical_pubkey_are_deleted(client: Guest) -> None:
    author = key()
    old, new, others = note("old", by=author, at=NOW - 9), note("new", by=author), note("others", by=BOB)
    names = [["e", old.id], ["e", others.id], ["e", "no id"], ["k", "1"], ["e"]]
    request = note(by=author, kind=5, tags=names)
    await client.accepted(old, new, others, request)
    assert sorted(await client.stored({"ids": ids([old, new, others])})) == sorted(ids([new, others]))


@pytest.mark.nip(9)
async def test_the_deletion_request_itself_is_published_indefinitely(client: Guest) -> None:
    event = note("gone")
    request = note(kind=5, tags=[["e", event.id]])
    await client.accepted(event, request)
    assert await client.stored({"#e": [event.id]}) == [request.id]


@pytest.mark.nip(9)
async def test_what_was_deleted_is_not_published_again(client: Guest) -> None:
    event = note("gone and sent again")
    await client.accepted(note(kind=5, tags=[["e", event.id]]))
    await client.publish(event)
    assert await client.stored({"ids": [event.id]}) == []


@pytest.mark.nip(9)
@pytest.mark.parametrize("beforehand", [True, False])
async def test_somebody_elses_request_deletes_nothing(client: Guest, *, beforehand: bool) -> None:
    event = note(f"stays {beforehand}")
    both = [note(kind=5, by=CAROL, tags=[["e", event.id]]), event]
    await client.accepted(*both if beforehand else both[::-1])
    assert await client.stored({"ids": [event.id]}) == [event.id]


@pytest.mark.nip(9)
@pytest.mark.parametrize(("kind", "d"), [(30_000, "a"), (0, "")])
async def test_a_tags_delete_all_versions_up_to_the_created_at_of_the_request(client: Guest, kind: int, d: str) -> None:
    author, tags = key(), [["d", d]] if d else []
    before, after = (note(str(at), by=author, kind=kind, tags=tags, at=NOW + at) for at in (-9, 0))
    address, mine = ["a", f"{kind}:{author.pubkey}:{d}"], {"kinds": [kind], "authors": [author.pubkey]}
    await client.accepted(before, note(by=author, kind=5, tags=[address], at=NOW - 5))
    assert await client.stored(mine) == []
    await client.publish(before)
    assert await client.stored(mine) == []
    await client.accepted(after, note("late", by=author, kind=5, tags=[address], at=NOW - 4))
    assert await client.stored(mine) == [after.id]


@pytest.mark.nip(9)
async def test_somebody_elses_address_is_not_deleted(client: Guest) -> None:
    event = note("1", by=key(), kind=30_000, tags=[["d", "a"]], at=NOW - 9)
    address = event.address()
    names = [["a", address.replace("30000", wrong)] for wrong in ("1", "x", "", "٣", "300000", "030000")]
    await client.accepted(event, note(by=BOB, kind=5, tags=[["a", address]]), note(by=BOB, kind=5, tags=names))
    assert await client.stored({"ids": [event.id]}) == [event.id]


@pytest.mark.nip(9)
async def test_a_deletion_request_against_a_deletion_request_has_no_effect(client: Guest) -> None:
    event = note("gone for good")
    request = note(kind=5, tags=[["e", event.id]])
    await client.accepted(request, note("undo", kind=5, tags=[["e", request.id]]))
    assert await client.stored({"ids": [request.id]}) == [request.id]
    await client.publish(event)
    assert await client.stored({"ids": [event.id]}) == []


# ---- NIP-40


@pytest.mark.nip(40)
async def test_an_event_that_has_expired_is_dropped(client: Guest) -> None:
    event = note("too late", tags=[["expiration", str(NOW - 1)]])
    await client.publish(event)
    assert await client.stored({"ids": [event.id]}) == []


@pytest.mark.nip(40)
async def test_an_event_is_served_until_it_expires(client: Guest) -> None:
    event = note("in time", tags=[["expiration", str(NOW + 3_600)]])
    await client.accepted(event)
    assert await client.stored({"ids": [event.id]}) == [event.id]


# ---- NIP-62


@pytest.mark.nip(62)
async def test_everything_from_the_pubkey_until_its_created_at_is_deleted(client: Guest) -> None:
    author = key()
    gone, deleted = note("gone", by=author, at=NOW - 9), note("deleted", by=author, at=NOW - 9)
    deletion, later, others = (
        note(by=author, kind=5, tags=[["e", deleted.id]], at=NOW - 8),
        note(by=author),
        note("other"),
    )
    request = note(by=author, kind=62, tags=[["relay", "ALL_RELAYS"]], at=NOW - 5)
    await client.accepted(gone, deletion, others, later, request)
    asked = {"ids": ids([gone, deletion, others, later])}
    assert sorted(await client.stored(asked)) == sorted(ids([others, later]))


@pytest.mark.nip(62)
async def test_the_deleted_events_cannot_be_rebroadcast(client: Guest) -> None:
    author = key()
    old, new = note("old", by=author, at=NOW - 9), note("new", by=author, at=NOW)
    await client.accepted(old, note(by=author, kind=62, tags=[["relay", "ALL_RELAYS"]], at=NOW - 5))
    assert (await client.publish(old))[2] is False
    await client.accepted(new)
    assert await client.stored({"authors": [author.pubkey], "kinds": [1]}) == [new.id]


@pytest.mark.nip(62)
async def test_events_are_deleted_if_the_service_url_is_tagged(client: Guest, url: str) -> None:
    author = key()
    event = note(by=author, at=NOW - 9)
    request = note(by=author, kind=62, tags=[["relay", "wss://other.test"], ["relay", f"{url}/"]])
    await client.accepted(event, request)
    assert await client.stored({"ids": [event.id]}) == []


@pytest.mark.nip(62)
@pytest.mark.parametrize("tags", [[], [["relay"]], [["relay", "wss://other.test"]], [["relay", "all_relays"]]])
async def test_a_request_to_other_relays_deletes_nothing(client: Guest, tags: list[list[str]]) -> None:
    author = key()
    event = note(by=author, at=NOW - 9)
    await client.accepted(event)
    await client.publish(note(by=author, kind=62, tags=tags))
    assert await client.stored({"ids": [event.id]}) == [event.id]


@pytest.mark.nip(62, 9)
async def test_a_deletion_request_against_a_request_to_vanish_has_no_effect(client: Guest) -> None:
    author = key()
    event, request = note(by=author, at=NOW - 9), note(by=author, kind=62, tags=[["relay", "ALL_RELAYS"]], at=NOW - 5)
    await client.accepted(request)
    await client.publish(note(by=author, kind=5, tags=[["e", request.id]]))
    assert (await client.publish(event))[2] is False


# ---- NIP-59: gift wraps go with their recipient


@pytest.mark.nip(59, 62, 42)
async def test_gift_wraps_that_p_tag_a_vanished_pubkey_are_deleted(client: Guest) -> None:
    reader = key()
    wrap, kept = (note(by=key(), kind=1059, tags=[["p", to.pubkey]], at=NOW - 9) for to in (reader, ALICE))
    await client.accepted(wrap, kept, note(by=reader, kind=62, tags=[["relay", "ALL_RELAYS"]]))
    await client.prove(reader, ALICE)
    assert await client.stored({"ids": ids([wrap, kept])}) == [kept.id]
    assert (await client.publish(wrap))[2] is False


@pytest.mark.nip(59, 9, 42)
async def test_gift_wraps_are_deleted_by_the_recipient_and_nobody_else(client: Guest) -> None:
    reader = key()
    wraps = in_order([note(by=key(), kind=1059, tags=[["p", reader.pubkey]], at=NOW - at) for at in (1, 2)])
    await client.accepted(*wraps, note(by=reader, kind=5, tags=[["e", wraps[0].id]]))
    await client.accepted(note(by=BOB, kind=5, tags=[["e", wraps[1].id]]))
    await client.prove(reader)
    assert await client.stored({"kinds": [1059], "#p": [reader.pubkey]}) == [wraps[1].id]
    assert (await client.publish(wraps[0]))[2] is False
