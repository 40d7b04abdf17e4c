"""The wallet service (NIP-47): an app asks, and the balance of the user who connected it answers.

A request is handled once by its event id, whatever a relay replays. What is asked to be paid
is held in the same Plan that marks the request as done, against the connection's budget too;
the app hears the end when the payment has one, for a payment that is pending has not failed.
An invoice that was paid before is not paid again: its preimage is told. Who asks for one that
is on its way waits for the same end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from handlers.bot import HELD_BACK_SECONDS, Bot, events_owed
from handlers.connections import allowed_methods, budget_of, notifications, spent
from handlers.conversation import Asked
from handlers.invoices import app_label, make_invoice, new_invoice
from handlers.settlements import InternalPayment
from handlers.transactions import find_transaction, list_transactions
from handlers.withdrawals import pay_inside, withdraw
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.inbox import Decision
from relaybot.nostr import nip47
from relaybot.nostr.event import Event, encode_event, parse_event
from relaybot.nostr.nip47 import Code, Failure
from wallet.accounts import user
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Change, Insert, Plan, Update
from wallet.lightning import DecodedInvoice, PaymentReport
from wallet.money import MSAT_PER_SAT, Msat

log = structlog.get_logger()

BATCH_MAX = 100  # payments whose end is told in one round
NETWORKS = {"bitcoin": "mainnet"}  # NIP-47's words; the others are called alike
CODES = {"restricted": Code.RESTRICTED, "blocked": Code.RESTRICTED, "rate-limited": Code.RATE_LIMITED}  # by prefix
SAID = {  # by the beginning of the reason, before the prefix counts
    "you have ": Code.INSUFFICIENT_BALANCE,
    "your balance is ": Code.INSUFFICIENT_BALANCE,
    "a day's limit ": Code.QUOTA_EXCEEDED,
}

Outcome = Mapping[str, Any] | Failure


async def is_ours(bot: Bot, event: Event) -> bool:
    """Tell whether a wallet request comes from an app that was connected once, to the key it was given."""
    connection = await bot.book.row("connections", event.pubkey)
    return connection is not None and connection["service"] == event.tag("p")


async def on_request(bot: Bot, event: Event) -> Decision:
    """Take a wallet request (23194): answer it, or hold what it asks to be paid."""
    connection = await bot.book.row("connections", event.pubkey)
    if connection is None or connection["service"] != event.tag("p"):
        return "an app that nobody connected"
    request = nip47.parse_request(event, bot.wallet_key(connection["id"]))
    now = bot.clock.now()
    if request.expiration is not None and request.expiration < now:  # NIP-47: it is ignored
        return "the request has expired"
    if event.created_at < now - HELD_BACK_SECONDS:  # its app has long given up, and paid in another way
        return "the request was held back"
    refused = _refused(bot, connection, request, now)
    if refused is not None:
        return _answer(bot, connection, request, refused)
    assert not isinstance(request.command, Failure), "what is not understood was refused"
    try:
        if isinstance(request.command, nip47.PayInvoice):
            return await _pay(bot, connection, request, request.command, event)
        outcome, changes = await _do(bot, connection, request.command, event.id)
    except Unavailable:  # done later, it would surprise: an app that hears nothing asks elsewhere
        outcome, changes = Failure(Code.INTERNAL, "the Lightning node does not answer: ask again in a minute"), ()
    except Rejected as refusal:
        outcome, changes = _failure(refusal), ()
    return _answer(bot, connection, request, outcome, *changes)


def _refused(bot: Bot, connection: Row, request: nip47.Request, now: int) -> Failure | None:
    """Return why this app may not ask this now, or why it is not understood; None if it is to be done."""
    if connection["state"] != "open" or (connection["expires_at"] or now) < now:
        return Failure(Code.UNAUTHORIZED, "this connection is closed")
    if not bot.wallet_rate.take(connection["id"], now):
        return Failure(Code.RATE_LIMITED, "too many requests: wait some seconds")
    if isinstance(request.command, Failure):
        return request.command
    if request.method not in allowed_methods(connection):
        return Failure(Code.RESTRICTED, f"this connection may not {request.method}")
    return None


def _answer(bot: Bot, connection: Row, request: nip47.Request, outcome: Outcome, *changes: Change) -> Plan:
    return Plan(f"nwc/{request.event_id}", changes=(*changes, *_told(bot, connection, request, outcome)))


def _told(bot: Bot, connection: Row, request: nip47.Request, outcome: Outcome) -> tuple[Insert, ...]:
    now = bot.clock.now()
    response = nip47.build_response(bot.wallet_key(connection["id"]), request, outcome, nonce=bot.chance(32), now=now)
    return events_owed(now, response)


def _failure(refusal: Rejected) -> Failure:
    """Return a refusal in NIP-47's words; its reason is for the app's user."""
    said = (code for begin, code in SAID.items() if refusal.reason.startswith(begin))
    code = next(said, CODES.get(refusal.prefix, Code.OTHER))
    return Failure(code, str(refusal).removeprefix(f"{refusal.prefix}: "))


async def _do(bot: Bot, connection: Row, command: nip47.Command, event_id: str) -> tuple[Outcome, tuple[Change, ...]]:
    """Do what is answered at once."""
    owner = connection["owner"]
    match command:
        case nip47.GetBalance() | nip47.GetInfo() | nip47.GetBudget():
            return await _state(bot, connection, command), ()
        case nip47.MakeInvoice():
            return await _make_invoice(bot, owner, command, event_id)
        case nip47.LookupInvoice():
            found = await find_transaction(bot, owner, _hash_of(command))
            if found is None:
                return Failure(Code.NOT_FOUND, "no invoice or payment of yours has this hash"), ()
            return nip47.shown(found), ()
        case nip47.ListTransactions():
            listed = await list_transactions(bot, owner, command)
            return {"transactions": [nip47.shown(one) for one in listed]}, ()
        case nip47.PayInvoice():  # pragma: no cover  (it is held, not answered)
            raise AssertionError("a payment is answered when it has ended")


async def _state(
    bot: Bot, connection: Row, command: nip47.GetBalance | nip47.GetInfo | nip47.GetBudget
) -> Mapping[str, Any]:
    """Return what there is, without changing anything."""
    match command:
        case nip47.GetBalance():
            return {"balance": await bot.book.balance(user(connection["owner"]))}
        case nip47.GetInfo():
            return await _info(bot, connection)
        case nip47.GetBudget():
            return budget_of(connection, bot.clock.now())


async def _info(bot: Bot, connection: Row) -> Mapping[str, Any]:
    node, methods = await bot.lightning.info(), allowed_methods(connection)
    return {
        "alias": bot.config.service.name,
        "color": "#f7931a",
        "pubkey": node.node_id,
        "network": NETWORKS.get(node.network, node.network),
        "block_height": node.block_height,
        "block_hash": "",
        "methods": list(methods),
        "notifications": list(nip47.notifications_of(methods)),
    }


async def _make_invoice(
    bot: Bot, owner: str, command: nip47.MakeInvoice, event_id: str
) -> tuple[Outcome, tuple[Change, ...]]:
    """Make an invoice that credits the user; its label is the request's, so a repeat finds the same one."""
    if command.description_hash is not None:
        raise Rejected("invalid", "description_hash: the node makes invoices of descriptions only")
    limits = bot.config.limits
    amount = Msat(command.amount)
    if await bot.book.balance(user(owner)) + amount > limits.balance_max or amount > limits.topup_max:
        raise Rejected("invalid", "amount: more than a balance may hold")
    invoice = await make_invoice(
        bot,
        label=app_label(event_id),
        amount_msat=amount,
        description=command.description or f"{bot.config.service.name}: top-up",
        expiry_seconds=command.expiry or bot.config.jobs.payment_seconds,
    )
    now = bot.clock.now()
    made = nip47.Transaction(
        "incoming",
        "pending",
        invoice.payment_hash,
        amount,
        now,
        invoice=invoice.bolt11,
        description=command.description,
        expires_at=invoice.expires_at,
    )
    said = command.description or ""
    row = new_invoice(invoice, purpose="topup", owner=owner, job="", now=now, description=said)
    return nip47.shown(made), (row,)


