"""Money that arrives over Lightning: the node's settled invoices, credited once, in the order the node paid them.

The cursor moves in the Plan that credits, so nothing is missed while we were away and
nothing is credited twice. What arrived is credited, not what was asked. If the invoice
was a job's and the job still waits, its price is held in the same Plan.

A node that was restored from a backup counts its settlements anew: new payments get indexes
that are behind our cursor, and would be skipped. So whenever the node may have been
replaced (at the start, after a silence, after a lost connection), it is asked for the last
settlement that is in the book, and for how many changes of invoices it has counted. If it
knows less than we do, nothing is read until the operator says that it may be read again
from the beginning; what is in the book by its payment hash is never credited again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from handlers.bot import Bot, written
from handlers.connections import notifications
from handlers.credits import plan_company_fed, plan_fed, plan_paid, require_no_debt
from handlers.invoices import by_app, proof_of
from handlers.zaps import plan_given
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr import nip47
from wallet.accounts import CAPITAL, NODE_LIGHTNING, user
from wallet.bolt11_invoice import parse_bolt11
from wallet.internal import check_internal, costs_nothing, plan_internal
from wallet.ledger import Change, Journal, Plan, Transfer, Update, Value, Values, Verdict
from wallet.lightning import Settlement
from wallet.money import Msat, format_sat
from wallet.payout_notices import Notice
from wallet.purses import debt_of
from wallet.under_way import SETTLEMENTS

log = structlog.get_logger()

CHANGES = f"{SETTLEMENTS}/changes"  # the node's count of changes of invoices when that one was paid
WAIT_SECONDS = 60  # one long poll at the node
INSIDE = 0  # in the place of the node's number: an invoice that was paid inside the book
CANCELLED_MAX = 20  # invoices cancelled in one round


class Settlements:
    """Follow the node's settlements, one process's view of them."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._is_known = False  # the node is the one whose settlements we read before

    async def follow(self) -> bool:
        """Wait for the next settlement after the cursor and credit it; False while the node has gone back."""
        cursors = await self._bot.book.database.rows_by_id("cursors", (SETTLEMENTS, CHANGES))
        if not self._is_known:
            problem = await self._problem(cursors)
            self._bot.alarms.report(SETTLEMENTS, problem)
            if problem is not None:
                return False
        self._is_known = False  # until it has answered, it may be stopped and replaced
        after = cursors[SETTLEMENTS]["value"] if SETTLEMENTS in cursors else 0
        settlement = await self._bot.lightning.next_settlement(after_index=after, timeout_seconds=WAIT_SECONDS)
        if settlement is not None:
            answer = await self._bot.book.decide(lambda: _decide(self._bot, settlement))
            if answer.verdict is Verdict.CONFLICT:  # others were faster, again and again: tried again a little later
                raise Unavailable(f"settlement {settlement.pay_index}: {answer.reason}")
            assert answer.done, f"settlement {settlement.pay_index}: {answer.reason}"
            self._is_known = True
        return True

    async def _problem(self, cursors: Mapping[str, Row]) -> str | None:
        """Return in words how the node has gone back behind what is in the book; None if it has not."""
        if SETTLEMENTS not in cursors or not cursors[SETTLEMENTS]["value"]:
            return None
        index, mark = cursors[SETTLEMENTS]["value"], cursors[SETTLEMENTS]["mark"]
        seen = cursors[CHANGES]["value"] if CHANGES in cursors else 0
        counted = await self._bot.lightning.invoice_changes()
        if counted < seen:
            return f"the node has counted {counted} changes of invoices, and {seen} were seen: it was set back"
        there = await self._bot.lightning.next_settlement(after_index=index - 1, timeout_seconds=0)
        if there is not None and there.pay_index == index and mark and there.payment_hash != mark:
            return f"the node's settlement number {index} is another one than was credited: it was set back"
        return None  # an invoice that was deleted is skipped, and says nothing


