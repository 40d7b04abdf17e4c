"""Attack I8: floods and malformed frames harm only who sends them. Others are served meanwhile."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from relaybot.relay.settings import RelayLimits
from tests.relay.authors import ALICE, NOW, note, obj, raw
from tests.relay.client import Client
from tests.relay.conftest import Relay, running

HONEST, LAST = note("honest"), note("the last word", kind=2)
LIMITS = RelayLimits()
HEX = "a" * 64


@pytest.fixture
async def relay(path: Path) -> AsyncIterator[Relay]:
    """Run a relay that is still in order when the test is over."""
    async with running(path) as relay:
        yield relay
        async with relay.client() as honest:
            await honest.accepted(LAST)
            assert await honest.stored({"ids": [LAST.id]}) == [LAST.id]
        assert len(relay.hub._subscriptions) <= LIMITS.subscriptions_max


def event_text(**changes: object) -> str:
    """Return an EVENT message with JSON put in by hand."""
    fields = {name: json.dumps(value) for name, value in obj(note("x")).items()}
    fields |= {name: str(text) for name, text in changes.items()}
    return '["EVENT",{' + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}]"


async def close_code(client: Client, *message: object) -> int:
    """Say something unheard of; return the code with which the relay closes."""
    try:
        await client.send(*message)
        await client.hear()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else 1006
    return 0


DEEP = "[" * 50_000
REFUSED = {
    "nothing": ("", "NOTICE"),
    "no JSON": ("EVENT", "NOTICE"),
    "deep JSON": (DEEP, "NOTICE"),
    "deep JSON, closed": (DEEP + "]" * 50_000, "NOTICE"),
    "deep JSON in an event": (f'["EVENT",{DEEP}]', "NOTICE"),
    "deep JSON in tags": (event_text(tags=DEEP + "]" * 50_000), "NOTICE"),
    "deep JSON in a filter": (f'["REQ","s",{DEEP + "]" * 50_000}]', "NOTICE"),
    "an object": ('{"EVENT":1}', "NOTICE"),
    "no array of messages": ('[["EVENT"]]', "NOTICE"),
    "two messages": ('["CLOSE","a"]["CLOSE","b"]', "NOTICE"),
    "NaN": (event_text(created_at="NaN"), "NOTICE"),
    "Infinity": ('["REQ","s",{"since":Infinity}]', "NOTICE"),
    "a number with an exponent": (event_text(created_at="1e9"), "OK"),
    "a number as a string": (event_text(kind='"1"'), "OK"),
    "a number that is too large": (event_text(created_at="9" * 400), "OK"),
    "a date beyond all dates": (event_text(created_at=2**53), "OK"),
    "a negative kind": (event_text(kind=-1), "OK"),
    "a kind of 65536": (event_text(kind=65_536), "OK"),
    "a lone surrogate": (event_text(content='"\\ud800"'), "NOTICE"),
    "a control character": (event_text(content='"\n"'), "NOTICE"),
    "a filter with a lone surrogate": ('["REQ","s",{"#t":["\\ud800"]}]', "NOTICE"),
    "a subscription id with a lone surrogate": ('["REQ","\\ud800",{}]', "NOTICE"),
    "a number as a string in a filter": ('["REQ","s",{"kinds":["1"]}]', "CLOSED"),
    "a date as a string in a filter": ('["REQ","s",{"since":"1"}]', "CLOSED"),
    "a fraction in a filter": ('["REQ","s",{"limit":1.5}]', "CLOSED"),
    "NaN in a filter": ('["REQ","s",{"limit":NaN}]', "NOTICE"),
    "a kind of -1 in a filter": ('["REQ","s",{"kinds":[-1]}]', "CLOSED"),
    "a kind of 65536 in a filter": ('["COUNT","s",{"kinds":[65536]}]', "CLOSED"),
    "a repeated key in a filter": ('["REQ","s",{"kinds":[1],"kinds":[2]}]', "CLOSED"),
    "an unknown verb of 100 KB": (json.dumps(["X" * 100_000]), "NOTICE"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_malformed_messages_are_answered_and_the_connection_goes_on(client: Client, name: str) -> None:
    said, verb = REFUSED[name]
    await client.send_text(said)
    heard = await client.hear()
    assert heard[0] == verb
    assert len(heard[-1]) < 500
    await client.hears_nothing_more()


async def test_a_repeated_key_in_an_event_never_gets_in(client: Client) -> None:
    for first, second in (("1", "7"), ("7", "1")):
        text = event_text(content=f'"x","kind":{first}', kind=second)
        await client.send_text(text)
        assert (await client.hear())[:1] == ["OK"]
    assert await client.stored({"kinds": [7]}) == []
    await client.subscribe({}, sub="s")
    while (heard := await client.hear())[0] == "EVENT":
        assert heard[2] == obj(note("x"))


async def test_foreign_fields_and_whitespace_are_not_kept(client: Client) -> None:
    event = note("x")
    await client.send_text('[ "EVENT" , ' + json.dumps(obj(event) | {"seen": [1, {"a": "b"}]}, indent=2) + "]")
    assert await client.hear() == ["OK", event.id, True, ""]
    await client.socket.send('["REQ","s",{}]')
    assert await client.socket.recv(decode=False) == b'["EVENT","s",' + raw(event) + b"]"


@pytest.mark.parametrize("size", [LIMITS.message_bytes_max + 1, 4_000_000])
async def test_a_huge_frame_ends_its_connection(client: Client, size: int) -> None:
    assert await close_code(client, "x" * size) == 1009


async def test_a_frame_of_the_allowed_size_is_read(client: Client) -> None:
    await client.send_text("x" * LIMITS.message_bytes_max)
    assert (await client.hear())[0] == "NOTICE"


@pytest.mark.parametrize("data", [b"\xff\xfe", b'["REQ","\xc3","x"]', b'["NOTICE","\xed\xa0\x80"]'])
async def test_invalid_utf_8_ends_its_connection(client: Client, data: bytes) -> None:
    await client.socket.send(data, text=True)
    with pytest.raises(ConnectionClosed) as raised:
        await client.hear()
    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == 1007


async def test_thousands_of_tags_are_refused(client: Client) -> None:
    many = note(tags=[["t", str(number)] for number in range(LIMITS.tags_max + 1)])
    assert (await client.publish(many))[2:] == [False, "invalid: too many tags (found=2001, allowed=2000)"]
    await client.accepted(note(tags=[["t", str(number)] for number in range(LIMITS.tags_max)]))


async def test_thousands_of_subscriptions_are_refused(relay: Relay, client: Client) -> None:
    for number in range(2_000):
        await client.subscribe({"limit": 0}, sub=f"s{number}")
    heard = [await client.hear() for _ in range(2_000)]
    assert [message[0] for message in heard].count("EOSE") == LIMITS.subscriptions_max
    assert heard[-1] == ["CLOSED", "s1999", "error: too many subscriptions (allowed=64)"] or heard[-1][0] == "EOSE"
    assert len(relay.hub._subscriptions) == LIMITS.subscriptions_max


async def test_one_subscription_replaced_thousands_of_times_stays_one(relay: Relay, client: Client) -> None:
    for _ in range(2_000):
        await client.subscribe({}, sub="s")
    await client.subscribe({"limit": 0}, sub="last")
    while await client.hear() != ["EOSE", "last"]:
        pass
    assert len(relay.hub._subscriptions) == 2


async def test_thousands_of_filters_are_refused(client: Client) -> None:
    await client.subscribe(*[{}] * 5_000, sub="s")
    assert await client.hear() == ["CLOSED", "s", "invalid: too many filters (found=5000, allowed=20)"]


async def test_as_many_ids_as_a_frame_holds_are_refused(client: Client) -> None:
    ids = [f"{number:064x}" for number in range(1_900)]
    await client.subscribe({"ids": ids}, {"kinds": list(range(101))}, sub="s")
    assert await client.hear() == ["CLOSED", "s", "invalid: too many values in filters (found=2001, allowed=2000)"]


async def test_a_million_ids_do_not_fit_into_a_frame(client: Client) -> None:
    assert await close_code(client, "REQ", "s", {"ids": [HEX] * 1_000_000}) == 1009


async def test_as_many_values_as_are_allowed_are_answered(client: Client) -> None:
    await client.accepted(HONEST)
    tags = {f"#{letter}": [str(number) for number in range(30)] for letter in "abcdfghijklmnoqrstuvwxyz"}
    await client.subscribe({"kinds": list(range(1_000)), "authors": [ALICE.pubkey]}, tags, sub="s")
    assert await client.until_eose("s") == [HONEST.id]


async def test_a_flood_of_deletions_touches_only_its_authors_events(client: Client) -> None:
    await client.accepted(HONEST, *[note(str(number), at=NOW - number - 1) for number in range(10)])
    ids = await client.stored({})
    names = [["e", id_] for id_ in ids[1:]] + [["e", f"{number:064x}"] for number in range(900)]
    await client.accepted(note(kind=5, tags=names))
    assert await client.stored({"kinds": [1]}) == [HONEST.id]


async def test_a_cuckoo_in_the_hex_is_refused(client: Client) -> None:
    event = obj(note("x"))
    for field in ("id", "pubkey", "sig"):
        for wrong in (event[field].upper(), event[field][:-1] + "g", event[field][:-2] + " a", "0x" + event[field][2:]):
            await client.send("EVENT", event | {field: wrong})
            heard = await client.hear()
            assert heard[0] == "NOTICE" if field == "id" else heard[2] is False
    assert await client.stored({}) == []
