"""The API's endpoints for money: what somebody has and why, and how it comes and goes."""

from __future__ import annotations

from aiohttp import web

from handlers.conversation import Asked
from handlers.earnings import earned, sums_of, why
from handlers.self_service import done_before
from handlers.targets import payout
from handlers.topups import topup
from handlers.withdraw_links import encode_lnurl, end_link, make_link, open_links
from handlers.withdrawals import withdraw
from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, is_hex
from relaybot.web.account.desk import Desk
from relaybot.web.account.history import reason_of
from relaybot.web.account.topups import deposits_of
from relaybot.web.account.withdrawals import payouts_of
from relaybot.web.api import models
from relaybot.web.api.acting import act
from relaybot.web.api.door import Call
from wallet.accounts import person
from wallet.ledger import Insert
from wallet.onchain import Deposit
from wallet.statements import balance_of, held_of, history_page
from wallet.targets import targets_of
from wallet.wording import class_in_words

NEWEST = 50

_SIGNS = {None: 0, "in": 1, "out": -1}


async def balance(desk: Desk, call: Call) -> models.Balance:
    """Return what the caller has."""
    async with desk.bot.book.database.snapshot() as reader:
        found, held = await balance_of(reader, call.pubkey), await held_of(reader, call.pubkey)
    return models.Balance(
        sats_msat=found.has.sats,
        card_msat=found.has.card,
        promo_msat=found.has.promo,
        maturing_msat=found.maturing_msat,
        owed_msat=found.owed_msat,
        held_msat=found.held_msat,
        held=[models.Held.model_validate(dict(row)) for row in held],
    )


async def history(desk: Desk, call: Call) -> models.History:
    """Return a page of entries."""
    asked: models.HistoryQuery = call.query
    entries, before = await history_page(
        desk.bot.book.database,
        person(call.pubkey),
        limit=asked.limit,
        before=asked.before,
        only=asked.money or "",
        sign=_SIGNS[asked.way],
    )
    shown = [
        models.Entry(
            id=one.id,
            money=class_in_words(one.account),
            amount_msat=one.amount_msat,
            balance_msat=one.balance_msat,
            what=reason_of(one),
            created_at=one.created_at,
        )
        for one in entries
    ]
    return models.History(entries=shown, next=before)


async def earnings(desk: Desk, call: Call) -> models.Earnings:
    """Return what the caller has earned."""
    async with desk.bot.book.database.snapshot() as reader:
        found = await earned(reader, call.pubkey)
    sums = [
        models.EarningsSum(agent=one.agent, role=one.role, amount_msat=one.amount_msat, count=one.count)
        for one in sums_of(found)
    ]
    newest = [
        models.Earning(
            id=one.id, agent=one.agent, role=one.role, money=one.cls, amount_msat=one.amount_msat, created_at=one.at
        )
        for one in found[:NEWEST]
    ]
    return models.Earnings(sums=sums, newest=newest)


async def explained(desk: Desk, call: Call) -> models.Why:
    """Explain one entry of the caller's own."""
    async with desk.bot.book.database.snapshot() as reader:
        found = await why(reader, call.pubkey, call.query.id)
    return models.Why(
        id=found.id,
        amount_msat=found.amount_msat,
        words=list(found.words),
        share=found.path,
        split=found.split,
        created_at=found.at,
    )


async def payout_settings(desk: Desk, call: Call) -> models.Payout:
    """Return where the caller's earnings go."""
    row = await desk.bot.book.row("users", call.pubkey)
    own = row["threshold_msat"] if row is not None else None
    threshold = desk.bot.payout_rules.threshold_msat if own is None else own
    return models.Payout(targets=list(await targets_of(desk.bot.book, call.pubkey)), threshold_msat=threshold)


async def change_payout(desk: Desk, call: Call) -> models.Payout:
    """Change it, by the command `payout`."""
    asked: models.PayoutChange = call.body
    words = ([asked.target] if asked.target is not None else []) + (
        ["threshold", str(asked.threshold_sats)] if asked.threshold_sats is not None else []
    )
    if not words:
        raise Rejected("invalid", "say a target, a threshold, or both")
    await act(desk, call, "payout", payout, words)
    return await payout_settings(desk, call)


async def make_topup(desk: Desk, call: Call) -> models.Topup:
    """Make an invoice, or tell the caller's address, by the command `topup`."""
    asked: models.TopupOrder = call.body
    done = await act(
        desk,
        call,
        "topup",
        topup,
        (str(asked.sats), asked.way),
        resource=lambda reply: address_in(reply.text, asked.way),
    )
    if asked.way == "lightning":
        return await _topup(desk, call.pubkey, done.id)
    return models.Topup(
        id=done.id, way="onchain", state=None, amount_msat=asked.sats * 1_000, received_msat=0, address=done.resource
    )


async def one_topup(desk: Desk, call: Call) -> models.Topup:
    """Return an invoice of the caller's own."""
    return await _topup(desk, call.pubkey, call.path["id"])


