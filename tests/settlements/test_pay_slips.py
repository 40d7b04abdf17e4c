"""What nodes are told of their earnings, and when."""

from __future__ import annotations

from handlers.pay_slips import TOLD_SECONDS, tell_nodes
from relaybot.nostr.event import parse_event
from relaybot.nostr.pay_slips import PaySlip, parse_pay_slip
from tests.settlements.conftest import PRICE, Till
from tests.settlements.test_card_money import CAROL, delivered, paying_carol
from wallet.accounts import user
from wallet.money import Msat


async def slips(till: Till) -> list[PaySlip]:
    """Let nodes be told, and return all slips that are owed to Carol, oldest first."""
    assert not await tell_nodes(till.bot)
    rows = await till.book.database.fetch("SELECT event FROM outbox ORDER BY created_at, id")
    events = [parse_event(row["event"]) for row in rows]
    mine = [one for one in events if one.tag("t") == "payslip" and one.tag("p") == CAROL.pubkey]
    return [parse_pay_slip(one, CAROL) for one in mine]


async def test_a_node_is_told_at_most_once_a_minute_what_the_book_paid_it(till: Till) -> None:
    till = paying_carol(till)
    clock = till.bot.clock
    await till.funded(3 * 12_000)
    assert await slips(till) == []
    for number in range(3):
        job = await till.ask_for_job(text=f"issue {number}")
        await delivered(till, job["id"])
        if number < 2:
            assert await slips(till) == [PaySlip(1, Msat(PRICE // 2))]  # the first at once
    clock.advance(TOLD_SECONDS)  # type: ignore[attr-defined]  # a SetClock
    told = [PaySlip(1, Msat(PRICE // 2)), PaySlip(3, Msat(3 * PRICE // 2))]
    assert await slips(till) == told
    assert told[-1].earned_msat == await till.book.balance(user(CAROL.pubkey))
    clock.advance(TOLD_SECONDS)  # type: ignore[attr-defined]
    assert await slips(till) == told  # nothing new, nothing said
