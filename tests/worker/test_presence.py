"""How a node says that it is there."""

from __future__ import annotations

import json

from websockets.asyncio.server import ServerConnection

from relaybot.nostr import nip89
from relaybot.nostr.event import Event
from relaybot.nostr.keys import verify
from relaybot.worker.presence import ANNOUNCED_SECONDS, SETTLE_SECONDS
from tests.connection.conftest import NOW, until
from tests.worker.conftest import CAROL, SERVICE, Office, assignment


async def test_a_node_introduces_itself_with_profile_announcement_and_heartbeat(office: Office) -> None:
    async with office.open():
        (profile,) = await office.hear(0)
        (announced,) = await office.hear(31990)
        (beat,) = await office.hear(11998)
    assert all(verify(event) and event.pubkey == CAROL.pubkey for event in (profile, announced, beat))
    assert json.loads(profile.content) == {
        "name": "carol",
        "about": "One graphics card",
        "lud16": "carol@wallets.test",
    }
    said = nip89.parse_worker_announcement(announced)
    assert (said.service, said.kinds, said.name) == (SERVICE.pubkey, frozenset({5050, 5100}), "carol")
    assert said.expiration == NOW + ANNOUNCED_SECONDS
    alive = nip89.parse_heartbeat(beat)
    assert (alive.status, alive.service, alive.expiration) == ("idle", SERVICE.pubkey, NOW + 900)


async def test_a_profile_without_an_address_has_no_empty_one(office: Office) -> None:
    async with office.open(lud16=None, about=""):
        (profile,) = await office.hear(0)
    assert json.loads(profile.content) == {"name": "carol"}


async def test_a_slow_heart_says_that_it_beats_slowly(office: Office) -> None:
    async with office.open(heartbeat_seconds=3600.0):
        (beat,) = await office.hear(11998)
    assert nip89.parse_heartbeat(beat).expiration == NOW + 3 * 3600


async def test_a_relay_that_was_away_is_told_everything_again(office: Office) -> None:
    async with office.open():
        await office.hear(11998)
        await office.relays[0].sockets[0].close()
        profiles, announced, beats = await office.hear(0, 2), await office.hear(31990, 2), await office.hear(11998, 2)
    assert len({event.id for event in profiles}) == len({event.id for event in announced}) == 1
    assert len({event.id for event in beats}) == 1  # nothing has changed, and no time has gone by


async def test_heartbeats_go_on_and_no_two_have_one_date(office: Office) -> None:
    async def on_event(socket: ServerConnection, event: Event) -> None:
        office.clock.advance(1)
        await socket.send(json.dumps(["OK", event.id, True, ""]))

    office.relays[0].on_event = on_event
    async with office.open(heartbeat_seconds=0.01):
        beats = await office.hear(11998, 6)
    dates = [beat.created_at for beat in beats]
    assert dates == sorted(dates)
    assert len(set(dates)) == len({beat.id for beat in beats}) > 1  # a new connection may be told the last one again


async def test_an_announcement_is_renewed_before_it_ends(office: Office) -> None:
    async with office.open(heartbeat_seconds=0.01):
        await office.hear(31990)
        office.clock.advance(ANNOUNCED_SECONDS // 2)
        _, renewed = await office.hear(31990, 2)
    assert nip89.parse_worker_announcement(renewed).expiration == NOW + ANNOUNCED_SECONDS * 3 // 2


async def test_a_node_with_its_hands_full_says_busy_and_then_idle_again(office: Office) -> None:
    office.works.release.clear()
    async with office.open():
        await office.hear(11998)
        await office.give(assignment())
        beats = await office.hear(11998, 2)
        assert nip89.parse_heartbeat(beats[1]).status == "busy"
        office.works.release.set()
        beats = await office.hear(11998, 3)
    assert [nip89.parse_heartbeat(beat).status for beat in beats] == ["idle", "busy", "idle"]
    assert [beat.created_at for beat in beats] == [NOW, NOW + 1, NOW + 2]
    assert SETTLE_SECONDS in office.pauses


async def test_a_node_with_a_hand_free_stays_idle(office: Office) -> None:
    office.works.release.clear()
    async with office.open(concurrency=2):
        await office.hear(11998)
        await office.give(assignment())
        await office.hear(7000)
        await until(lambda: SETTLE_SECONDS in office.pauses)
        office.works.release.set()
        await office.hear(6050)
    assert {nip89.parse_heartbeat(beat).status for beat in office.said(11998)} == {"idle"}


async def test_a_relay_that_refuses_to_hear_it_does_not_stop_a_node(office: Office) -> None:
    async def on_event(socket: ServerConnection, event: Event) -> None:
        if event.kind == 31990:
            await socket.close()  # before its OK
        else:
            await socket.send(json.dumps(["OK", event.id, event.kind in (6050, 7000), "restricted: members only"]))

    office.relays[0].on_event = on_event
    async with office.open():
        await office.hear(31990, 2)
        await until(lambda: len(office.asked()) == len(office.relays[0].sockets))
        office.relays[0].events = [assignment()]
        await office.hear(6050)
