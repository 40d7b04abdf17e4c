"""A service that takes skills and agents of others, its authors, and its operator."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from click.testing import CliRunner

from relaybot.cli import cli
from relaybot.nostr import nip17, nip59
from relaybot.nostr.event import Event
from relaybot.nostr.listings import LISTING_KIND
from splits.market import full_id
from tests.flows.harness import World


def skill_of(w: World, *, dave: str = "100 sat") -> dict[str, Any]:
    """Return a skill that gives Dave a share."""
    return {"name": "Read", "shares": [{"to": w.keys["dave"].pubkey, "role": "api", "amount": dave}]}


def agent_of(w: World, **changes: Any) -> dict[str, Any]:
    """Return an agent with that skill: half for the node, the rest for the author."""
    written = {
        "name": "Translator",
        "about": "Translates",
        "kinds": [5002],
        "price": "1000 sat",
        "skills": ["read"],
        "shares": [
            {"to": "$worker", "role": "compute", "percent": "50%"},
            {"to": w.keys["grace"].pubkey, "role": "model", "amount": "50 sat"},
        ],
        "rest": "$owner",
    }
    return {**written, **changes}


def listing(w: World, author: str, name: str, written: object, *, later: int = 0) -> Event:
    """Return a listing as its author signs it; the newest of several has the latest date."""
    content = written if isinstance(written, str) else json.dumps(written)
    tags = [("d", name)]
    return w.keys[author].sign(kind=LISTING_KIND, content=content, tags=tags, created_at=int(time.time()) + later)


async def answer_to(w: World, name: str, event: Event) -> str:
    """Publish an event and return the private message that answers it."""
    person = await w.join(name)
    await person.send(event)
    return await told(w, name, event)


async def told(w: World, name: str, event: Event) -> str:
    """Return the private message about an event."""
    person = await w.join(name)

    def read(wrap: Event) -> nip17.Message:
        return nip17.parse_message(nip59.unwrap(wrap, person.keypair))

    wrap = await person.wait_for(
        "a message about it", lambda one: one.kind == nip59.WRAP_KIND and read(one).reply_to == event.id
    )
    return read(wrap).text


async def operator(w: World, *words: str) -> Any:
    """Run a command of the operator beside the service; its JSON, or what it says is wrong."""
    arguments = [*words, "--json", "--config", str(w.data / "config.yaml")]
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    return json.loads(result.output) if result.exit_code == 0 else str(result.exception)


async def in_service(w: World, author: str, name: str, *, version: int = 1) -> str:
    """Wait until the running service has announced an agent so many times; return its hex pubkey."""
    full = full_id(name, w.keys[author].pubkey)

    async def announced() -> list[Mapping[str, Any]]:
        rows = await w.rows("SELECT event FROM outbox WHERE event LIKE :part", part=f'%["d","{full}"]%')
        return [one for row in rows if (one := json.loads(row["event"]))["kind"] == 31990]

    async def often_enough() -> bool:
        return len(await announced()) >= version

    await w.until(often_enough)
    pubkey: str = (await announced())[-1]["pubkey"]
    return pubkey
