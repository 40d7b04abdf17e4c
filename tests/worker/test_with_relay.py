"""A service and a node that know each other only through the relay this project ships."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from relaybot.connection import RelayConnection
from relaybot.nostr import nip89, nip90
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.relay.events import EventStore
from relaybot.relay.hub import Hub
from relaybot.relay.server import RelayServer
from relaybot.relay.settings import RelaySettings
from tests.connection.conftest import connected, until
from tests.worker.conftest import CAROL, SERVICE, Office, assignment


@pytest.fixture
async def url(office: Office, tmp_path: Path) -> AsyncIterator[str]:
    settings = RelaySettings()
    store = await EventStore.open(tmp_path / "events.db", settings.limits)
    hub = Hub(store, settings.limits, office.clock)
    server = RelayServer(hub, settings)
    host, port = await server.start("127.0.0.1", 0)
    yield f"ws://{host}:{port}"
    await server.close()
    await hub.close()
    await store.close()


class Answers:
    """What the service hears from the node, by kind."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def on_event(self, event: Event) -> None:
        self.events.append(event)

    async def hear(self, kind: int, count: int = 1) -> list[Event]:
        await until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    def of(self, kind: int) -> list[Event]:
        return [event for event in self.events if event.kind == kind]


def from_carol() -> list[Filter]:
    return [Filter(authors=frozenset({CAROL.pubkey}))]


async def publish(connection: RelayConnection, event: Event) -> None:
    ok = await connection.publish(event)
    assert ok.accepted, ok.message


async def test_a_job_goes_through_the_relay_and_comes_back_done(office: Office, url: str) -> None:
    heard = Answers()
    async with connected(url) as service, office.open(relay_urls=(url,)):
        await service.subscribe("carol", from_carol, heard.on_event)
        (beat,) = await heard.hear(11998)
        await publish(service, assignment("issue 1"))
        (result,) = await heard.hear(6050)
        (claim,) = await heard.hear(7000)
    assert nip89.parse_heartbeat(beat).status == "idle"
    assert nip90.parse_feedback(claim, SERVICE).status == "processing"
    assert nip90.parse_result(result, SERVICE).content == "done: issue 1"


async def test_what_was_assigned_while_the_node_was_away_is_done_when_it_comes(office: Office, url: str) -> None:
    heard = Answers()
    async with connected(url) as service:
        await service.subscribe("carol", from_carol, heard.on_event)
        await service.next_connection()
        await publish(service, assignment("issue 1"))
        async with office.open(relay_urls=(url,)):
            await heard.hear(6050)
        async with office.open(relay_urls=(url,)):  # the relay offers the assignment again
            await publish(service, assignment("issue 2"))
            await heard.hear(6050, 2)
    assert office.works.done == ["issue 1", "issue 2"]


async def test_many_jobs_at_once_are_all_claimed_and_delivered(office: Office, url: str) -> None:
    heard, count = Answers(), 200
    office = replace(office, settings=replace(office.settings, relay_urls=(url,), concurrency=8, queue_max=count))
    async with connected(url) as service, office.open():
        await service.subscribe("carol", from_carol, heard.on_event)
        await heard.hear(11998)
        children = [assignment(f"issue {number}") for number in range(count)]
        await asyncio.gather(*(publish(service, child) for child in children))
        results = await heard.hear(6050, count)
        claims = await heard.hear(7000, count)
    assert {result.tag("e") for result in results} == {child.id for child in children}
    assert {claim.tag("e") for claim in claims} == {child.id for child in children}
