"""The Lightning Address server: LNURL-pay (LUD-06, 12, 16, 21) with zaps (NIP-57), and NIP-05 names.

`describe` is what a wallet asks first, `request` makes the invoice, `state_of` says whether it
was paid. Nothing here knows HTTP: it takes words and returns JSON values. Rejected carries
the reason that the wallet shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from handlers.bot import Bot
from handlers.invoices import make_invoice, new_invoice
from handlers.names import Kind, Named, find_named
from handlers.zaps import Gift, Purpose, new_zap, purpose_of
from relaybot.errors import Rejected
from relaybot.nostr import nip57
from wallet.accounts import user
from wallet.ledger import Insert, Plan
from wallet.money import Msat, format_sat, parse_msat

NONCE_BYTES = 16  # of the label of an invoice that no event names


@dataclass(frozen=True, slots=True)
class Asked:
    """What a wallet asks for in its second call, as it stands in the query; '' is not given."""

    amount: str
    nostr: str = ""
    comment: str = ""
    payerdata: str = ""


async def describe(bot: Bot, name: str) -> Mapping[str, Any]:
    """Return the first answer (LUD-06, LUD-16; NIP-57, Appendix C). Rejected if nobody has this name."""
    named = await _named(bot, name)
    limits = bot.config.limits
    answer = {
        "tag": "payRequest",
        "callback": f"{_base_url(bot)}/lnurlp/{named.name}/callback",
        "minSendable": limits.topup_min,
        "maxSendable": limits.topup_max,
        "metadata": _metadata(bot, named),
        "allowsNostr": True,
        "nostrPubkey": bot.zapper.pubkey,
    }
    comments = bot.config.zaps.comment_characters_max
    return answer | ({"commentAllowed": comments} if comments else {})


async def request(bot: Bot, name: str, asked: Asked) -> Mapping[str, Any]:
    """Return an invoice (LUD-06), whose payment is followed at `verify` (LUD-21). Rejected says what is wrong."""
    named = await _named(bot, name)
    amount = _amount(bot, asked.amount)
    if asked.payerdata:  # LUD-18: we ask for none, so none could be committed to
        raise Rejected("invalid", "payerdata: not asked for here")
    if len(asked.comment) > bot.config.zaps.comment_characters_max:
        raise Rejected("invalid", "comment: too long", allowed=bot.config.zaps.comment_characters_max)
    zap = None
    if asked.nostr:
        zap = nip57.parse_zap_request(asked.nostr, amount_msat=amount, zapper=bot.zapper.pubkey)
    purpose = await purpose_of(bot, named, zap)
    await _check_room(bot, purpose, amount)
    # NIP-57: the invoice commits to the request and to nothing else; LUD-06: else to the metadata
    description = zap.text if zap is not None else _metadata(bot, named)
    invoice = await make_invoice(
        bot,
        label=_label(bot, zap, amount),
        amount_msat=amount,
        description=description,
        expiry_seconds=bot.config.zaps.invoice_seconds,
        hashed=True,
    )
    now = bot.clock.now()
    comment = asked.comment or (zap.comment if zap is not None else "")
    row = new_zap(purpose, request=zap.text if zap is not None else "", comment=comment[:1_000], now=now)
    changes = (
        new_invoice(invoice, purpose="gift", owner=purpose.owner, job="", now=now),
        Insert("zaps", invoice.payment_hash, row),
    )
    answer = await bot.book.apply(Plan(f"gift/{invoice.payment_hash}", changes=changes))
    assert answer.done, f"gift/{invoice.payment_hash}: {answer.reason}"
    return {"pr": invoice.bolt11, "routes": [], "verify": f"{_base_url(bot)}/lnurlp/verify/{invoice.payment_hash}"}


async def state_of(bot: Bot, payment_hash: str) -> Mapping[str, Any]:
    """Return whether an invoice for a gift was paid (LUD-21). Rejected if there is none with this hash."""
    rows = await bot.book.database.fetch(
        "SELECT bolt11, received_msat, preimage FROM invoices WHERE payment_hash = :hash AND purpose = 'gift'",
        hash=payment_hash,
    )
    if not rows:
        raise Rejected("invalid", "no invoice of ours has this hash")
    settled = rows[0]["received_msat"] > 0
    return {
        "status": "OK",
        "settled": settled,
        "preimage": rows[0]["preimage"] if settled else None,
        "pr": rows[0]["bolt11"],
    }


async def nostr_names(bot: Bot, name: str) -> Mapping[str, Any]:
    """Return the answer of NIP-05 for one name: nobody's pubkey is listed unasked."""
    named = await find_named(bot, name)
    if named is None or bot.config.web.domain is None:
        return {"names": {}}
    return {"names": {name: named.pubkey}, "relays": {named.pubkey: [bot.config.relay.public_url]}}


def address_of(bot: Bot, name: str) -> str | None:
    """Return the Lightning Address of a name; None if the service has no domain."""
    domain = bot.config.web.domain
    return None if domain is None else f"{name}@{domain}"


async def _named(bot: Bot, name: str) -> Named:
    named = await find_named(bot, name)
    if named is None or bot.config.web.domain is None:
        raise Rejected("invalid", "nobody has this name here")
    return named


def _base_url(bot: Bot) -> str:
    return f"https://{bot.config.web.domain}"


def _metadata(bot: Bot, named: Named) -> str:
    """Return the metadata as the string to which an invoice commits: the same for the same name, each time."""
    what = {Kind.SERVICE: "Top up your balance", Kind.AGENT: "Tip the makers of", Kind.USER: "Pay"}[named.kind]
    words = f"{what} at {named.title}" if named.kind is Kind.SERVICE else f"{what} {named.title}"
    entries = [["text/plain", words], ["text/identifier", address_of(bot, named.name)]]
    return msgspec.json.encode(entries).decode()


def _amount(bot: Bot, text: str) -> Msat:
    limits = bot.config.limits
    try:
        amount = parse_msat(text)
    except Rejected as error:
        raise Rejected(error.prefix, f"amount: {error.reason}", **error.fields) from None
    if not limits.topup_min <= amount <= limits.topup_max:
        allowed = f"{format_sat(limits.topup_min)} to {format_sat(limits.topup_max)}"
        raise Rejected("invalid", "amount: out of range", allowed=allowed)
    return amount


async def _check_room(bot: Bot, purpose: Purpose, amount: Msat) -> None:
    """Raise Rejected if the balance that would be credited becomes too large for a hot wallet."""
    most = bot.config.limits.balance_max
    if purpose.gift in {Gift.TOPUP, Gift.USER} and await bot.book.balance(user(purpose.owner)) + amount > most:
        raise Rejected("invalid", "the receiver's balance is full", allowed=format_sat(most))


def _label(bot: Bot, zap: nip57.ZapRequest | None, amount: Msat) -> str:
    """Return the invoice's label: one for each zap request and amount, so a wallet that asks twice gets one invoice."""
    if zap is None:
        return f"gift/{bot.chance(NONCE_BYTES).hex()}"
    return f"gift/{hashlib.sha256(f'{zap.description_hash}/{amount}'.encode()).hexdigest()}"
