"""A simulated world: what outlives the bot, the bot's lives one after the other, and everybody who speaks with it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from relaybot.errors import Unavailable
from relaybot.nostr.event import Event
from relaybot.simulator.network import SimulatedNetwork
from tests.simulator.audit import Auditor
from tests.simulator.cast import NAMES
from tests.simulator.coins import Coins
from tests.simulator.disk import Disk
from tests.simulator.facts import Facts
from tests.simulator.life import Life, is_only
from tests.simulator.node import NodeManners
from tests.simulator.relays import FAR, Manners, Shelf
from tests.simulator.timeline import Chance, VirtualLoop, WorldClock, wait
from tests.simulator.wallets import WalletHost

DOWN_SECONDS_MAX = 60.0  # between a death and the next start
SENT_TRIES_MAX = 40  # of a patient client
WALLET_MSAT = 50_000_000


class World:
    """Everything but the script: `script.py` says what happens in it."""

    def __init__(self, seed: int, directory: Path, loop: VirtualLoop, tell: Callable[[str], None]) -> None:
        self.seed = seed
        self.loop = loop
        self.clock, self.bot_clock = WorldClock(loop), WorldClock(loop)
        self.facts = Facts()
        self.heard: dict[str, list[Event]] = defaultdict(list)  # what the bot said, by each `e` and `p` it names
        self.quiet = False
        self.life: Life | None = None
        self.lives = 0
        self.down_seconds: float | None = None  # after the next death; else by chance
        self._tell = tell
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()
        self.network = SimulatedNetwork(
            directory, clock=self.clock, delay_seconds=0.2, chance=self.chance("network").randbytes
        )
        self.network.open()
        self.network._store.run("PRAGMA locking_mode = EXCLUSIVE")  # nobody else has it: no locks, half the time
        for name in NAMES:
            self.network.people.open(name, WALLET_MSAT)
        self.disk = Disk(directory / "book.sqlite3", self.chance("disk"))
        self.coins = Coins(self)
        if self.coins.there:
            self.coins.give()
        self.node = NodeManners(self.network, self.chance("node"), self.spawn)
        self.wallets = WalletHost(self.network, self.chance("wallets"))
        self.own = Shelf("own", self._heard)
        self.far = Shelf(FAR, self._heard_far)
        self.far_manners = Manners(self.chance("far"))
        self.auditor = Auditor(self)
        self.disk.on_commit = self.auditor.after_commit

    # ---- telling

    def chance(self, part: str) -> Chance:
        """Return the random numbers of one part of the world."""
        return Chance(self.seed, part)

    def tell(self, text: str) -> None:
        """Add a line to the story."""
        self._tell(f"{self.loop.time():7.1f}  {text}")

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Have something happen beside everything else, whether the bot lives or not."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.auditor.found(f"the script itself failed: {task.exception()!r}")

    # ---- the bot's lives

    def start(self) -> None:
        """Start the bot, once more."""
        self.lives += 1
        self.tell(f"the bot starts (life {self.lives})")
        self.life = Life(self, self.lives)

    def kill(self) -> None:
        """Kill the bot at once."""
        if self.life is not None and self.life.alive:
            self.life.die("between two borders")

    def life_over(self, error: BaseException | None) -> None:
        """Hear that a life is over, and why."""
        assert self.life is not None
        if self.life.ended_at:
            self.tell(f"the bot is killed: {self.life.ended_at}")
        elif error is None:
            self.tell("the bot ends as it is told")
        elif is_only(error, Unavailable):
            self.tell(f"the bot could not start: {_words(error)}")
        else:
            self.auditor.found(f"the bot ended by a fault of its own: {_words(error)}")
        self._ended.set()

    async def keep_alive(self) -> None:
        """Start the bot again after each end, a while later."""
        chance = self.chance("operator")
        while True:
            self._ended.clear()
            self.start()
            await self._ended.wait()
            down = 1.0 + chance.seconds(DOWN_SECONDS_MAX) if self.down_seconds is None else self.down_seconds
            self.down_seconds = None
            await self.outage(wait(2.0 if self.quiet else down))

    async def outage(self, work: Coroutine[Any, Any, None]) -> None:
        """Count the time that something takes as time in which nobody may wait for the bot."""
        begun = self.loop.time()
        await work
        self.facts.outage_seconds += self.loop.time() - begun

    # ---- saying and hearing

    async def say(
        self, event: Event, *, own: bool = True, far: bool = True, tries: int = SENT_TRIES_MAX, hurry: bool = False
    ) -> None:
        """Send an event to relays until they have it; in a hurry, to our own at this very moment."""
        chance = self.chance(f"say/{event.id}")
        if far:
            self.spawn(self._say_far(event, chance.seconds(2)))
        if own:
            await self._say_own(event, chance, tries, hurry=hurry)

    async def _say_far(self, event: Event, seconds: float) -> None:
        await wait(seconds)
        self.far.put(event)

    async def _say_own(self, event: Event, chance: Chance, tries: int, *, hurry: bool) -> None:
        for number in range(tries):
            await wait(0.0 if hurry and number == 0 else chance.seconds(1))
            life = self.life
            ok = await life.offer(event) if life is not None and life.alive else None
            if ok is not None and (ok.accepted or ok.message.startswith(("invalid", "blocked"))):
                return
            await wait(1 + chance.seconds(6))

    def _heard_far(self, event: Event) -> None:
        self._heard(event)
        if self.life is not None and self.life.alive:
            self.life.heard_far(event)

    def _heard(self, event: Event) -> None:
        """Note an event that a relay has now; both relays have most."""
        if event.id in self.facts.heard_at:
            return
        self.facts.heard_at[event.id] = self.loop.time()
        self.auditor.heard(event)
        for tag in event.tags:
            if tag[0] in {"e", "p"} and len(tag) > 1:
                self.heard[tag[1]].append(event)
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def until(self, look: Callable[[], Any], seconds: float) -> Any:
        """Return what `look` finds as soon as it finds something in what is heard; None after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    news = self._news
                    if found := look():
                        return found
                    await news.wait()
        except TimeoutError:
            return None

    # ---- the end

    def busy(self) -> bool:
        """Tell whether somebody in the story still has something to do."""
        return any(task.get_name() == "person" for task in self._tasks)

    async def close(self) -> None:
        """End everything."""
        self.kill()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.life is not None:
            await asyncio.wait({self.life.task})
        await self.network.close()
        self.auditor.close()


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"
