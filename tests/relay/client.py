"""A client of the relay as strangers have it: a websocket and JSON."""

from __future__ import annotations

import json
from typing import Any

from websockets.asyncio.client import ClientConnection

from relaybot.nostr.event import Event
from tests.relay.authors import obj


class Client:
    """One websocket to the relay."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *message: object) -> None:
        """Send one message, element by element."""
        await self.socket.send(json.dumps(message))

    async def send_text(self, text: str) -> None:
        """Send a text that may be no message at all."""
        await self.socket.send(text)

    async def hear(self) -> list[Any]:
        """Return the relay's next message."""
        message: list[Any] = json.loads(await self.socket.recv())
        return message

    async def publish(self, event: Event) -> list[Any]:
        """Send an event, return the answer."""
        await self.send("EVENT", obj(event))
        return await self.hear()

    async def accepted(self, *events: Event) -> None:
        """Send events which the relay must take."""
        for event in events:
            assert await self.publish(event) == ["OK", event.id, True, ""]

    async def stored(self, *filters: dict[str, Any], sub: str = "stored") -> list[str]:
        """Return the ids of what is stored, in the order of their coming."""
        await self.subscribe(*filters, sub=sub)
        ids = await self.until_eose(sub)
        await self.send("CLOSE", sub)
        return ids

    async def subscribe(self, *filters: dict[str, Any], sub: str) -> None:
        """Open a subscription, without reading anything."""
        await self.send("REQ", sub, *filters)

    async def until_eose(self, sub: str) -> list[str]:
        """Return the ids of the events that come before EOSE."""
        ids = []
        while (message := await self.hear())[:2] != ["EOSE", sub]:
            assert message[:2] == ["EVENT", sub], message
            ids.append(message[2]["id"])
        return ids

    async def hears_nothing_more(self, sub: str = "nothing") -> None:
        """Assert that nothing is on its way: the next that comes answers a question asked now."""
        await self.subscribe({"ids": ["0" * 64]}, sub=sub)
        assert await self.hear() == ["EOSE", sub, ["finish"]]
        await self.send("CLOSE", sub)