def _hash_of(command: nip47.LookupInvoice) -> str:
    if command.payment_hash is not None:
        return command.payment_hash
    if command.invoice is None:
        raise Rejected("invalid", "payment_hash or invoice: one of them is needed")
    return parse_bolt11(command.invoice).payment_hash


async def _pay(bot: Bot, connection: Row, request: nip47.Request, command: nip47.PayInvoice, event: Event) -> Plan:
    owner = connection["owner"]
    try:
        before = await _asked_before(bot, connection, request, _invoice_of(command), event)
        if before is not None:
            return before
        amount = None if command.amount is None else Msat(command.amount)
        inside = await pay_inside(bot, owner, command.invoice, amount)
        if inside is not None:
            return await _paid_inside(bot, connection, request, inside)
        words = (*_sats(command.amount), command.invoice)
        withdrawal = await withdraw(bot, Asked(owner, event.id, event.created_at, words))
        budgeted = Msat(sum(transfer.amount_msat for transfer in withdrawal.transfers))  # amount and fee reserve
        counted = _budgeted(connection, budgeted, bot.clock.now())
    except Rejected as refusal:
        return _answer(bot, connection, request, _failure(refusal))
    if isinstance(counted, Failure):
        return _answer(bot, connection, request, counted)
    awaited = _awaited(bot, connection, event, event.id, budgeted)
    return Plan(f"nwc/{event.id}", withdrawal.transfers, (*withdrawal.changes, awaited, counted))


