"""What a stranger can check of a service: its published days and liabilities, from relays alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from relaybot.connection import RelayConnection
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr import flow_of_funds, liabilities
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.keys import verify
from relaybot.operator.opening import Answer

SECONDS_MAX = 30.0  # for a relay to send what it has


async def verify_accounts(books: str, relay: str, proof: str | None) -> Answer:
    """Check what the key `books` (hex) has published on `relay`, and that `proof` (JSON) leads to it.

    Rejected names what is wrong; Unavailable if the relay does not answer.
    """
    events = await _read(relay, books)
    for event in events:
        if event.pubkey != books or not verify(event):
            raise Rejected("invalid", "an event is not signed by this key", found=event.id)
    days = [flow_of_funds.parse_summary(event) for event in events if event.kind == flow_of_funds.KIND]
    told = sorted(
        (liabilities.parse_liabilities(event) for event in events if event.kind == liabilities.KIND),
        key=lambda one: one.epoch,
    )
    for before, after in pairwise(told):
        if after.epoch == before.epoch + 1 and after.previous != before.event_id:
            raise Rejected("invalid", "liabilities do not name those before them", found=after.event_id)
    answer: Answer = {"days": len(days), "liabilities": len(told)}
    if told:
        answer |= {"epoch": told[-1].epoch, "owed_msat": told[-1].root.total, **_reserves(told[-1])}
    if proof is not None:
        read = liabilities.parse_proof(proof)
        published = next((one for one in told if one.event_id == read.event_id), None)
        if published is None:
            raise Rejected("invalid", "the relay does not have the liabilities of this proof", found=read.event_id)
        liabilities.check_proof(read, published)
        answer |= {"proved_for": read.leaf.who, "proved_msat": sum(read.leaf.sums), "proved_in_epoch": read.epoch}
    return answer


def _reserves(told: liabilities.Published) -> Answer:
    return {f"reserve_{name}_msat": msat for name, msat in told.reserves.items()}


async def _read(relay: str, books: str) -> Sequence[Event]:
    """Return what a relay has of the kinds of accounts by this key."""
    wanted = Filter(kinds=frozenset({flow_of_funds.KIND, liabilities.KIND}), authors=frozenset({books}))
    found: dict[str, Event] = {}
    whole = asyncio.Event()

    async def read(event: Event) -> None:
        found[event.id] = event

    async def ended() -> None:
        whole.set()

    connection = RelayConnection(relay, jitter=lambda: 0.0)
    running = asyncio.create_task(connection.run())
    try:
        await connection.subscribe("accounts", lambda: [wanted], read, ended)
        async with asyncio.timeout(SECONDS_MAX):
            await whole.wait()
    except TimeoutError:
        raise Unavailable(f"{relay} did not answer") from None
    finally:
        running.cancel()
        await asyncio.wait({running})
    return list(found.values())
