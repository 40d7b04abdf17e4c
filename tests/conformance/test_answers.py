"""NIP-11 (information), NIP-45 (COUNT), NIP-67 (hints of EOSE): what a relay says of itself and of its answers."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Mapping
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conformance.conftest import Information
from tests.conformance.guest import NOW, Guest, ids, key, note, obj

Told = tuple[Mapping[str, str], Information]
TRIED_MAX = 1_000  # a limit above is not walked up to

# ---- NIP-11


@pytest.mark.nip(11)
async def test_the_document_is_served_as_nostr_json(headers_and_information: Told) -> None:
    headers, information = headers_and_information
    assert headers["content-type"].partition(";")[0] == "application/nostr+json"
    texts = ("name", "description", "banner", "icon", "pubkey", "self", "contact", "software", "version")
    assert all(isinstance(information[name], str) for name in texts if name in information)


@pytest.mark.nip(11)
async def test_relays_must_accept_cors_requests(headers_and_information: Told, url: str) -> None:
    headers, _ = headers_and_information
    wanted = {"access-control-allow-origin", "access-control-allow-headers", "access-control-allow-methods"}
    assert not wanted - headers.keys()
    preflight = urllib.request.Request("http" + url[2:], method="OPTIONS")  # noqa: S310 - ws(s) became http(s)
    answer = await asyncio.to_thread(urllib.request.urlopen, preflight)
    assert not wanted - {name.lower() for name in answer.headers}


@pytest.mark.nip(11)
async def test_supported_nips_are_integers_and_1_is_among_them(information: Information) -> None:
    assert all(type(number) is int for number in information["supported_nips"])
    assert 1 in information["supported_nips"]


@pytest.mark.nip(11)
async def test_keys_are_32_byte_hex_and_software_is_a_url(information: Information) -> None:
    for name in ("pubkey", "self"):
        if name in information:
            assert len(bytes.fromhex(information[name])) == 32
    assert "://" in information.get("software", "://")


def limit(information: Information, name: str, at_most: float = float("inf")) -> Any:
    """Return a limit of the document; skip the case if it has none, or one that is not walked up to."""
    found = (information.get("limitation") or {}).get(name)
    if not found or found > at_most:
        pytest.skip(f"limitation.{name} is {found}")
    return found


@pytest.mark.nip(11)
async def test_max_limit_clamps_each_filters_limit(client: Guest, information: Information) -> None:
    most, author = limit(information, "max_limit", TRIED_MAX), key()
    events = [note(str(number), by=author, at=NOW - number) for number in range(most + 1)]
    for event in events:
        await client.send("EVENT", obj(event))
    for _ in events:
        assert (await client.hear())[2] is True
    assert await client.stored({"authors": [author.pubkey], "limit": most + 1}) == ids(events[:most])


@pytest.mark.nip(11)
async def test_max_subscriptions_may_be_active_on_a_connection(client: Guest, information: Information) -> None:
    most = limit(information, "max_subscriptions", TRIED_MAX)
    for number in range(most):
        await client.subscribe({"kinds": [1], "limit": 0}, sub=str(number))
    await client.send("REQ", "one more", {"kinds": [1], "limit": 0})
    assert (await client.hear())[:2] == ["CLOSED", "one more"]
    await client.send("CLOSE", "0")
    assert await client.subscribe({"kinds": [1], "limit": 0}, sub="one more") == []


@pytest.mark.nip(11)
async def test_max_event_tags_is_the_maximum_number_of_elements_in_tags(
    client: Guest, information: Information
) -> None:
    most = limit(information, "max_event_tags", 10_000)
    await client.accepted(note(tags=[["x"]] * most))
    await client.refused(note(tags=[["x"]] * (most + 1)), "invalid")


@pytest.mark.nip(11)
async def test_max_content_length_counts_unicode_characters(client: Guest, information: Information) -> None:
    most = limit(information, "max_content_length", 500_000)
    await client.refused(note("x" * (most + 1)), "invalid")
    if most * 2 < limit(information, "max_message_length") - 500:
        await client.accepted(note("é" * most))


@pytest.mark.nip(11)
async def test_max_message_length_is_the_maximum_of_the_websocket_message(
    client: Guest, information: Information
) -> None:
    most = limit(information, "max_message_length", 10_000_000)
    try:
        await client.send("x" * most)
        assert (await client.hear())[0] == "NOTICE"
    except ConnectionClosed as closed:
        assert closed.rcvd is not None  # noqa: PT017 - either is a refusal
        assert closed.rcvd.code == 1009  # noqa: PT017 - as above


@pytest.mark.nip(11)
async def test_created_at_upper_limit_is_how_far_in_the_future(client: Guest, information: Information) -> None:
    ahead = limit(information, "created_at_upper_limit")
    await client.refused(note(at=NOW + ahead + 3_600), "invalid")
    await client.accepted(note(at=NOW + ahead - 3))


@pytest.mark.nip(11)
async def test_max_subid_length_is_the_maximum_length_of_a_subscription_id(
    client: Guest, information: Information
) -> None:
    most = limit(information, "max_subid_length", 10_000)
    assert await client.subscribe({"ids": ["0" * 64]}, sub="s" * most) == []
    await client.send("REQ", "s" * (most + 1), {"ids": ["0" * 64]})
    assert (await client.hear())[0] in {"NOTICE", "CLOSED"}


@pytest.mark.nip(11)
async def test_default_limit_stands_in_where_a_filter_has_none(client: Guest, information: Information) -> None:
    most = limit(information, "default_limit", TRIED_MAX)
    author = key()
    for number in range(most + 1):
        await client.send("EVENT", obj(note(str(number), by=author)))
    for _ in range(most + 1):
        assert (await client.hear())[2] is True
    assert len(await client.stored({"authors": [author.pubkey]})) == most


# ---- NIP-45


@pytest.mark.nip(45)
async def test_count_accepts_filters_as_req_does(client: Guest) -> None:
    author = key()
    notes = [note(str(number), by=author, tags=[["t", f"{number % 2}"]], at=NOW - number) for number in range(5)]
    await client.accepted(*notes, note("+", by=author, kind=7))
    mine = {"authors": [author.pubkey]}
    for filter_, count in (
        ({}, 6),
        ({"kinds": [1]}, 5),
        ({"kinds": [1, 7]}, 6),
        ({"#t": ["0"]}, 3),
        ({"since": NOW}, 2),
    ):
        assert await client.count(mine | filter_) == count
    assert await client.count({"ids": ids(notes[:2])}) == 2
    assert await client.count({"ids": ["0" * 64]}) == 0


@pytest.mark.nip(45)
async def test_multiple_filters_are_ored_and_aggregated_into_a_single_result(client: Guest) -> None:
    author = key()
    notes = [note(str(number), by=author, at=NOW - number) for number in range(4)]
    await client.accepted(*notes)
    assert await client.count({"ids": ids(notes[:3])}, {"authors": [author.pubkey], "since": NOW - 2}) == 3
    assert await client.count({"ids": ids(notes[:1])}, {"ids": ids(notes[3:])}) == 2


@pytest.mark.nip(45)
async def test_limit_bounds_what_is_sent_and_not_what_is_counted(client: Guest) -> None:
    author = key()
    await client.accepted(*[note(str(number), by=author) for number in range(3)])
    assert await client.count({"authors": [author.pubkey], "limit": 1}) == 3


@pytest.mark.nip(45)
@pytest.mark.parametrize("filter_", [{"ids": ["x"]}, {"kinds": "1"}, {"unheard_of": 1}])
async def test_a_refused_count_must_return_a_closed_message(client: Guest, filter_: dict[str, Any]) -> None:
    await client.send("COUNT", "q", filter_)
    assert (await client.hear())[:2] == ["CLOSED", "q"]


@pytest.mark.nip(45)
async def test_a_count_opens_no_subscription(client: Guest, other: Guest) -> None:
    author = key()
    assert await client.count({"authors": [author.pubkey]}) == 0
    await other.accepted(note(by=author))
    await client.hears_nothing_more()


# ---- NIP-67


@pytest.mark.nip(67)
@pytest.mark.parametrize(
    ("limits", "hints"),
    [
        ([None], ["finish"]),
        ([4], ["finish"]),
        ([3], ["finish"]),
        ([2], ["more"]),
        ([0], []),
        ([4, 4], ["finish"]),
        ([4, 2], []),
    ],
)
async def test_finish_is_said_of_everything_and_more_of_less(
    client: Guest, limits: list[int | None], hints: list[str]
) -> None:
    author = key()
    await client.accepted(*[note(str(number), by=author) for number in range(3)])
    mine = {"authors": [author.pubkey]}
    found = await client.hint(*[mine if most is None else mine | {"limit": most} for most in limits])
    # the presence of a hint is definitive, its absence is not
    assert found in ([hints], []) if hints else found == []


@pytest.mark.nip(67)
async def test_more_and_finish_lead_through_all_pages(client: Guest) -> None:
    author = key()
    events = [note(str(number), by=author, at=NOW - number) for number in range(5)]
    await client.accepted(*events)
    until, found, hint = NOW, set[str](), ["more"]
    while hint != ["finish"]:
        page = {"authors": [author.pubkey], "limit": 3, "until": until}
        stored, (hint,) = await client.stored(page), await client.hint(page)
        found |= set(stored)
        until = next(event.created_at for event in events if event.id == stored[-1])
    assert found == set(ids(events))
