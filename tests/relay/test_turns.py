"""Attack I8: whoever asks the store for a thousand slow things waits for them, and nobody else does."""

from __future__ import annotations

import asyncio

import pytest

from relaybot.relay.turns import ASKER, Turns


async def asked(turns: Turns, who: str, served: list[str]) -> None:
    ASKER.set(who)
    async with turns.one():
        served.append(who)
        await asyncio.sleep(0)


async def test_whoever_asks_once_is_served_next_however_much_another_has_asked_before() -> None:
    turns, served = Turns(), list[str]()
    order = ["mallory"] * 100 + ["bob", "eve", "bob"]
    await asyncio.gather(*(asyncio.create_task(asked(turns, who, served)) for who in order))
    assert served[:6] == ["mallory", "mallory", "bob", "eve", "mallory", "bob"]
    assert len(served) == len(order)


async def test_who_gives_up_keeps_nobody_waiting() -> None:
    turns, served = Turns(), list[str]()
    async with turns.one():
        first, second = (asyncio.create_task(asked(turns, who, served)) for who in ("bob", "eve"))
        await asyncio.sleep(0)
        first.cancel()
    second.cancel()  # its turn has come, and it does not know yet
    for task in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await task
    await asked(turns, "carol", served)
    assert served == ["carol"]
