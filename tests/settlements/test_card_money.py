"""Card and promo money through the product's own handlers: held, captured, matured; a debt blocks and is cleared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from handlers import assignments, jobs
from handlers.assigning import Assigning
from handlers.bot import Bot, Offered
from handlers.lots import follow_lots
from handlers.money_commands import balance_text, history_text, statement_text
from handlers.refunds import plan_refunded
from relaybot.config import parse_config
from relaybot.errors import Rejected
from relaybot.nostr import nip59, nip90
from relaybot.nostr.encryption import NIP44, Encryption
from relaybot.nostr.event import Event, parse_event
from tests.settlements.conftest import ALICE, BOB, Till
from wallet.accounts import CAPITAL, NODE_LIGHTNING, REVENUE, Account, Class, maturing, owed, person, user
from wallet.audit import unsound
from wallet.book import Book
from wallet.deposits import CardDeposit, Debt, plan_bought, plan_disputed
from wallet.feed import Sums, opening_journal
from wallet.journals import plan_bonus
from wallet.ledger import Insert, Journal, Plan, Put, Transfer, Values, Verdict
from wallet.lots import Lot
from wallet.money import Msat, from_sat
from wallet.states import DepositState

CAROL = ALICE  # who does the work here
TODAY = 120 * 86_400


async def booked(book: Book, key: str, journal: Journal) -> None:
    assert (await book.apply(journal.plan(key))).done


async def buys(till: Till, sat: int) -> CardDeposit:
    deposit = CardDeposit(
        "d1", 1, user(BOB.pubkey, Class.CARD), BOB.pubkey, from_sat(sat), DepositState.GOOD, Msat(0), 0
    )
    await booked(till.book, "card/d1", plan_bought(deposit, Debt(Msat(0))))
    return deposit


async def asks(till: Till) -> str:
    row = await till.ask_for_job()
    assert row["state"] == "held"
    return str(row["id"])


async def assigned(till: Till, job_id: str) -> Event:
    """Let a node have the job; return its assignment."""
    now = till.bot.clock.now()
    beat: Values = {
        "kinds": "[5050]",
        "announced_at": now,
        "announced_until": now + 900,
        "status": "idle",
        "beat_at": now,
        "beat_until": now + 900,
        "assigned_at": 0,
    }
    await till.book.apply(Plan(f"test/{job_id}", changes=(Put("workers", CAROL.pubkey, {}, fresh=beat),)))
    await Assigning(till.bot).step()
    job = await till.book.row("jobs", job_id)
    assert job is not None
    rows = await till.book.database.rows_by_id("outbox", [job["assignment"]])
    return parse_event(rows[job["assignment"]]["event"])


def result_of(till: Till, child: Event, usage: Iterable[tuple[str, int]] = ()) -> Event:
    """Return the node's result of an assignment."""
    now, secret = till.bot.clock.now(), Encryption(NIP44, b"n" * 32)
    return nip90.build_result(CAROL, request=child, content="done", usage=usage, encrypt=secret, now=now)


async def delivered(till: Till, job_id: str) -> None:
    """Let a node have the job, and deliver."""
    child = await assigned(till, job_id)
    decision = await assignments.on_result(till.bot, result_of(till, child))
    assert isinstance(decision, Plan)
    assert (await till.book.apply(decision)).done


HALF = {"name": "A", "kinds": [5050], "price": "12000 sat", "shares": [{"to": "$worker", "percent": "50%"}]}


def paying_carol(till: Till, agent: Mapping[str, Any] = HALF, **card: int) -> Till:
    """Return the till with an agent that gives half to the node that does the work, unless another is given."""
    path = till.bot.config.service.data_dir
    config = parse_config({"agents": {"autodev": agent}, "card": card}, config_dir=path)
    [(pubkey, old)] = till.bot.agents.items()
    agents = Offered({pubkey: replace(old, split=config.splits["autodev"])})
    bot = replace(till.bot, config=config, agents=agents, workers_allowed=frozenset({CAROL.pubkey}))
    return Till(bot, till.network, till.committing)


async def has(till: Till, *accounts: Account) -> list[int]:
    assert await unsound(till.book.database) == []
    return [await till.book.balance(account) for account in accounts]


