"""kill -9 under load: what was answered OK true is there afterwards, and the file is sound."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from relaybot.nostr.event import Event
from relaybot.nostr.messages import Ok, build_event_frame, parse_relay_message
from relaybot.relay.events import EventStore
from relaybot.relay.settings import RelayLimits
from tests.relay.authors import ALICE, BOB, note

PROJECT = Path(__file__).parents[2]
CONNECTIONS = 4
PAST = 1_700_000_000  # this relay has the real clock


async def flood(url: str, events: list[Event], accepted: set[str], enough: asyncio.Event) -> None:
    """Send `events`, noting each that is answered OK true, until the relay is gone."""
    async with connect(url, compression=None) as socket:
        sending = asyncio.create_task(send_all(socket.send, events))
        try:  # ends when the relay is killed
            async for message in socket:
                answer = parse_relay_message(message)
                assert isinstance(answer, Ok)
                assert answer.accepted, answer.message
                accepted.add(answer.event_id)
                if len(accepted) >= 300:
                    enough.set()
        except ConnectionClosed:
            pass
        finally:
            sending.cancel()
            await asyncio.wait([sending])


async def send_all(send: Callable[[str], Awaitable[None]], events: list[Event]) -> None:
    with contextlib.suppress(ConnectionClosed):
        for event in events:
            await send(build_event_frame(event))


@pytest.mark.parametrize("attempt", range(2))
async def test_everything_answered_ok_true_survives_kill_9(path: Path, attempt: int) -> None:
    relay = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.relay.serve",
        str(path),
        cwd=PROJECT,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert relay.stderr is not None
    url = f"ws://127.0.0.1:{int(await relay.stderr.readline())}"
    accepted: set[str] = set()
    enough = asyncio.Event()
    floods = [
        asyncio.create_task(flood(url, some_events(f"{attempt}.{number}"), accepted, enough))
        for number in range(CONNECTIONS)
    ]
    await enough.wait()
    relay.kill()
    await relay.wait()
    await asyncio.gather(*floods)
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()
    store = await EventStore.open(path, RelayLimits())
    assert store.known(sorted(accepted)) == accepted
    await store.close()


def some_events(name: str) -> list[Event]:
    tags = [["t", name], ["p", ALICE.pubkey]]
    return [note(f"{name}.{n}", by=(ALICE, BOB)[n % 2], tags=tags, at=PAST + n) for n in range(1_000)]