async def _decide(bot: Bot, settlement: Settlement) -> Plan | None:
    row, seen = await bot.book.row("cursors", SETTLEMENTS), await bot.book.row("cursors", CHANGES)
    if row is not None and row["value"] >= settlement.pay_index:
        return None
    read: Values = {"value": settlement.pay_index, "mark": settlement.payment_hash}
    moved: list[Change] = [written("cursors", SETTLEMENTS, row, read)]  # from where it was read: never back
    if settlement.change > (seen["value"] if seen is not None else 0):
        moved.append(written("cursors", CHANGES, seen, {"value": settlement.change, "mark": ""}))
    key = f"invoice/{settlement.payment_hash}/settled"
    if await bot.book.row("plans", key) is not None:  # seen before: the node's index was replayed or renumbered
        version = row["version"] if row is not None else 0  # a second replay moves the cursor over the same index again
        return Plan(f"cursors/{SETTLEMENTS}/{settlement.pay_index}/{version}", changes=tuple(moved))
    return (await _plan_arrived(bot, settlement)).plan(key, *moved)


async def _plan_arrived(bot: Bot, settlement: Settlement) -> Journal:
    invoice = await bot.book.row("invoices", settlement.label)
    if invoice is not None:
        log.info("settled", label=invoice["id"], owner=invoice["owner"], amount_msat=settlement.amount_msat)
        return await plan_settled(bot, settlement, invoice)
    offer = await bot.book.row("offers", settlement.offer_id) if settlement.offer_id is not None else None
    if offer is not None:
        log.info("settled", label=settlement.label, owner=offer["owner"], amount_msat=settlement.amount_msat)
        return await _plan_topped_up(bot, offer["owner"], settlement.amount_msat, "topup")
    # A keysend, or an invoice made by hand at the node: the operator's own money.
    log.warning("unknown_invoice_settled", pay_index=settlement.pay_index, amount_msat=settlement.amount_msat)
    return Journal((Transfer(NODE_LIGHTNING, CAPITAL, settlement.amount_msat, "unknown invoice"),))


async def plan_settled(bot: Bot, settlement: Settlement, invoice: Row, **more: Value) -> Journal:
    """Return what a paid invoice of ours moves and changes, whatever it was made for.

    `more` are further columns of the invoice's row, whose version is guarded.
    """
    values: Values = {
        "received_msat": invoice["received_msat"] + settlement.amount_msat,
        "preimage": settlement.preimage,
        "settled_at": settlement.paid_at,
        **more,
    }
    paid = Journal(changes=(Update("invoices", invoice["id"], values, expect={"version": invoice["version"]}),))
    paid += Journal(changes=await _told_apps(bot, settlement, invoice))
    if invoice["purpose"] == "gift":
        return paid + await plan_given(bot, settlement, invoice["bolt11"])
    if invoice["company"]:
        return paid + await _plan_of_company(bot, settlement, invoice)
    return paid + await _plan_asked(bot, settlement.amount_msat, invoice)


async def _plan_of_company(bot: Bot, settlement: Settlement, invoice: Row) -> Journal:
    """Credit a company; whoever asked for the invoice is told. What one of our users paid inside brings no bonus."""
    org, asker, amount = invoice["company"], invoice["owner"], settlement.amount_msat
    inside = settlement.pay_index == INSIDE
    cause = f"{'internal' if inside else 'invoice'}/{settlement.payment_hash}"
    fed = await plan_company_fed(bot, cause, org, asker, amount, brings_bonus=not inside)
    return fed + Journal(changes=(bot.message(asker, f"{format_sat(amount)} arrived: {org} is topped up."),))


async def _told_apps(bot: Bot, settlement: Settlement, invoice: Row) -> tuple[Change, ...]:
    """Return word to the apps that are connected to a balance which was paid into (NIP-47)."""
    if not invoice["owner"] or invoice["job"] or invoice["company"]:
        return ()
    received = nip47.Transaction(
        "incoming",
        "settled",
        settlement.payment_hash,
        settlement.amount_msat,
        invoice["created_at"],
        invoice=invoice["bolt11"],
        description=invoice["description"] or None,
        preimage=settlement.preimage or None,
        expires_at=invoice["expires_at"],
        settled_at=settlement.paid_at,
    )
    return tuple(await notifications(bot, invoice["owner"], "payment_received", received))


