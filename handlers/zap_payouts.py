"""Payouts that are public zaps, for contributors who want them so: the request, and the receipt that follows (NIP-57).

What is paid, and by which rules, is as without: `wallet/payouts.py` asks here for an invoice that
is also a zap, and pays it. The service signs the request and stores it before the wallet is
asked, so a try that is repeated sends the same; only after an attempt has failed there is a new
one, for a wallet may give the same invoice for the same request. It names no event: a payout
is of a balance, not of a result.

The receipt is the word of the payee's provider. It is looked for on the request's relays once our
own node says paid, checked (Appendix F) and noted. None, or a wrong one, changes no money.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import structlog

from handlers.bot import Bot, written
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr import nip57
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.relay_url import is_relay_url
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Change, Plan, Update, Values
from wallet.lightning import DecodedInvoice
from wallet.money import Msat
from wallet.opening import cause_of
from wallet.payees import Payees
from wallet.states import AttemptState, PayoutKind

log = structlog.get_logger()

OURS_MAX, THEIRS_MAX = 3, 2  # relays of the request: each makes its URL longer
BATCH_MAX = 32  # receipts looked for in one round
FOUND_MAX = 20  # receipts read of one relay for one payout
TRIES_MAX = 7  # looks for one receipt; with the pauses below: about three hours
PAUSE_SECONDS = 2  # after the first look; each further pause is four times as long
EARLIER_SECONDS = 600  # a provider's clock may be behind ours

_DUE = (
    "SELECT zap_payouts.*, attempts.bolt11, attempts.state, attempts.sent_at, payouts.pubkey FROM zap_payouts"
    " JOIN attempts ON attempts.id = zap_payouts.attempt JOIN payouts ON payouts.id = zap_payouts.id"
    " WHERE zap_payouts.next_at <= :now AND attempts.state IN ('paid', 'failed')"
    " ORDER BY zap_payouts.next_at, zap_payouts.id LIMIT :limit"
)


class Receipts(Protocol):
    """Where receipts are looked for (`relaybot.sources`)."""

    async def events(self, wanted: Filter, relays: Sequence[str]) -> list[Event]:
        """Return what our relays and these have of it; a relay that does not answer has nothing."""
        ...


# ---- the request


class ZapPayouts:
    """Asks payees' wallets for invoices that are zaps."""

    def __init__(self, bot: Bot, payees: Payees) -> None:
        self._bot = bot
        self._payees = payees

    async def request(self, payout: Row, target: str) -> tuple[DecodedInvoice, tuple[Change, ...]] | None:
        """Return an invoice for `payout`, and the row that notes its zap; None if it shall be, or can only be, plain.

        Rejected and Unavailable as for every invoice.
        """
        user = await self._bot.book.row("users", payout["pubkey"])
        if PayoutKind(payout["kind"]) is not PayoutKind.PAYOUT or user is None or user["payout_zaps"] != "on":
            return None
        make = partial(self._request, payout, target)
        asked = await self._payees.request_zap_invoice(target, Msat(payout["amount_msat"]), make)
        if asked is None:
            return None
        return asked.invoice, await self._noted(payout, asked.invoice) if asked.zapped else ()

    async def _noted(self, payout: Row, invoice: DecodedInvoice) -> tuple[Change, ...]:
        row = await self._bot.book.row("zap_payouts", payout["id"])
        assert row is not None, f"payout {payout['id']} was zapped without a request"
        values: Values = {"attempt": invoice.payment_hash, "tries": 0, "next_at": self._bot.clock.now()}
        return (Update("zap_payouts", row["id"], values, expect={"version": row["version"]}),)

    async def _request(self, payout: Row, target: str, zapper: str, lnurl: str) -> str:
        """Return the text of the zap request for the next attempt, stored: the same for every try of it."""
        book, now = self._bot.book, self._bot.clock.now()
        row = await book.row("zap_payouts", payout["id"])
        if row is not None and (row["target"], row["zapper"], row["attempt"]) == (target, zapper, ""):
            return str(row["request"])
        event = nip57.build_zap_request(
            self._bot.service,
            recipient=payout["pubkey"],
            relays=await self._relays(payout["pubkey"]),
            amount_msat=payout["amount_msat"],
            lnurl=lnurl,
            now=now,
        )
        text = nip57.request_text(event)
        values: Values = {"target": target, "zapper": zapper, "request": text, "attempt": ""}
        fresh: Values = {"receipt": "", "tries": 0, "next_at": None, "created_at": now}
        change = written("zap_payouts", payout["id"], row, values if row is not None else {**values, **fresh})
        key = f"{cause_of(payout['id'])}/zap/{row['version'] if row is not None else 0}"
        if not (await book.apply(Plan(key, changes=(change,)))).done:
            raise Unavailable("the payout was brought on by another process")
        return text

    async def _relays(self, pubkey: str) -> list[str]:
        """Return where the receipt shall go: to us, and to where the payee reads."""
        row = await self._bot.book.row("dm_relays", pubkey)
        ours = sorted(self._bot.own_relays, key=lambda url: (url != self._bot.config.relay.public_url, url))[:OURS_MAX]
        said = [url for url in (json.loads(row["relays"]) if row is not None else ()) if is_relay_url(url)]
        return [*ours, *[url for url in said if url not in self._bot.own_relays][:THEIRS_MAX]]


