"""What compute nodes do: announce themselves, take assignments, deliver well, badly, late, twice, or never."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relaybot.nostr import nip89, nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event
from tests.simulator.cast import KEYRING, METER_KIND, SCRIBE_KIND, key_of
from tests.simulator.timeline import Chance, wait

if TYPE_CHECKING:
    from tests.simulator.world import World

MANNERS = ("good", "unclaimed", "error", "silent", "vanishes", "late", "twice", "stranger", "garbage", "greedy")
WEIGHTS = (54, 5, 7, 5, 5, 11, 4, 3, 4, 2)
BEAT_SECONDS = 250.0


class Worker:
    """One compute node."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._key = key_of(name)
        self._service = KEYRING.key("service").pubkey
        self._seen: set[str] = set()

    async def run(self) -> None:
        """Announce, beat, and work, for ever."""
        self._world.spawn(self._beats())
        while True:
            child = await self._world.until(self._next, 1e9)
            self._seen.add(child.id)
            self._world.spawn(self._work(child)).set_name("person")

    def _next(self) -> Event | None:
        for event in self._world.heard.get(self._key.pubkey, []):
            if event.kind in nip90.REQUEST_KINDS and event.id not in self._seen and event.pubkey == self._service:
                return event
        return None

    async def _beats(self) -> None:
        world, announced = self._world, False
        while True:
            now = world.clock.now()
            if not announced:
                announcement = nip89.build_worker_announcement(
                    self._key,
                    identifier="bee",
                    service=self._service,
                    kinds=[SCRIBE_KIND, METER_KIND],
                    name=self._name,
                    about="",
                    expiration=now + 100_000,
                    now=now,
                )
                world.spawn(world.say(announcement))
                announced = True
            beat = nip89.build_heartbeat(self._key, service=self._service, status="idle", expiration=now + 900, now=now)
            world.spawn(world.say(beat))
            await wait(BEAT_SECONDS)

    async def _work(self, child: Event) -> None:
        world = self._world
        chance = world.chance(f"work/{child.id}")
        manner = "good" if world.quiet else chance.choices(MANNERS, WEIGHTS)[0]
        world.tell(f"{self._name} has assignment {child.id[:6]}: {manner}")
        await wait(chance.seconds(4))
        if manner == "silent":
            return
        if manner != "unclaimed":
            await self._report(child, "processing")
        await wait(chance.seconds(14))
        match manner:
            case "error":
                await self._report(child, "error", "no luck")
            case "vanishes":
                pass
            case "late":
                await wait(33)
                await self._deliver(child, chance)
            case "stranger":
                await self._deliver(child, chance, by="mallory")
                await wait(5)
                await self._deliver(child, chance)
            case "twice":
                await asyncio.gather(self._deliver(child, chance), self._deliver(child, chance))
            case "garbage":
                garbage = [["e", child.id], ["p", child.pubkey], ["encrypted"]]
                now = world.clock.now()
                await world.say(self._key.sign(kind=child.kind + 1000, content="?", tags=garbage, created_at=now))
            case _:
                await self._deliver(child, chance, greedy=manner == "greedy")

    async def _report(self, child: Event, status: nip90.Status, text: str = "") -> None:
        world = self._world
        event = nip90.build_feedback(self._key, request=child, status=status, text=text, now=world.clock.now())
        world.spawn(world.say(event))

    async def _deliver(self, child: Event, chance: Chance, *, by: str = "", greedy: bool = False) -> None:
        """Deliver. The content says who did it and what was used: the audit reads it at the customer's."""
        world, name = self._world, by or self._name
        tokens = chance.choice((0, 10, 70, 1_230, 9_999_990 if greedy else 4_000))
        result = nip90.build_result(
            key_of(name),
            request=child,
            content=f"{name} {tokens} {child.id} {chance.randrange(1_000)}",
            encrypt=Encryption(NIP44, chance.randbytes(32)),
            now=world.clock.now(),
            usage=[("tokens", tokens)],
        )
        world.tell(f"{name} delivers {child.id[:6]}")
        await world.say(result, own=chance.of(90) or world.quiet, tries=40)
