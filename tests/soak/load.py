"""The mixed load: people who publish, read, leave in the middle, take nothing, or talk nonsense, without end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import connect

from relaybot.nostr.keys import KeyPair
from relaybot.nostr.messages import build_event_frame

IN_FLIGHT = 32  # of one who publishes
PEOPLE = [KeyPair(bytes([number]) * 32) for number in range(1, 33)]
PAST = 1_700_000_000
PASSING, VERSIONED, NOTE = 20_001, 30_078, 1  # kinds: ephemeral, addressable, regular
NONSENSE = ("", "[", '["EVENT",{}]', '["REQ","",{}]', '["REQ","s",{"ids":["x"]}]', '["HELLO"]', "ü" * 500)
LAST_WORDS = ("EOSE", "COUNT", "CLOSED", "NOTICE")


@dataclass(slots=True)
class Done:
    """What has been done so far."""

    published: int = 0
    asked: int = 0
    connections: int = 0


async def publisher(url: str, chance: random.Random, done: Done) -> None:
    """Publish notes, passing words, and new versions of old things; some of it twice."""
    while True:
        done.connections += 1
        async with connect(url, compression=None) as socket:
            for _ in range(chance.randint(5, 60)):
                frames = [_event_frame(chance, done.published + number) for number in range(IN_FLIGHT)]
                frames += chance.sample(frames, 3)
                for frame in frames:
                    await socket.send(frame)
                for _ in frames:
                    await socket.recv()
                done.published += len(frames)


async def reader(url: str, chance: random.Random, done: Done) -> None:
    """Open and replace subscriptions, count, talk nonsense, leave in the middle of an answer."""
    while True:
        done.connections += 1
        async with connect(url, compression=None) as socket:
            for _ in range(chance.randint(1, 40)):
                await socket.send(chance.choice(NONSENSE) if chance.random() < 0.1 else _question(chance))
                if chance.random() < 0.05:
                    break
                while json.loads(await socket.recv())[0] not in LAST_WORDS:
                    pass
                done.asked += 1


async def sleeper(url: str, chance: random.Random, done: Done) -> None:
    """Subscribe to everything and take nothing of it, until the relay has had enough of that, or we have."""
    while True:
        done.connections += 1
        async with connect(url, compression=None, max_queue=1, ping_interval=None) as socket:
            await socket.send('["REQ","all",{"limit":500}]')
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(1, 20)):
                    await socket.wait_closed()
            socket.transport.abort()  # no good-bye


def _event_frame(chance: random.Random, number: int) -> str:
    kind = chance.choices((NOTE, PASSING, VERSIONED), (6, 2, 2))[0]
    tags = (("d", str(number % 200)), ("t", str(number % 50)), ("p", chance.choice(PEOPLE).pubkey))
    content = "x" * chance.randint(1, 400)
    return build_event_frame(
        chance.choice(PEOPLE).sign(kind=kind, content=content, tags=tags, created_at=PAST + number)
    )


def _question(chance: random.Random) -> str:
    filter_: dict[str, Any] = chance.choice(
        (
            {"kinds": [NOTE], "limit": 100},
            {"authors": [chance.choice(PEOPLE).pubkey], "limit": 20},
            {"#t": [str(chance.randint(0, 49))], "limit": 50},
            {"ids": [f"{chance.getrandbits(256):064x}"]},
            {"#p": [chance.choice(PEOPLE).pubkey], "kinds": [NOTE, VERSIONED], "limit": 500},
        )
    )
    verb = "REQ" if chance.random() < 0.9 else "COUNT"
    if verb == "COUNT":
        filter_ = {"authors": [chance.choice(PEOPLE).pubkey], "kinds": [VERSIONED]}
    return json.dumps([verb, f"s{chance.randint(0, 5)}", filter_])