# ---- the receipt


async def see_receipts(bot: Bot, receipts: Receipts) -> bool:
    """Look once for each receipt that is due; tell whether more are waiting."""
    rows = await bot.book.database.fetch(_DUE, now=bot.clock.now(), limit=BATCH_MAX)
    for row in rows:
        await bot.stumbles.past("zap receipts", row["id"], partial(_see, bot, receipts, row), otherwise=None)
    return len(rows) == BATCH_MAX


async def _see(bot: Bot, receipts: Receipts, row: Row) -> None:
    values: Values = {"next_at": None}  # an attempt that failed has no receipt
    if AttemptState(row["state"]) is AttemptState.PAID:
        values = await _looked(bot, receipts, row)
    change = Update("zap_payouts", row["id"], values, expect={"version": row["version"]})
    await bot.book.apply(Plan(f"{cause_of(row['id'])}/receipt/{row['version']}", changes=(change,)))


async def _looked(bot: Bot, receipts: Receipts, row: Row) -> Values:
    """Return what one look comes to: the receipt's id, or when it is looked for again."""
    wanted = Filter(
        kinds=frozenset({nip57.ZAP_RECEIPT_KIND}),
        authors=frozenset({row["zapper"]}),  # Appendix F, 1
        tags={"p": frozenset({row["pubkey"]})},
        since=row["sent_at"] - EARLIER_SECONDS,
        limit=FOUND_MAX,
    )
    named = [url for url in nip57.parse_zap_request(row["request"]).relays if url not in bot.own_relays]
    for event in await receipts.events(wanted, named):
        try:
            check_receipt(event, row)
        except Rejected as refusal:
            log.info("zap_receipt_not_ours", payout=row["id"], event_id=event.id, reason=str(refusal))
        else:
            log.info("zap_receipt_seen", payout=row["id"], event_id=event.id)
            return {"receipt": event.id, "next_at": None}
    tries = row["tries"] + 1
    over = tries >= TRIES_MAX
    if over:
        log.info("zap_receipt_missing", payout=row["id"], tries=tries)
    return {"tries": tries, "next_at": None if over else bot.clock.now() + PAUSE_SECONDS * 4 ** row["tries"]}


def check_receipt(event: Event, zap: Row) -> None:
    """Raise Rejected unless `event` is the receipt of what we paid: NIP-57, Appendix F.

    `zap` has the columns of `zap_payouts`, and the `bolt11` that was paid. That the description is hashed into
    the invoice is not asked for: not every provider does so.
    """
    paid = parse_bolt11(zap["bolt11"])
    request = nip57.parse_zap_request(zap["request"])
    read = nip57.parse_zap_receipt(event, zapper=zap["zapper"], paid_msat=request.amount_msat)
    if read.request.event_id != request.event_id:  # its `lnurl` is ours with it
        raise Rejected("invalid", "description: not the zap request that was sent")
    invoice = parse_bolt11(read.bolt11)
    if invoice.payment_hash != paid.payment_hash or invoice.amount_msat != request.amount_msat:
        raise Rejected("invalid", "bolt11: not what was paid")
