"""Links that withdraw (LNURL-withdraw, LUD-03): whoever scans one sends its sum to their own wallet, once.

A link holds nothing: the money is taken from the balance when a wallet hands in its invoice. In
the Plan that makes the hold the link is used up, so of two wallets one is paid (A6). What is
paid, and all that can stand against it, is the command `withdraw`. Nothing here knows HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import bech32

from handlers.bot import Bot, written
from handlers.conversation import Asked, Reply
from handlers.withdrawals import withdraw
from relaybot.db.database import Row
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.event import HEX32_LENGTH, is_hex
from wallet.accounts import user
from wallet.bolt11_invoice import parse_bolt11
from wallet.ledger import Insert, Plan, Update, Values, Verdict
from wallet.money import format_sat, parse_amount

LINK_SECONDS = 3_600  # somebody scans it now, or makes another one
LINKS_MAX = 10  # open ones of one user
PATH = "/lnurlw"

_K1_BYTES = 32
_GONE = "this link was used, has run out, or was never made"


async def make_link(bot: Bot, asked: Asked) -> Reply:
    """Make a link for so many sats (its words); the reply's text is the link's address, told once."""
    (said,) = asked.words
    amount, now = parse_amount(f"{said} sat"), bot.clock.now()
    balance = await bot.book.balance(user(asked.sender))
    if not 0 < amount <= balance:
        raise Rejected("invalid", f"your balance is {format_sat(balance)}")
    if len(await open_links(bot, asked.sender)) >= LINKS_MAX:
        raise Rejected("invalid", f"you have {LINKS_MAX} such links already: end one, or wait until they run out")
    k1 = bot.chance(_K1_BYTES).hex()
    values: Values = {
        "owner": asked.sender,
        "amount_msat": amount,
        "state": "open",
        "payout": "",
        "expires_at": now + LINK_SECONDS,
        "created_at": now,
    }
    counter = await bot.book.row("cursors", f"links/{asked.sender}")  # two at once are counted one by one
    counted = written("cursors", f"links/{asked.sender}", counter, {"value": now})
    return Reply(f"{bot.config.web_url}{PATH}/{k1}", (Insert("withdraw_links", _hashed(k1), values), counted))


async def end_link(bot: Bot, asked: Asked) -> Reply:
    """End a link of one's own, by its id (its words)."""
    (link_id,) = asked.words
    row = await bot.book.row("withdraw_links", link_id)
    if row is None or row["owner"] != asked.sender or row["state"] != "open":
        raise Rejected("invalid", "you have no such link any more")
    ended = Update("withdraw_links", link_id, {"state": "ended"}, expect={"version": row["version"]})
    return Reply("The link is worth nothing any more.", (ended,))


async def open_links(bot: Bot, pubkey: str) -> list[Row]:
    """Return the links of a user that are good now, oldest first."""
    rows = await bot.book.database.fetch(
        "SELECT * FROM withdraw_links WHERE owner = :owner AND state = 'open' AND expires_at > :now"
        " ORDER BY created_at, id",
        owner=pubkey,
        now=bot.clock.now(),
    )
    return list(rows)


def encode_lnurl(url: str) -> str:
    """Return an address as wallets scan it (LUD-01), in capitals: its QR code is smaller."""
    return bech32.bech32_encode("lnurl", bech32.convertbits(url.encode(), 8, 5) or []).upper()


async def describe_link(bot: Bot, k1: str) -> Mapping[str, Any]:
    """Return what a wallet asks first (LUD-03). Rejected if the link is not good."""
    row = await _open(bot, k1)
    return {
        "tag": "withdrawRequest",
        "callback": f"{bot.config.web_url}{PATH}/{k1}/callback",
        "k1": k1,
        "defaultDescription": f"{bot.config.service.name}: withdrawal",
        "minWithdrawable": row["amount_msat"],
        "maxWithdrawable": row["amount_msat"],
    }


async def use_link(bot: Bot, k1: str, invoice: str) -> Mapping[str, Any]:
    """Pay `invoice` by a link, which is used up; the same invoice again gets the same answer.

    Rejected and Unavailable as the command `withdraw`.
    """
    asked_for = parse_bolt11(invoice)

    async def decide() -> Plan:
        row = await _open(bot, k1)
        if asked_for.amount_msat != row["amount_msat"]:
            raise Rejected("invalid", f"the invoice must be for exactly {format_sat(row['amount_msat'])}")
        cause = f"withdraw-link/{row['id']}"
        asked = Asked(row["owner"], _hashed(cause), bot.clock.now(), (asked_for.bolt11,))
        reply = await withdraw(bot, asked)
        used: Values = {"state": "used", "payout": asked.rumor}
        change = Update("withdraw_links", row["id"], used, expect={"version": row["version"]})
        return Plan(f"{cause}/used", reply.transfers, (*reply.changes, change))

    if await _paid_by(bot, k1) != asked_for.bolt11:
        answer = await bot.book.decide(decide)
        if answer.verdict is Verdict.ALREADY and await _paid_by(bot, k1) != asked_for.bolt11:
            raise Rejected("invalid", _GONE)  # another wallet was faster
        if not answer.done:
            raise Unavailable(f"what this rests on keeps changing: {answer.reason}")
    return {"status": "OK"}


async def _open(bot: Bot, k1: str) -> Row:
    row = await bot.book.row("withdraw_links", _hashed(k1)) if is_hex(k1, HEX32_LENGTH) else None
    if row is None or row["state"] != "open" or row["expires_at"] <= bot.clock.now():
        raise Rejected("invalid", _GONE)
    return row


async def _paid_by(bot: Bot, k1: str) -> str:
    """Return the invoice that a used link has paid; '' if there is none."""
    row = await bot.book.row("withdraw_links", _hashed(k1))
    payout = await bot.book.row("payouts", row["payout"]) if row is not None and row["payout"] else None
    return payout["target"] if payout is not None else ""


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