async def test_a_job_of_mixed_money_is_held_captured_and_matures(till: Till) -> None:
    till = paying_carol(till)
    await booked(till.book, "fund", opening_journal(Sums(from_sat(20_000))))
    await booked(till.book, "bonus", plan_bonus(person(BOB.pubkey), from_sat(1_000), "bonus"))
    await buys(till, 7_000)
    await booked(till.book, "topup", Journal((Transfer(NODE_LIGHTNING, user(BOB.pubkey), from_sat(5_000), "topup"),)))
    await delivered(till, await asks(till))
    platform = await has(till, *(REVENUE[cls] for cls in Class))
    assert platform == [1_000_000, 5_000_000, 0]
    assert await has(till, maturing(CAROL.pubkey), user(CAROL.pubkey), user(BOB.pubkey)) == [
        2_000_000,
        4_000_000,
        1_000_000,
    ]
    await follow_lots(till.bot)
    assert await has(till, maturing(CAROL.pubkey)) == [2_000_000]  # not yet
    till.bot.clock.advance(TODAY)  # type: ignore[attr-defined]  # a SetClock
    await follow_lots(till.bot)
    assert await has(till, maturing(CAROL.pubkey), user(CAROL.pubkey)) == [0, 6_000_000]
    row = await till.book.row("users", CAROL.pubkey)
    assert row is not None
    assert row["payout_check_at"] == till.bot.clock.now()


async def test_a_lot_waits_while_the_node_does_not_cover_it(till: Till) -> None:
    till = paying_carol(till, maturity_days=0)
    await buys(till, 12_000)
    await delivered(till, await asks(till))
    await follow_lots(till.bot)
    assert await has(till, maturing(CAROL.pubkey), user(CAROL.pubkey)) == [6_000_000, 0]
    await booked(till.book, "fund", opening_journal(Sums(from_sat(6_000))))
    await follow_lots(till.bot)
    assert await has(till, maturing(CAROL.pubkey), user(CAROL.pubkey)) == [0, 6_000_000]


async def test_so_much_a_day_is_advanced(till: Till) -> None:
    till = paying_carol(till, advance_sats_per_day=4_000)
    await booked(till.book, "fund", opening_journal(Sums(from_sat(20_000))))
    await buys(till, 12_000)
    await delivered(till, await asks(till))
    for _ in range(2):
        await follow_lots(till.bot)
        assert await has(till, maturing(CAROL.pubkey), user(CAROL.pubkey)) == [2_000_000, 4_000_000]
    till.bot.clock.advance(86_400)  # type: ignore[attr-defined]  # a SetClock
    await follow_lots(till.bot)
    assert await has(till, maturing(CAROL.pubkey), user(CAROL.pubkey), CAPITAL) == [0, 6_000_000, 20_000_000]


async def test_a_debt_refuses_jobs_is_told_privately_and_cleared_by_the_next_top_up(till: Till) -> None:
    deposit = await buys(till, 12_000)
    job = await asks(till)
    await booked(till.book, "card/d1/disputed", plan_disputed(deposit, await lots(till), now=till.bot.clock.now()))
    refused = await _request(till)
    assert refused is not None
    feedback, message = (parse_event(str(row.values["event"])) for row in refused.changes if isinstance(row, Insert))
    assert (feedback.kind, message.kind) == (7000, 1059)
    assert "12,000" not in feedback.content + str(feedback.tags)
    assert "12,000 sat" in nip59.unwrap(message, BOB).content
    await till.pay(await till.top_up(9_000))
    await till.follow()
    assert await has(till, owed(BOB.pubkey), user(BOB.pubkey)) == [-3_000_000, 0]
    # The job that held the card money ends: what comes back pays the rest, and the rest of it is Bob's to spend.
    row = await till.book.row("jobs", job)
    assert row is not None
    await till.book.apply(await jobs.plan_released(till.bot, row, "cancelled by the customer"))
    await follow_lots(till.bot)
    assert await has(till, owed(BOB.pubkey), user(BOB.pubkey, Class.CARD)) == [0, 9_000_000]
    await follow_lots(till.bot)


