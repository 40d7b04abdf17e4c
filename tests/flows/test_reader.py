"""Reading relays: what could not be taken when it came is read again, from wherever we left it."""

from __future__ import annotations

import time

import pytest

from relaybot import app, inbox
from tests.flows.harness import World, world


async def two_requests_while_the_node_is_away(w: World) -> str:
    """Fill the inbox with a request that waits for the node; return the id of one that found it full."""
    await w.network.close()
    bob = await w.join("bob")
    first, second = (
        bob.keypair.sign(
            kind=5050, content="", tags=[["i", issue, "text"], ["p", w.agent]], created_at=int(time.time())
        )
        for issue in ("one", "two")
    )
    assert (await bob.offer(first)).accepted
    refused = await bob.offer(second)
    assert not refused.accepted
    assert refused.message.startswith("error: ")  # the sender may try again; but it is stored here, and not forgotten
    await w.network.start()
    return second.id


async def handled(w: World, request_id: str) -> None:
    """Wait until the request became a job."""

    async def is_job() -> bool:
        return bool(await w.rows("SELECT id FROM jobs WHERE id = :id", id=request_id))

    await w.until(is_job)


async def test_an_event_that_found_the_inbox_full_is_read_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "CURSOR_SECONDS", 0.01)
    monkeypatch.setattr(inbox, "RETRY_SECONDS", 0.01)
    async with world(limits={"inbox_max": 1}) as w:
        await handled(w, await two_requests_while_the_node_is_away(w))


async def test_an_event_that_found_the_inbox_full_is_read_again_after_a_restart() -> None:
    async with world(limits={"inbox_max": 1}) as w:
        missed = await two_requests_while_the_node_is_away(w)
        await w.stop()
        await w.start()
        await handled(w, missed)
