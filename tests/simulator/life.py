"""One life of the bot: everything the service is made of, on doors that close for good when it dies.

It mirrors `relaybot.app.serve`. Whatever is still written or called by a task of a dead life is stopped at its next
border; what it had not committed is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from handlers.announcements import announce
from handlers.bot import Bot
from relaybot.app import CURSOR_SECONDS
from relaybot.errors import Unavailable
from relaybot.loops import Stumbles, repeat
from relaybot.nostr.event import Event
from relaybot.nostr.messages import Ok
from relaybot.reader import OWN_RELAY, Reader
from relaybot.workings import Doors, build_bot, build_inbox, standing_tasks
from tests.simulator.borders import Borders
from tests.simulator.cast import KEYRING, config
from tests.simulator.disk import InlineDatabase
from tests.simulator.node import InProcessChain, InProcessNode
from tests.simulator.relays import FAR, FarRelay, OwnRelay
from tests.simulator.wallets import Wallets
from wallet.book import Book

if TYPE_CHECKING:
    from tests.simulator.world import World


Answer = TypeVar("Answer")


class Life:
    """The bot from one start to its end."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self.number = number
        self.borders = Borders(world.chance(f"borders/{number}"), on_death=self.die)
        self.ended_at = ""  # at which border
        self._database = InlineDatabase(world.disk, self.borders)
        self._own = OwnRelay(world.own, self.borders)
        self._far = FarRelay(world.far, world.far_manners, self.borders)
        self.bot: Bot | None = None  # once it is made
        self._guests: set[asyncio.Task[Any]] = set()  # what people have it do
        self.task = asyncio.get_running_loop().create_task(self._run())
        self.task.add_done_callback(self._over)

    @property
    def alive(self) -> bool:
        """Tell whether it runs."""
        return self.borders.alive

    def die(self, border: str) -> None:
        """Die here and now, as by SIGKILL."""
        self.borders.alive = False
        self.ended_at = border
        self._database.die()
        self.task.cancel()
        for guest in self._guests:
            guest.cancel()

    def stop(self) -> None:
        """End as by SIGTERM: what is being committed is committed."""
        self.task.cancel()

    async def offer(self, event: Event) -> Ok | None:
        """Send an event to the embedded relay, as a client does; None if there is no answer."""
        return await self.visit(self._own.offer(event))

    async def visit(self, work: Coroutine[Any, Any, Answer]) -> Answer | None:
        """Have the bot do something, as a page or a socket does; None if it dies over it."""
        guest = asyncio.get_running_loop().create_task(work)
        self._guests.add(guest)
        await asyncio.wait({guest})
        self._guests.discard(guest)
        return None if guest.cancelled() else guest.result()

    def heard_far(self, event: Event) -> None:
        """Have an event of the far relay on its way to the bot."""
        self._far.heard(event)

    async def _run(self) -> None:
        world, borders = self._world, self.borders
        book = Book(self._database, world.bot_clock)
        node, chain = InProcessNode(world.node, borders), InProcessChain(world.node, borders)
        chance = world.chance(f"bot/{self.number}").randbytes
        strict = Stumbles(world.bot_clock, patient=False)
        own = config(onchain=world.coins.there)
        bot = build_bot(own, KEYRING, book, node, world.bot_clock, chain=chain, chance=chance, stumbles=strict)
        self.bot = bot
        inbox = build_inbox(bot)
        reader = Reader(bot, inbox, self._own)
        self._own.take = reader.take
        look_up = partial(reader.look_up_target, [self._far])
        relays = {OWN_RELAY: self._own.publish, FAR: self._far.publish}
        doors = Doors(relays, look_up, Wallets(world.wallets, borders), self._visit)
        async with asyncio.TaskGroup() as foundation:
            committing = foundation.create_task(book.run())
            async with asyncio.TaskGroup() as tasks:
                for name, work in standing_tasks(bot, KEYRING, inbox, doors).items():
                    tasks.create_task(work, name=name)
                tasks.create_task(self._far.run(), name="far relay")
                await reader.read_own(self._own)
                progress = repeat("progress", reader.keep_up_own, wake=asyncio.Event(), seconds=CURSOR_SECONDS)
                tasks.create_task(progress, name="progress")
                await reader.read_other(self._far)
                await announce(bot, "ws://own.test")
            committing.cancel()

    async def _visit(self, relay: str, event: Event) -> Ok:
        """Bring an event to a stranger's relay, which is often away."""
        await self.borders.yielding("a stranger's relay is visited")
        if self.borders.chance.of(40):
            raise Unavailable(f"{relay} does not answer")
        return Ok(event.id, True, "")

    def _over(self, task: asyncio.Task[None]) -> None:
        self.borders.alive = False
        self._database.let_go()
        for guest in self._guests:
            guest.cancel()
        self._world.life_over(None if task.cancelled() else task.exception())


def is_only(error: BaseException, kind: type[BaseException]) -> bool:
    """Tell whether an error, or every one of a group, is of this kind."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_only(one, kind) for one in error.exceptions)
    return isinstance(error, kind)
