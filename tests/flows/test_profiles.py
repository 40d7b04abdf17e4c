"""What the service and its agents say of themselves: profiles, relay lists, announcements."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import connect

from relaybot.demo.stage import HOST
from relaybot.nostr.event import parse_event
from tests.flows.harness import World
from tests.flows.test_zaps import DOMAIN, get, town


async def test_profiles_say_where_to_zap_and_by_which_name_one_is_found() -> None:
    async with town() as w:
        found = await profiles(w, [w.bot, w.agent])
        assert found[w.bot]["nip05"] == f"_@{DOMAIN}"
        assert found[w.bot]["lud16"] == f"service@{DOMAIN}"
        assert found[w.agent]["lud16"] == f"autodev@{DOMAIN}"
        for pubkey, name in ((w.bot, "_"), (w.agent, "autodev")):
            assert (await get(w, "/.well-known/nostr.json", name=name))["names"] == {name: pubkey}


async def test_what_the_service_says_of_itself_is_published_when_it_changes_and_not_otherwise() -> None:
    async with town() as w:
        first = await said_of_itself(w)
        assert sorted(kind for kind, _ in first.values()) == [0, 0, 10002, 10002, 10050, 31990]
        await w.stop()
        await w.start()
        assert await said_of_itself(w) == first
        await w.stop()
        service = w.config.service.model_copy(update={"about": "Something else"})
        w.config = w.config.model_copy(update={"service": service})
        await w.start()
        more = {event: what for event, what in (await said_of_itself(w)).items() if event not in first}
        assert list(more.values()) == [(0, w.bot)]
        await w.stop()
        w.config = w.config.model_copy(update={"relays": ("ws://127.0.0.1:1",)})
        await w.start()
        last = [what for event, what in (await said_of_itself(w)).items() if event not in first | more]
        assert sorted(last) == sorted([(10002, w.bot), (10002, w.agent), (10050, w.bot)])


async def said_of_itself(w: World) -> dict[str, tuple[int, str]]:
    """Return kind and author of what was ever published of profiles, relay lists and announcements, by event id."""
    events = [parse_event(row["event"]) for row in await w.rows("SELECT event FROM outbox")]
    return {event.id: (event.kind, event.pubkey) for event in events if event.kind in {0, 10002, 10050, 31990}}


async def profiles(w: World, pubkeys: list[str]) -> dict[str, dict[str, Any]]:
    """Read the profiles of these keys from the relay."""
    async with asyncio.timeout(20), connect(f"ws://{HOST}:{w.port}") as relay:
        await relay.send(json.dumps(["REQ", "who", {"kinds": [0], "authors": pubkeys}]))
        found: dict[str, dict[str, Any]] = {}
        while len(found) < len(pubkeys):
            frame = json.loads(await relay.recv())
            if frame[0] == "EVENT":
                found[frame[2]["pubkey"]] = json.loads(frame[2]["content"])
        return found