def _invoice_of(command: nip47.PayInvoice) -> DecodedInvoice:
    if command.invoice.lower().removeprefix("lightning:").startswith("lno1"):
        raise Rejected("invalid", "invoice: this is a BOLT12 offer, and pay_invoice takes BOLT11: withdraw sends to it")
    return parse_bolt11(command.invoice)


async def _asked_before(
    bot: Bot, connection: Row, request: nip47.Request, invoice: DecodedInvoice, event: Event
) -> Plan | None:
    """Return what follows if the user has paid this invoice, or tried to: the same invoice twice pays once."""
    known = await find_transaction(bot, connection["owner"], invoice.payment_hash, type_="outgoing")
    if known is not None and known.state == "settled":
        return _answer(bot, connection, request, _paid(known))
    if known is not None and known.state == "failed":
        return _answer(bot, connection, request, Failure(Code.PAYMENT_FAILED, "it failed: ask for a new invoice"))
    payout = await _on_its_way(bot, connection["owner"], invoice.bolt11)
    if payout is None:
        return None
    return Plan(f"nwc/{event.id}", changes=(_awaited(bot, connection, event, payout, Msat(0)),))


async def _on_its_way(bot: Bot, owner: str, bolt11: str) -> str | None:
    """Return the payout that pays this invoice now, whoever asked for it; None if there is none."""
    rows = await bot.book.database.fetch(
        "SELECT id FROM payouts WHERE pubkey = :owner AND target = :bolt11 AND next_at IS NOT NULL",
        owner=owner,
        bolt11=bolt11,
    )
    return rows[0]["id"] if rows else None


def _awaited(bot: Bot, connection: Row, event: Event, payout: str, budgeted: Msat) -> Insert:
    """Return the row by which an app that asked is told the end of a payout."""
    values = {
        "connection": connection["id"],
        "request": encode_event(event),
        "payout": payout,
        "budgeted_msat": budgeted,
        "answered_at": None,
        "created_at": bot.clock.now(),
    }
    return Insert("wallet_payments", event.id, values)


async def _paid_inside(bot: Bot, connection: Row, request: nip47.Request, payment: InternalPayment) -> Plan:
    """Pay an invoice of ours inside the book, and say so at once."""
    now = bot.clock.now()
    counted = _budgeted(connection, payment.amount_msat, now)
    if isinstance(counted, Failure):
        return _answer(bot, connection, request, counted)
    sent = nip47.Transaction(
        "outgoing",
        "settled",
        payment.payment_hash,
        payment.amount_msat,
        now,
        invoice=payment.bolt11,
        preimage=payment.preimage or None,
        settled_at=now,
    )
    told = _told(bot, connection, request, _paid(sent))
    heard = await notifications(bot, connection["owner"], "payment_sent", sent)
    return payment.journal.plan(f"nwc/{request.event_id}", counted, *told, *heard)


