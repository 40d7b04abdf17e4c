"""nostr-sdk, a library of others, as a client of this relay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import nostr_sdk as sdk
import pytest

from relaybot.nostr.event import encode_event
from tests.relay.authors import ALICE, NOW, note
from tests.relay.client import Client as Websocket
from tests.relay.conftest import Relay

TIMEOUT = timedelta(seconds=10)
KEYS = sdk.Keys.parse("01" * 32)  # Alice's


@pytest.fixture
async def theirs(relay: Relay) -> AsyncIterator[sdk.Client]:
    client = sdk.ClientBuilder().build()
    await client.add_relay(sdk.RelayUrl.parse(relay.url))
    await client.connect(TIMEOUT)
    yield client
    await client.shutdown()


def signed(content: str, kind: int = 1) -> sdk.Event:
    builder = sdk.EventBuilder(sdk.Kind(kind), content).custom_created_at(sdk.Timestamp.from_secs(NOW))
    return builder.finalize(KEYS)


async def test_nostr_sdk_publishes_and_fetches(theirs: sdk.Client) -> None:
    event = signed("from the other side")
    output = await theirs.send_event(event)
    assert output.id.to_hex() == event.id().to_hex()
    assert len(output.success) == 1
    asked = sdk.Filter().author(KEYS.public_key()).kind(sdk.Kind(1))
    fetched = await theirs.fetch_events(sdk.ReqTarget.auto([asked]), TIMEOUT)
    assert [one.as_json() for one in fetched] == [event.as_json()]


async def test_nostr_sdk_reads_what_others_publish(theirs: sdk.Client, client: Websocket) -> None:
    events = [note(f"number {number} ü\n\"'", at=NOW - number, tags=[["t", "x"]]) for number in range(20)]
    await client.accepted(*events)
    asked = sdk.Filter().hashtag("x").limit(5)
    fetched = await theirs.fetch_events(sdk.ReqTarget.auto([asked]), TIMEOUT)
    assert [one.as_json() for one in fetched] == [encode_event(event) for event in events[:5]]
    assert all(one.verify_signature() for one in fetched)


async def test_nostr_sdk_hears_new_events(theirs: sdk.Client, client: Websocket) -> None:
    target = sdk.ReqTarget.auto([sdk.Filter().kind(sdk.Kind(7))])
    stream = await theirs.stream_events(target, "s", TIMEOUT, sdk.ReqExitPolicy.WAIT_FOR_EVENTS(1))
    event = note("+", kind=7)
    await client.accepted(event)
    item = await stream.next()
    assert item is not None
    assert item.event is not None
    assert item.event.as_json() == encode_event(event)


async def test_nostr_sdk_is_told_why_it_is_refused(theirs: sdk.Client) -> None:
    refused = await theirs.send_event(signed("x", kind=22_242))
    assert list(refused.failed.values()) == ["blocked: this kind is not taken here (kind=22242)"]
    assert ALICE.pubkey == KEYS.public_key().to_hex()
