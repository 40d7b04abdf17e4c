"""Invoices of ours: made at the node under a label that their cause gives, and kept in the book.

We draw the preimages ourselves, from the master secret and the label. So whoever pays one
inside the book gets the same proof of payment as somebody who pays over Lightning.
"""

from __future__ import annotations

import hashlib

from handlers.bot import Bot
from wallet.ledger import Insert, Values
from wallet.lightning import Invoice
from wallet.money import Msat

_BY_APP = "nwc/"


async def make_invoice(
    bot: Bot, *, label: str, amount_msat: Msat | None, description: str, expiry_seconds: int, hashed: bool = False
) -> Invoice:
    """Return the invoice of this label, made now or before; Rejected and Unavailable as `Lightning.create_invoice`."""
    return await bot.lightning.create_invoice(
        label=label,
        amount_msat=amount_msat,
        description=description,
        expiry_seconds=expiry_seconds,
        hashed=hashed,
        preimage=bot.preimage(label).hex(),
    )


def app_label(event_id: str) -> str:
    """Return the label of an invoice that an app asked for, by its request (NIP-47)."""
    return f"{_BY_APP}{event_id}"


def by_app(label: str) -> bool:
    """Tell whether an app asked for the invoice of this label."""
    return label.startswith(_BY_APP)


def proof_of(bot: Bot, *, label: str, payment_hash: str) -> str:
    """Return the preimage of an invoice of ours as hex; '' if the node drew it, as it once did."""
    preimage = bot.preimage(label)
    return preimage.hex() if hashlib.sha256(preimage).hexdigest() == payment_hash else ""


def new_invoice(
    invoice: Invoice, *, purpose: str, owner: str, job: str, now: int, description: str = "", company: str = ""
) -> Insert:
    """Return the row of an invoice that credits `owner` when it is paid, or the company that is named."""
    values: Values = {
        "purpose": purpose,
        "owner": owner,
        "company": company,
        "job": job,
        "payment_hash": invoice.payment_hash,
        "bolt11": invoice.bolt11,
        "amount_msat": invoice.amount_msat or 0,
        "received_msat": 0,
        "expires_at": invoice.expires_at,
        "created_at": now,
        "description": description,
    }
    return Insert("invoices", invoice.label, values)