async def _plan_asked(bot: Bot, amount: Msat, invoice: Row) -> Journal:
    """Credit whoever asked for an invoice; their job goes on if it waits for this money, else a message tells them."""
    owner = invoice["owner"]
    job = await bot.book.row("jobs", invoice["job"]) if invoice["job"] else None
    if job is None:
        # An app that made the invoice hears of it by itself; its user asked for no message (NIP-17: kind 10050).
        return await _plan_topped_up(bot, owner, amount, invoice["purpose"], asked=not by_app(invoice["id"]))
    journal, goes_on = await plan_paid(bot, job, amount)
    if goes_on:
        return journal
    debt = (await debt_of(bot.book.database, owner)).owed_msat
    said = f"{format_sat(amount)} arrived after its job had ended: it is your balance now, for the next one."
    if debt:
        said = f"{format_sat(amount)} arrived. You owed {format_sat(debt)}: too little is left for the job."
    return journal + Journal(changes=(bot.message(owner, said),))


async def _plan_topped_up(bot: Bot, owner: str, amount: Msat, purpose: str, *, asked: bool = True) -> Journal:
    arrived = Notice(owner, f"{bot.shown(amount)} arrived: your balance is topped up.", asked)
    return await plan_fed(bot, owner, amount, purpose) + Journal(changes=tuple(await bot.tell(arrived)))


# ---- invoices of ours that one of our users pays


@dataclass(frozen=True, slots=True)
class InternalPayment:
    """What is paid, and what it moves and changes: a part of the payer's own Plan."""

    bolt11: str
    payment_hash: str
    amount_msat: Msat
    preimage: str  # as hex; '' if only the node knows it
    journal: Journal


async def pay_internally(bot: Bot, payer: str, bolt11: str, amount_msat: Msat | None = None) -> InternalPayment | None:
    """Pay an invoice of ours inside the book, at no fee; None if `bolt11` is not one of ours.

    `amount_msat` is for invoices that name no amount. Rejected if it cannot be paid: it has been,
    it has expired, the balance is too small, the payer owes us. The journal goes into a Plan
    that derives from the payer's request; once that is applied, the node is told to take no
    payment of the invoice. One that was on its way is credited, too.
    """
    invoice = await _own_invoice(bot, bolt11)
    if invoice is None:
        return None
    now = bot.clock.now()
    amount = check_internal(invoice, amount_msat, now=now)
    owes_nothing = await require_no_debt(bot, payer)
    balance = await bot.book.balance(user(payer))
    if balance < amount:
        raise Rejected("invalid", f"your balance is {format_sat(balance)}", wanted=format_sat(amount))
    proof = proof_of(bot, label=invoice["id"], payment_hash=invoice["payment_hash"])
    settlement = Settlement(invoice["id"], invoice["payment_hash"], amount, INSIDE, now, preimage=proof)
    settled = await plan_settled(bot, settlement, invoice, cancel_at=now, payer=payer)
    journal = Journal(changes=(owes_nothing,)) + plan_internal(settled, payer)
    if invoice["purpose"] == "gift" and costs_nothing(journal, payer):  # its receipt would be a zap that cost nothing
        raise Rejected("invalid", "this gift is to yourself")
    return InternalPayment(invoice["bolt11"], invoice["payment_hash"], amount, proof, journal)


async def _own_invoice(bot: Bot, bolt11: str) -> Row | None:
    """Return the invoice if the whole text is ours: another one may carry the same payment hash (B3)."""
    read = parse_bolt11(bolt11)
    rows = await bot.book.database.fetch("SELECT * FROM invoices WHERE payment_hash = :hash", hash=read.payment_hash)
    return next((row for row in rows if row["bolt11"] == read.bolt11), None)


async def cancel_paid(bot: Bot) -> bool:
    """Tell the node to take no payment of invoices that were paid inside the book; tell whether there were any."""
    rows = await bot.book.database.fetch(
        "SELECT id, version, payment_hash, owner, received_msat FROM invoices WHERE cancel_at IS NOT NULL"
        " ORDER BY cancel_at LIMIT :limit",
        limit=CANCELLED_MAX,
    )
    for row in rows:
        await bot.lightning.cancel_invoice(row["id"])
        done = Update("invoices", row["id"], {"cancel_at": None}, expect={"version": row["version"]})
        await bot.book.apply(Plan(f"invoice/{row['payment_hash']}/cancelled", changes=(done,)))
        log.info("settled_inside", label=row["id"], owner=row["owner"], amount_msat=row["received_msat"])
    return bool(rows)