async def test_what_was_charged_is_paid_back_once_in_the_classes_it_was_paid_in(till: Till) -> None:
    till = paying_carol(till)
    await buys(till, 7_000)
    await booked(till.book, "topup", Journal((Transfer(NODE_LIGHTNING, user(BOB.pubkey), from_sat(5_000), "topup"),)))
    job = await asks(till)
    with pytest.raises(Rejected, match="was not charged"):
        await plan_refunded(till.bot, job)
    await delivered(till, job)
    refund = await plan_refunded(till.bot, job)
    assert [(await till.book.apply(refund)).verdict for _ in range(2)] == [Verdict.APPLIED, Verdict.ALREADY]
    assert await has(till, user(BOB.pubkey), user(BOB.pubkey, Class.CARD)) == [5_000_000, 7_000_000]
    assert sum(await has(till, user(CAROL.pubkey), maturing(CAROL.pubkey))) == 6_000_000
    row = await till.book.row("jobs", job)
    assert row is not None
    assert row["reason"] == "paid back by the operator"
    with pytest.raises(Rejected, match="no job has this id"):
        await plan_refunded(till.bot, "nonsense")


async def test_private_messages_tell_everything_of_ones_money(till: Till) -> None:
    till = paying_carol(till)
    await booked(till.book, "bonus", plan_bonus(person(BOB.pubkey), from_sat(13_000), "bonus"))
    await buys(till, 14_000)
    await booked(till.book, "topup", Journal((Transfer(NODE_LIGHTNING, user(BOB.pubkey), from_sat(1_000), "topup"),)))
    job = await asks(till)
    assert (await balance_text(till.bot, BOB.pubkey)).splitlines() == [
        "Your balance is 1,000 sat.",
        "8,000 sat bought by card: for jobs only",
        "7,000 sat given by us: for jobs only",
        f"12,000 sat held for job {job[:8]}",
    ]
    newest = (await history_text(till.bot, BOB.pubkey, ["2"])).splitlines()
    assert [line.split("  ", 1)[1] for line in newest] == [
        f"-6,000 sat (card)  held for job {job[:8]}",
        f"-6,000 sat (promo)  held for job {job[:8]}",
    ]
    lines = (await statement_text(till.bot, BOB.pubkey)).splitlines()
    assert lines[0] == "time,account,amount_msat,balance_msat,what,id"
    assert lines[3].split(",", 1)[1] == "sats,1000000,1000000,top-up,topup/0"
    assert len(lines) == 6


async def test_an_open_request_of_a_debtor_is_left_alone(till: Till) -> None:
    await booked(till.book, "debt", Journal((Transfer(owed(BOB.pubkey), CAPITAL, Msat(1), "test"),)))
    [(pubkey, agent)] = till.bot.agents.items()
    bot = replace(till.bot, agents=Offered({pubkey: replace(agent, takes_open_requests=True)}))
    request = BOB.sign(kind=5050, content="", tags=[["i", "x", "text"]], created_at=bot.clock.now())
    assert (
        await jobs.on_request(bot, request)
        == "refused, untold: blocked: your account is blocked; a private message says why"
    )


async def test_money_for_a_job_of_a_debtor_clears_the_debt_first(till: Till) -> None:
    job = await till.ask_for_job()
    await booked(till.book, "debt", Journal((Transfer(owed(BOB.pubkey), CAPITAL, from_sat(1), "test"),)))
    await till.pay(await till.invoice_of(job))
    await till.follow()
    assert await has(till, owed(BOB.pubkey), user(BOB.pubkey)) == [0, from_sat(11_999)]


async def lots(till: Till) -> list[Lot]:
    rows = await till.book.database.fetch("SELECT * FROM lots WHERE account NOT LIKE 'hold/%'")
    return [Lot.of_row(row) for row in rows]


async def _request(till: Till) -> Plan | None:
    decision = await jobs.on_request(till.bot, _event(till.bot))
    return decision if isinstance(decision, Plan) else None


def _event(bot: Bot) -> Event:
    tags = [["i", "Fix issue 43", "text"], ["p", next(iter(bot.agents))]]
    return BOB.sign(kind=5050, content="", tags=tags, created_at=bot.clock.now())