async def deposits(desk: Desk, call: Call) -> models.Deposits:
    """Return what arrived on the chain."""
    rows, tip = await deposits_of(desk, call.pubkey)
    found = [Deposit.of_row(row) for row in rows]
    return models.Deposits(
        deposits=[
            models.Deposit(
                id=one.id,
                address=one.address,
                amount_msat=one.amount_msat,
                state=one.state.value,
                confirmations=max(0, one.depth(tip)),
                needs=one.needs,
                created_at=one.created_at,
            )
            for one in found
        ]
    )


async def quote(desk: Desk, call: Call) -> models.Quote:
    """Say what a withdrawal would take; nothing is done."""
    asked = Asked(call.pubkey, "0" * HEX32_LENGTH, desk.bot.clock.now(), withdrawal_words(call.body))
    reply = await withdraw(desk.bot, asked)
    made = next((one.values for one in reply.changes if isinstance(one, Insert) and one.table == "payouts"), None)
    amount = int(made["amount_msat"] or 0) if made is not None else sum(one.amount_msat for one in reply.transfers)
    reserve = int(made["reserve_msat"] or 0) if made is not None else 0
    return models.Quote(amount_msat=amount, reserve_msat=reserve, words=reply.text)


async def make_withdrawal(desk: Desk, call: Call) -> models.Withdrawal:
    """Send what is the caller's, by the command `withdraw`."""
    done = await act(desk, call, "withdraw", withdraw, withdrawal_words(call.body))
    return await _withdrawal(desk, call.pubkey, done.id)


async def one_withdrawal(desk: Desk, call: Call) -> models.Withdrawal:
    """Return a withdrawal of the caller's own."""
    return await _withdrawal(desk, call.pubkey, call.path["id"])


async def payouts(desk: Desk, call: Call) -> models.Payouts:
    """Return what went out."""
    return models.Payouts(
        payouts=[
            models.OnePayout(
                to=row["target"], **{name: row[name] for name in models.OnePayout.model_fields if name != "to"}
            )
            for row in await payouts_of(desk, call.pubkey)
        ]
    )


async def links(desk: Desk, call: Call) -> models.Links:
    """Return the links that withdraw."""
    return models.Links(
        links=[
            models.Link(id=row["id"], amount_msat=row["amount_msat"], expires_at=row["expires_at"])
            for row in await open_links(desk.bot, call.pubkey)
        ]
    )


async def make_withdraw_link(desk: Desk, call: Call) -> models.Link:
    """Make a link that withdraws; it is told once."""
    done = await act(
        desk,
        call,
        "withdraw-link",
        make_link,
        (str(call.body.sats),),
        resource=lambda reply: next(one.id for one in reply.changes if isinstance(one, Insert)),
        secret="told once",  # noqa: S106  what is kept instead of one
    )
    row = await desk.bot.book.row("withdraw_links", done.resource)
    assert row is not None, f"link {done.resource} was made"
    lnurl = None if done.again else encode_lnurl(done.text)
    return models.Link(id=row["id"], amount_msat=row["amount_msat"], expires_at=row["expires_at"], lnurl=lnurl)


async def end_withdraw_link(desk: Desk, call: Call) -> models.Done:
    """End a link."""
    done = await act(desk, call, "end-link", end_link, (call.path["id"],))
    return models.Done(words=done.text)


def withdrawal_words(order: models.WithdrawalOrder) -> tuple[str, ...]:
    """Return the words of the command for what is asked."""
    return (order.to,) if order.sats is None else (str(order.sats), order.to)


def address_in(text: str, way: str) -> str:
    """Return the address in what the command answers: its last line but one."""
    return text.splitlines()[-2] if way == "onchain" else ""


async def _topup(desk: Desk, pubkey: str, request_id: str) -> models.Topup:
    row = await desk.bot.book.row("invoices", f"topup/{request_id}") if is_hex(request_id, HEX32_LENGTH) else None
    if row is None or row["owner"] != pubkey:
        raise web.HTTPNotFound
    expired = row["expires_at"] <= desk.bot.clock.now()
    return models.Topup(
        id=request_id,
        way="lightning",
        state="paid" if row["received_msat"] else "expired" if expired else "waiting",
        amount_msat=row["amount_msat"],
        received_msat=row["received_msat"],
        bolt11=row["bolt11"],
        expires_at=row["expires_at"],
    )


async def _withdrawal(desk: Desk, pubkey: str, request_id: str) -> models.Withdrawal:
    known = is_hex(request_id, HEX32_LENGTH)
    done = await done_before(desk.bot, pubkey, request_id, "withdraw") if known else None
    if done is None:
        raise web.HTTPNotFound
    row = await desk.bot.book.row("payouts", request_id)
    if row is None:
        return models.Withdrawal(id=request_id, words=done.text)
    return models.Withdrawal(
        id=request_id,
        words=done.text,
        state=row["state"],
        amount_msat=row["amount_msat"],
        fee_msat=row["fee_msat"],
        to=row["target"],
        reason=row["reason"],
    )
