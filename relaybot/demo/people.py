"""The people of the story: clients with keys of their own, speaking websockets and HTTP only."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp

from relaybot.connection import RelayConnection
from relaybot.errors import RelaybotError, Unavailable
from relaybot.nostr import nip17, nip59
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.messages import Ok
from wallet.money import from_sat

PATIENCE_SECONDS = 60.0  # for anything the story waits for
RETRY_SECONDS = 0.1  # before something that did not answer is asked again


class StoryBroken(RelaybotError):
    """Something did not happen as the story says."""


class Person:
    """One client: publishes, listens to what is addressed to it, and has a wallet in the simulated world."""

    def __init__(self, name: str, role: str, keypair: KeyPair, relay: RelayConnection, wallets: str) -> None:
        self.name = name
        self.role = role
        self.keypair = keypair
        self.address = f"{name}@wallets.test"
        self._relay = relay
        self._wallets = wallets
        self._seen: dict[str, Event] = {}
        self._news = asyncio.Condition()

    @property
    def pubkey(self) -> str:
        """Return the hex pubkey."""
        return self.keypair.pubkey

    async def listen(self) -> None:
        """Subscribe to everything that names this person."""
        to_me = {"p": frozenset({self.pubkey})}
        # Whoever names the kind of private messages is asked for AUTH; without it, they are left out.
        mine = [Filter(tags=to_me), Filter(kinds=frozenset({nip59.WRAP_KIND}), tags=to_me)]
        await self._relay.subscribe("mine", lambda: mine, self._on_event)

    async def publish(self, kind: int, content: str, tags: Sequence[Sequence[str]] = ()) -> Event:
        """Sign and publish an event; return it when the relay has it."""
        event = self.keypair.sign(kind=kind, content=content, tags=tags, created_at=int(time.time()))
        await self.send(event)
        return event

    async def send(self, event: Event) -> None:
        """Publish a signed event, again and again, until the relay says OK."""
        async with patience(f"{self.name}'s event of kind {event.kind} is accepted"):
            while True:
                try:
                    ok = await self.offer(event)
                except Unavailable:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                if not ok.accepted:
                    raise StoryBroken(f"the relay refused {self.name}'s event: {ok.message}")
                return

    async def offer(self, event: Event) -> Ok:
        """Publish a signed event once, and return the relay's answer. Unavailable without an answer."""
        return await self._relay.publish(event)

    def seen(self) -> Sequence[Event]:
        """Return everything that came to this person so far."""
        return list(self._seen.values())

    async def wait_for(self, what: str, wanted: Callable[[Event], bool]) -> Event:
        """Return the first event to this person that is `wanted`, whenever it came."""
        async with patience(f"{self.name} gets {what}"), self._news:
            while True:
                for event in self._seen.values():
                    if wanted(event):
                        return event
                await self._news.wait()

    async def say(self, service: str, text: str) -> tuple[Event, str]:
        """Send a private message (NIP-17); return its wrap, and the id of the rumor in it."""
        now = int(time.time())
        rumor = nip17.build_message(self.pubkey, [service], text, now=now)
        nonces = (secrets.token_bytes(32), secrets.token_bytes(32))
        wrap = nip59.wrap(
            rumor,
            self.keypair,
            service,
            ephemeral=KeyPair(secrets.token_bytes(32)),
            nonces=nonces,
            seal_created_at=now,
            wrap_created_at=now,
        )
        await self.send(wrap)
        return wrap, rumor.id

    async def ask(self, service: str, command: str) -> str:
        """Send a private message to the service and return its answer."""
        _, asked = await self.say(service, command)
        answer = await self.wait_for(
            f"an answer to {command.split(maxsplit=1)[0]!r}", lambda event: self._answers(event, asked)
        )
        return self._read(answer).text

    def _answers(self, event: Event, rumor_id: str) -> bool:
        return event.kind == nip59.WRAP_KIND and self._read(event).reply_to == rumor_id

    def _read(self, wrap: Event) -> nip17.Message:
        return nip17.parse_message(nip59.unwrap(wrap, self.keypair))

    async def pay(self, bolt11: str, sat: int | None = None) -> None:
        """Pay an invoice or an offer from this person's wallet; `sat` if it names no sum."""
        amount = {} if sat is None else {"amount_msat": from_sat(sat)}
        await self._wallet("POST", f"/wallets/{self.name}/pay", {"bolt11": bolt11, **amount})

    async def received_msat(self) -> int:
        """Return what this person's wallet has received so far."""
        wallet = await self._wallet("GET", f"/wallets/{self.name}", None)
        return sum(int(payment["amount_msat"]) for payment in wallet["received"])

    async def _wallet(
        self, method: str, path: str, body: Mapping[str, str | int] | None
    ) -> dict[str, list[dict[str, int]]]:
        async with aiohttp.ClientSession() as http, http.request(method, self._wallets + path, json=body) as answer:
            found: dict[str, list[dict[str, int]]] = await answer.json()
            if answer.status >= 400:  # noqa: PLR2004  HTTP's own border between good and bad
                raise StoryBroken(f"{self.name}'s wallet refused: {found}")
            return found

    async def _on_event(self, event: Event) -> None:
        async with self._news:
            self._seen.setdefault(event.id, event)
            self._news.notify_all()


@asynccontextmanager
async def patience(what: str) -> AsyncIterator[None]:
    """Give what happens inside a minute, and name it if it does not."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except TimeoutError:
        raise StoryBroken(f"waited {PATIENCE_SECONDS:.0f} s in vain: {what}") from None


async def until(what: str, true: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again until something is true."""
    async with patience(what):
        while not await true():  # noqa: ASYNC110  the book of another process tells nobody
            await asyncio.sleep(RETRY_SECONDS)
