"""Money that is given: what an invoice for a gift is for, and what happens when it is paid.

A zap to the service tops up its sender, one to an agent or on a result is shared among the
people who contributed, one to a user is theirs, and one on a request for payment pays that
job, whoever sends it. It is credited when our own node says so, in the Plan that moves the
settlement's cursor, and the receipt (9735) is part of that Plan: dated by the settlement,
so it is the same event whenever it is built.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from handlers.bot import Bot, bucket_of, check_payouts
from handlers.credits import plan_fed, plan_paid
from handlers.jobs import cause_of
from handlers.names import Kind, Named
from handlers.states import JobState
from relaybot.db.database import Row
from relaybot.errors import Rejected
from relaybot.nostr import nip57, nip90
from relaybot.nostr.event import stored_event
from relaybot.outbox import owed
from relaybot.visits import visits_owed
from splits.compute import Part
from splits.resolved import ResolvedSplit
from splits.tips import REFERRER, Weights, share_out, weights_of
from wallet.accounts import NODE_LIGHTNING, REVENUE, Account, Class, hold, owner, user
from wallet.book import transfers_of
from wallet.ledger import Change, Journal, Put, Transfer, Update, Values
from wallet.lightning import Settlement
from wallet.money import Msat, format_sat
from wallet.payout_notices import Notice

RECEIPT_RELAYS_MAX = 5  # a courtesy to the sender: each is a visit of ours


class Gift(Enum):
    """What an invoice for a gift does when it is paid."""

    TOPUP = "topup"  # credits the sender: a zap to the service
    DONATION = "donation"  # the platform's: to the service, by nobody who could be credited
    AGENT = "agent"  # shared among the people of an agent's split
    USER = "user"  # credited to its receiver
    JOB = "job"  # pays a job that waits for payment
    RESULT = "result"  # shared among those who were paid for a job


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a gift is for: `receiver` is a pubkey, or the id of an agent or a job; `owner` is who is credited, or ''."""

    gift: Gift
    receiver: str
    owner: str
    sender: str


# ---- what an invoice is for


async def purpose_of(bot: Bot, named: Named, request: nip57.ZapRequest | None) -> Purpose:
    """Return what a payment to `named` is for; Rejected if it could be credited to nobody."""
    if request is not None and request.recipient != named.pubkey:
        raise Rejected("invalid", "p: the zap request is for somebody else")
    sender = "" if request is None or request.anonymous else request.sender
    zapped = await _zapped(bot, named, request)
    if zapped is not None:
        gift, job = zapped
        return Purpose(gift, job["id"], job["customer"] if gift is Gift.JOB else "", sender)
    match named.kind:
        case Kind.USER:
            return Purpose(Gift.USER, named.pubkey, named.pubkey, sender)
        case Kind.AGENT:
            return Purpose(Gift.AGENT, named.agent, "", sender)
        case Kind.SERVICE:
            if sender:
                return Purpose(Gift.TOPUP, sender, sender, sender)
            if bot.config.zaps.anonymous == "donate":
                return Purpose(Gift.DONATION, named.pubkey, "", "")
            raise Rejected("invalid", "this address tops up whoever zaps it: zap it with your key, not anonymously")


async def _zapped(bot: Bot, named: Named, request: nip57.ZapRequest | None) -> tuple[Gift, Row] | None:
    """Return the job whose request for payment or whose result is zapped; None for any other event."""
    if request is None or request.zapped_event is None or named.kind is Kind.USER:
        return None
    sent = await bot.book.row("outbox", request.zapped_event)
    if sent is None:
        return None
    event = stored_event(sent["event"])
    job = await bot.book.row("jobs", event.tag("e") or "")
    if job is None:
        return None
    if event.kind in nip90.RESULT_KINDS:
        return Gift.RESULT, job
    asks = event.kind == nip90.FEEDBACK_KIND and event.tag("status") == "payment-required"
    return (Gift.JOB, job) if asks else None


def new_zap(purpose: Purpose, *, request: str, comment: str, now: int) -> Values:
    """Return the columns of a gift whose invoice was just made."""
    return {
        "gift": purpose.gift.value,
        "receiver": purpose.receiver,
        "sender": purpose.sender,
        "request": request,
        "comment": comment,
        "receipt": "",
        "created_at": now,
    }


# ---- what happens when it is paid


async def plan_given(bot: Bot, settlement: Settlement, bolt11: str) -> Journal:
    """Return what a paid gift moves and changes, its receipt and word to those who are credited included."""
    zap = await bot.book.row("zaps", settlement.payment_hash)
    assert zap is not None, f"an invoice for a gift without a gift: pay_index {settlement.pay_index}"
    journal = await _plan_money(bot, zap, settlement) + Journal(changes=_receipt(bot, zap, settlement, bolt11))
    if Gift(zap["gift"]) not in {Gift.AGENT, Gift.USER, Gift.RESULT}:
        return journal
    now = bot.clock.now()
    people = sorted({pubkey for transfer in journal.transfers if (pubkey := owner(transfer.credit)) is not None})
    notices = (_notice(bot, pubkey, now) for pubkey in people)
    return journal + Journal(changes=(*check_payouts(people, now), *notices))


