"""A client that knows nothing of the relay but its address: a websocket, JSON, and a key for each role.

Keys are new in each run, so that a relay that has seen earlier runs knows nothing of them.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection

from relaybot.nostr.event import Event, encode_event
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip42 import build_auth_event

NOW = int(time.time())
ALICE, BOB, CAROL = (KeyPair(secrets.token_bytes(32)) for _ in range(3))


def key() -> KeyPair:
    """Return a key that nobody has used."""
    return KeyPair(secrets.token_bytes(32))


def note(
    content: str = "",
    *,
    by: KeyPair = ALICE,
    kind: int = 1,
    tags: Sequence[Sequence[str]] = (),
    at: int = NOW,
) -> Event:
    """Return a signed event."""
    return by.sign(kind=kind, content=content, tags=tags, created_at=at)


def obj(event: Event) -> dict[str, Any]:
    """Return the event as decoded JSON."""
    decoded: dict[str, Any] = msgspec.json.decode(encode_event(event))
    return decoded


def in_order(events: Sequence[Event]) -> list[Event]:
    """Return events as NIP-01 wants them sent: newest first, ties by lowest id."""
    return sorted(events, key=lambda event: (-event.created_at, event.id))


def ids(events: Sequence[Event]) -> list[str]:
    """Return the ids, in order."""
    return [event.id for event in events]


class Guest:
    """One websocket; challenges (NIP-42) are kept, whenever they come, and notices are not answers."""

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self._socket = socket
        self._url = url
        self.challenge: str | None = None

    async def send(self, *message: object) -> None:
        """Send one message, element by element."""
        await self._socket.send(json.dumps(message))

    async def hear(self) -> list[Any]:
        """Return the relay's next message that is no challenge."""
        while True:
            message: list[Any] = json.loads(await self._socket.recv())
            if message[0] != "AUTH":
                return message
            self.challenge = message[1]

    async def publish(self, event: Event) -> list[Any]:
        """Send an event, return the answer."""
        await self.send("EVENT", obj(event))
        return await self.hear()

    async def accepted(self, *events: Event) -> None:
        """Send events which the relay must take, or have."""
        for event in events:
            answer = await self.publish(event)
            assert answer[:3] == ["OK", event.id, True], answer

    async def refused(self, event: Event, prefix: str) -> None:
        """Send an event which the relay must refuse with this prefix."""
        answer = await self.publish(event)
        assert answer[:3] == ["OK", event.id, False], answer
        assert answer[3].startswith(f"{prefix}: "), answer

    async def subscribe(self, *filters: dict[str, Any], sub: str = "s") -> list[str]:
        """Open a subscription, return the ids of what is stored, in the order of their coming."""
        await self.send("REQ", sub, *filters)
        found = []
        while (message := await self.hear())[:2] != ["EOSE", sub]:
            assert message[:2] == ["EVENT", sub], message
            found.append(message[2]["id"])
        return found

    async def stored(self, *filters: dict[str, Any]) -> list[str]:
        """Return the ids of what is stored, and end the subscription."""
        found = await self.subscribe(*filters, sub="stored")
        await self.send("CLOSE", "stored")
        return found

    async def hint(self, *filters: dict[str, Any]) -> list[Any]:
        """Return what comes behind the subscription in EOSE."""
        await self.send("REQ", "hint", *filters)
        while (message := await self.hear())[0] != "EOSE":
            pass
        await self.send("CLOSE", "hint")
        return message[2:]

    async def closed(self, prefix: str, *message: object) -> None:
        """Say something that must be answered with CLOSED and this prefix."""
        await self.send(*message)
        answer = await self.hear()
        assert answer[:2] == ["CLOSED", message[1]], answer
        assert answer[2].startswith(f"{prefix}: "), answer

    async def count(self, *filters: dict[str, Any]) -> int:
        """Return the relay's answer to COUNT."""
        await self.send("COUNT", "count", *filters)
        verb, query_id, counted = await self.hear()
        assert (verb, query_id) == ("COUNT", "count")
        found: int = counted["count"]
        return found

    async def provoke(self) -> str:
        """Have the relay send a challenge, if it has not yet: by asking for what needs one."""
        if self.challenge is None:
            await self.closed("auth-required", "REQ", "provoke", {"kinds": [1059], "#p": [key().pubkey]})
        assert self.challenge is not None, "the challenge comes before the refusal"
        return self.challenge

    async def prove(self, *keys: KeyPair) -> None:
        """AUTH with these keys."""
        challenge = await self.provoke()
        for keypair in keys:
            answer = await self.authenticate(
                build_auth_event(keypair, relay_url=self._url, challenge=challenge, now=int(time.time()))
            )
            assert answer[2] is True, answer

    async def authenticate(self, event: Event) -> list[Any]:
        """Send AUTH, return the OK."""
        await self.send("AUTH", obj(event))
        return await self.hear()

    async def hears_nothing_more(self) -> None:
        """Assert that nothing is on its way: the next that comes answers a question asked now."""
        assert await self.subscribe({"ids": ["0" * 64]}, sub="nothing") == []
        await self.send("CLOSE", "nothing")
