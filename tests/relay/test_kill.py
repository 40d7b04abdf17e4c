"""kill -9 under load, again and again on one file: what was answered OK true is there, what was deleted stays away.

`RELAY_KILLS=50` kills more often than `make test` does (docs/testing.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from relaybot.nostr.event import Event, parse_event
from relaybot.nostr.messages import Ok, build_event_frame, parse_relay_message
from relaybot.relay.event_pages import all_events
from relaybot.relay.event_table import expiration_row, tag_rows
from tests.environment import untraced
from tests.relay.authors import ALICE, BOB, note
from tests.relay.client import Client

PROJECT = Path(__file__).parents[2]
KILLS = int(os.environ.get("RELAY_KILLS", "2"))
CONNECTIONS = 4
ENOUGH = 200  # answers before the relay is killed
PAST = 1_700_000_000  # this relay has the real clock
SETTINGS = 30_078  # an addressable kind
IDS_MAX = 400  # of one REQ; the relay returns 500 at most


@dataclass(slots=True)
class Promised:
    """What the relay has answered with OK true, over all its lives."""

    notes: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    doomed: set[str] = field(
        default_factory=set
    )  # a deletion was sent, and may have been carried out without an answer
    newest: dict[str, int] = field(default_factory=dict)  # of each address, the latest date
    answers: int = 0

    def take(self, event: Event) -> None:
        self.answers += 1
        if event.kind == SETTINGS:
            self.newest[event.address()] = max(event.created_at, self.newest.get(event.address(), 0))
        else:
            self.notes.add(event.id)
            self.deleted.update(tag[1] for tag in event.tags_named("e") if event.kind == 5)


@contextlib.asynccontextmanager
async def a_life(path: Path) -> AsyncIterator[str]:
    """Run a relay as a process of its own, and kill it in the end."""
    relay = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.relay.serve",
        str(path),
        cwd=PROJECT,
        env=untraced(),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        assert relay.stderr is not None
        yield f"ws://127.0.0.1:{int(await relay.stderr.readline())}"
    finally:
        relay.kill()
        await relay.wait()


async def flood(url: str, events: Sequence[Event], promised: Promised, enough: asyncio.Event) -> None:
    """Send `events`, noting each that is answered OK true, until the relay is gone."""
    by_id = {event.id: event for event in events}
    until = promised.answers + ENOUGH
    async with connect(url, compression=None) as socket:
        sending = asyncio.create_task(send_all(socket.send, events))
        try:  # ends when the relay is killed
            async for message in socket:
                answer = parse_relay_message(message)
                assert isinstance(answer, Ok)
                assert answer.accepted, answer.message
                promised.take(by_id[answer.event_id])
                if promised.answers >= until:
                    enough.set()
        except ConnectionClosed:
            pass
        finally:
            sending.cancel()
            await asyncio.wait([sending])


async def send_all(send: Callable[[str], Awaitable[None]], events: Iterable[Event]) -> None:
    with contextlib.suppress(ConnectionClosed):
        for event in events:
            await send(build_event_frame(event))


def load(life: int, number: int, doomed: Sequence[str]) -> list[Event]:
    """Return what one connection sends in one life: notes, new versions of its settings, deletions of `doomed`."""
    author = (ALICE, BOB)[number % 2]
    events = []
    for n in range(400):
        tags = [["t", f"{life}.{number}"], ["p", ALICE.pubkey]]
        if n % 2:
            tags.append(["expiration", str(2**40 + n)])  # in its place at once; the others are fresh at first
        events.append(note(f"{life}.{number}.{n}", by=author, tags=tags, at=PAST + n))
        if n % 10 == 0:
            events.append(note(str(n), by=author, kind=SETTINGS, tags=[["d", f"{number}"]], at=PAST + life * 1_000 + n))
    deletions = [note("", by=author, kind=5, tags=[["e", id_]], at=PAST + life) for id_ in doomed]
    return [*deletions, *events]


async def test_everything_answered_ok_true_survives_kill_9(path: Path) -> None:
    promised = Promised()
    for life in range(KILLS):
        kept = {by: [] for by in (ALICE.pubkey, BOB.pubkey)} if life == 0 else by_author(path, promised)
        async with a_life(path) as url:
            await keeps_its_promises(url, promised)
            enough = asyncio.Event()
            floods = []
            for number in range(CONNECTIONS):
                mine = kept[(ALICE, BOB)[number % 2].pubkey]
                doomed = mine[number // 2 : 20 : 2]
                promised.doomed.update(doomed)
                sent = load(life, number, doomed)
                floods.append(asyncio.create_task(flood(url, sent, promised, enough)))
            await enough.wait()
        await asyncio.gather(*floods)
        is_sound(path)
    async with a_life(path) as url:
        await keeps_its_promises(url, promised)
    assert len(promised.deleted) >= (KILLS > 1)


async def keeps_its_promises(url: str, promised: Promised) -> None:
    """Ask the relay, as a stranger does, for everything it has ever accepted."""
    wanted = sorted(promised.notes)
    async with connect(url, compression=None) as socket:
        client = Client(socket)
        found: set[str] = set()
        for start in range(0, len(wanted), IDS_MAX):
            found.update(await client.stored({"ids": wanted[start : start + IDS_MAX]}))
        assert promised.notes - promised.doomed <= found <= promised.notes - promised.deleted
        for address, created_at in promised.newest.items():
            _, author, d = address.split(":")
            named = {"kinds": [SETTINGS], "authors": [author], "#d": [d]}
            assert len(await client.stored(named)) == 1
            assert len(await client.stored({**named, "since": created_at})) == 1


def by_author(path: Path, promised: Promised) -> dict[str, list[str]]:
    """Return the notes that are promised and not deleted, by who wrote them."""
    events = [event for event in map(parse_event, all_events(path, now=0)) if event.kind == 1]
    return {
        author.pubkey: [event.id for event in events if event.pubkey == author.pubkey and event.id in promised.notes]
        for author in (ALICE, BOB)
    }


def is_sound(path: Path) -> None:
    """Look at the file itself: SQLite's own check, and every index row against the events."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        events = [(seq, parse_event(raw)) for seq, raw in connection.execute("SELECT seq, raw FROM event")]
        tags = {row for seq, event in events for row in tag_rows(event, seq)}
        expirations = {row for seq, event in events if (row := expiration_row(event, seq)) is not None}
        assert len({event.id for _, event in events}) == len(events)
        assert set(connection.execute("SELECT * FROM tag")) == tags
        assert set(connection.execute("SELECT * FROM expiration")) == expirations