async def _plan_money(bot: Bot, zap: Row, settlement: Settlement) -> Journal:
    amount, receiver = settlement.amount_msat, zap["receiver"]
    match Gift(zap["gift"]):
        case Gift.TOPUP:
            return await plan_fed(bot, receiver, amount, "topup")
        case Gift.DONATION:
            return Journal((Transfer(NODE_LIGHTNING, REVENUE[Class.SATS], amount, "donation"),))
        case Gift.USER:
            return await plan_fed(bot, receiver, amount, "zap")
        case Gift.JOB:
            job = await bot.book.row("jobs", receiver)
            assert job is not None, f"no job {receiver}"
            journal, goes_on = await plan_paid(bot, job, amount)
            return journal if goes_on else journal + await _kept(bot, job, amount)
        case Gift.AGENT:
            return _plan_tip(bot, settlement, await _weights_of_agent(bot, receiver))
        case Gift.RESULT:  # pragma: no branch  (the type checker knows no other)
            return _plan_tip(bot, settlement, await _weights_of_job(bot, receiver))


async def _kept(bot: Bot, job: Row, amount: Msat) -> Journal:
    """Tell a customer that what was zapped for a job is their balance: too little, or too late."""
    why = "after it had ended"
    if JobState(job["state"]) is JobState.AWAITING_PAYMENT:
        why = f"which is not enough for its price of {format_sat(job['price_msat'])}: it waits on"
    text = f"{format_sat(amount)} were zapped for job {job['id'][:8]}, {why}. They are your balance."
    return Journal(changes=tuple(await bot.tell(Notice(job["customer"], text, asked=False))))


def _plan_tip(bot: Bot, settlement: Settlement, weights: Weights) -> Journal:
    """Share a tip out, by an escrow that is empty again at once: so the accounts tell gifts from charges."""
    escrow = hold(f"zap/{settlement.payment_hash}")
    parts = share_out(settlement.amount_msat, weights, platform=bot.config.zaps.platform)
    shares = (
        Transfer(escrow, _account(part), part.amount_msat, f"{part.role}:{part.path}")
        for part in parts
        if part.amount_msat > 0
    )
    return Journal((Transfer(NODE_LIGHTNING, escrow, settlement.amount_msat, "zap"), *shares))


def _account(part: Part) -> Account:
    return user(part.to) if part.to is not None else REVENUE[Class.SATS]


async def _weights_of_agent(bot: Bot, agent_id: str) -> Weights:
    agent = next((one for one in bot.agents.values() if one.id == agent_id), None)
    return {} if agent is None else weights_of(agent.split, now=bot.clock.now())  # taken away meanwhile: the platform's


async def _weights_of_job(bot: Bot, job_id: str) -> Weights:
    """Return who was paid how much for a job; of one that was not charged, whom its split names."""
    rows = await transfers_of(bot.book.database, f"{cause_of(job_id)}/capture")
    weights: Counter[tuple[str, str]] = Counter()
    for row in rows:
        role, colon, _ = row["reason"].partition(":")
        pubkey = owner(Account(row["credit"]))
        if pubkey is not None and colon and role != REFERRER:
            weights[pubkey, role] += row["amount_msat"]
    if weights:
        return weights
    job = await bot.book.row("jobs", job_id)
    split = await bot.book.row("splits", job["split"]) if job is not None else None
    return {} if split is None else weights_of(ResolvedSplit.from_json(split["body"]), now=bot.clock.now())


def _receipt(bot: Bot, zap: Row, settlement: Settlement, bolt11: str) -> tuple[Change, ...]:
    """Return the rows of the receipt, for our relays and for those of the request; none without a request.

    An invoice that was paid inside the book, and over Lightning before the node knew, has one receipt. Two of the
    same second would be one event, and the second payment could never be booked.
    """
    if not zap["request"] or zap["receipt"]:
        return ()
    request = nip57.parse_zap_request(zap["request"])
    event = nip57.build_zap_receipt(
        bot.zapper, request, bolt11=bolt11, preimage=settlement.preimage, paid_at=settlement.paid_at
    )
    now = bot.clock.now()
    named = [url for url in request.relays if url not in bot.own_relays][:RECEIPT_RELAYS_MAX]
    mark = Update("zaps", zap["id"], {"receipt": event.id}, expect={"version": zap["version"]})
    return (owed(event, now), *visits_owed(event, named, now), mark)


def _notice(bot: Bot, pubkey: str, now: int) -> Put:
    """Return the row by which a person is told of all gifts of these minutes in one message."""
    due = bucket_of(now, bot.config.dm.batch_seconds)
    return Put("notices", f"{pubkey}/{due}", {}, fresh={"pubkey": pubkey, "due_at": due, "created_at": now})