def _sats(amount_msat: int | None) -> tuple[str, ...]:
    if amount_msat is None:
        return ()
    if amount_msat % MSAT_PER_SAT:
        raise Rejected("invalid", "amount: whole sats only")
    return (str(amount_msat // MSAT_PER_SAT),)


def _budgeted(connection: Row, amount: Msat, now: int) -> Update | Failure:
    """Count `amount` against what the connection may spend in this period; two payments at once guard its row."""
    used, since = spent(connection, now)
    if connection["budget_msat"] is not None and used + amount > connection["budget_msat"]:
        return Failure(Code.QUOTA_EXCEEDED, "this connection's budget does not allow it")
    values = {"spent_msat": used + amount, "spent_since": since}
    return Update("connections", connection["id"], values, expect={"version": connection["version"]})


async def tell_ends(bot: Bot) -> bool:
    """Tell each app the end of the payments it asked for; tell whether there are more."""
    rows = await bot.book.database.fetch(
        "SELECT wallet_payments.*, payouts.state AS payout_state, payouts.amount_msat, payouts.fee_msat,"
        " payouts.attempt, payouts.reason FROM wallet_payments JOIN payouts ON payouts.id = wallet_payments.payout"
        " WHERE answered_at IS NULL AND payouts.state IN ('paid', 'stopped')"
        " ORDER BY wallet_payments.created_at LIMIT :limit",
        limit=BATCH_MAX,
    )
    for row in rows:
        await bot.stumbles.past("wallet ends", row["id"], partial(_end, bot, row), otherwise=None)
    return len(rows) == BATCH_MAX


async def _end(bot: Bot, row: Row) -> None:
    await bot.book.decide(partial(_decide_end, bot, row))


async def _decide_end(bot: Bot, row: Row) -> Plan | None:
    payment = await bot.book.row("wallet_payments", row["id"])
    connection = await bot.book.row("connections", row["connection"])
    assert payment is not None, f"no payment {row['id']}"
    assert connection is not None, f"no connection {row['connection']}"
    if payment["answered_at"] is not None:
        return None
    now = bot.clock.now()
    request = nip47.parse_request(parse_event(row["request"]), bot.wallet_key(connection["id"]))
    used = Msat(row["amount_msat"] + row["fee_msat"]) if row["payout_state"] == "paid" else Msat(0)
    began = payment["payout"] == row["id"]  # this request, not a second one for the same invoice
    changes: list[Change] = [
        Update("wallet_payments", row["id"], {"answered_at": now}, expect={"version": payment["version"]}),
        *([_unbudgeted(connection, payment, used, now)] if began else []),
    ]
    if row["payout_state"] == "paid":
        found = await find_transaction(bot, connection["owner"], row["attempt"], type_="outgoing")
        assert found is not None, f"payment {row['id']} left no attempt"
        changes += _told(bot, connection, request, _paid(found))
    else:
        changes += _told(bot, connection, request, Failure(Code.PAYMENT_FAILED, row["reason"]))
    return Plan(f"nwc/{row['id']}/end", changes=tuple(changes))


async def payment_sent(bot: Bot, payout: Row, attempt: Row, report: PaymentReport) -> Sequence[Change]:
    """Return word to the owner's apps of a payment over Lightning that arrived, whoever asked for it (NIP-47)."""
    assert report.amount_sent_msat is not None, f"payment {attempt['id']} settled without an amount"
    now = bot.clock.now()
    sent = nip47.Transaction(
        "outgoing",
        "settled",
        attempt["id"],
        payout["amount_msat"],
        payout["created_at"],
        invoice=attempt["bolt11"],
        preimage=report.preimage,
        fees_msat=min(max(0, report.amount_sent_msat - payout["amount_msat"]), payout["reserve_msat"]),
        settled_at=now,
    )
    return await notifications(bot, payout["pubkey"], "payment_sent", sent)


def _unbudgeted(connection: Row, payment: Row, used: Msat, now: int) -> Update:
    """Give the budget back what was not used, if the period in which it was counted still runs."""
    spent_now, since = spent(connection, now)
    counted_then = payment["created_at"] >= since
    left = max(0, spent_now - (payment["budgeted_msat"] - used)) if counted_then else spent_now
    values = {"spent_msat": left, "spent_since": since}
    return Update("connections", connection["id"], values, expect={"version": connection["version"]})


def _paid(found: nip47.Transaction) -> Mapping[str, Any]:
    return {"preimage": found.preimage or "", "fees_paid": found.fees_msat}
