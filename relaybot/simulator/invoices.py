"""Invoices of the simulated nodes: made, listed, waited for, deleted, expired and marked paid.

The label is the key; a paid invoice gets the next pay_index of its node, which is
never used again. Payments themselves stand in `payments.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relaybot.clock import Clock
from relaybot.simulator import params
from relaybot.simulator.bolt12 import DEFAULT_EXPIRY_SECONDS, Requested, build_invoice
from relaybot.simulator.channels import Channels, page
from relaybot.simulator.params import BAD_PARAMETERS, Fault, Params
from relaybot.simulator.signing import DESCRIPTION_BYTES_MAX, InvoiceText, build_bolt11
from relaybot.simulator.store import Row, Store
from relaybot.simulator.waiting import Changes

EXPIRY_SECONDS_DEFAULT = 604_800
EXPIRY_SECONDS_MAX = 2**31  # what a node that counts in 32 bits can still add to a time

_MATCHING = {
    "label": "SELECT * FROM listed_invoices WHERE node = ? AND label = ?",
    "payment_hash": "SELECT * FROM listed_invoices WHERE node = ? AND payment_hash = ?",
    "invstring": "SELECT * FROM listed_invoices WHERE node = ? AND bolt11 = ?",
    "offer_id": "SELECT * FROM listed_invoices WHERE node = ? AND offer_id = ?",
}
_BY_CREATION = "SELECT * FROM listed_invoices WHERE node = ? AND created_index >= ? ORDER BY created_index LIMIT ?"
_BY_UPDATE = "SELECT * FROM listed_invoices WHERE node = ? AND updated_index >= ? ORDER BY updated_index LIMIT ?"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an invoice is asked for."""

    label: str
    amount_msat: int | None
    description: str
    only_hash: bool = False
    expiry_seconds: int = EXPIRY_SECONDS_DEFAULT
    preimage: str | None = None


class Invoices:
    """The invoices of one node."""

    def __init__(
        self,
        node: str,
        secret: bytes,
        *,
        store: Store,
        channels: Channels,
        clock: Clock,
        changes: Changes,
        chance: Callable[[int], bytes],
    ) -> None:
        self._node = node
        self._channels = channels
        self._secret = secret
        self._store = store
        self._clock = clock
        self._changes = changes
        self._chance = chance

    def create(self, asked: Asked) -> Row:
        """Store and return a new invoice; Fault 900 if its label is taken, 901 if its preimage is."""
        now = self._clock.now()
        preimage = asked.preimage or self._chance(32).hex()
        text = InvoiceText(
            payment_hash=hashlib.sha256(bytes.fromhex(preimage)).hexdigest(),
            payment_secret=self._chance(32).hex(),
            amount_msat=asked.amount_msat,
            description=asked.description,
            only_hash=asked.only_hash,
            created_at=now,
            expiry_seconds=asked.expiry_seconds,
        )
        with self._store.transaction():
            if self.by_hash(text.payment_hash) is not None:  # a real node looks at it before the label
                raise Fault(901, "preimage already used")
            if self.find(asked.label) is not None:
                raise Fault(900, f"Duplicate label '{asked.label}'")
            self._keep(asked, text, build_bolt11(text, secret=self._secret), preimage)
        self._changes.ring()
        made = self.find(asked.label)
        assert made is not None, "it has just been stored"
        return made

    def create_for_offer(self, offer: Row, *, amount_msat: int, payer_id: str, payer_note: str | None) -> str:
        """Store an invoice that somebody asked an offer for, and return its text."""
        now, preimage = self._clock.now(), self._chance(32)
        label = f"{offer['offer_id']}-{payer_id}-0"
        wanted = Requested(
            amount_msat=amount_msat,
            payment_hash=hashlib.sha256(preimage).hexdigest(),
            payer_id=payer_id,
            payer_note=payer_note,
            metadata=self._chance(16),
            created_at=now,
        )
        asked = Asked(label, amount_msat, offer["description"], expiry_seconds=DEFAULT_EXPIRY_SECONDS)
        text = InvoiceText(
            payment_hash=wanted.payment_hash,
            payment_secret="",  # it stands in the blinded path
            amount_msat=amount_msat,
            description=asked.description,
            only_hash=False,
            created_at=now,
            expiry_seconds=asked.expiry_seconds,
        )
        invoice = build_invoice(offer["bolt12"], wanted, secret=self._secret)
        with self._store.transaction():
            self._keep(asked, text, invoice, preimage.hex())
            self._store.run(
                "INSERT INTO offer_invoices (node, label, offer_id, payer_note) VALUES (?, ?, ?, ?)",
                (self._node, label, offer["offer_id"], payer_note),
            )
        self._changes.ring()
        return invoice

    def _keep(self, asked: Asked, text: InvoiceText, written: str, preimage: str) -> None:
        self._store.run(
            "INSERT INTO invoices (node, label, bolt11, payment_hash, preimage, amount_msat, description,"
            " payment_secret, expires_at, created_index) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._node,
                asked.label,
                written,
                text.payment_hash,
                preimage,
                asked.amount_msat,
                asked.description,
                text.payment_secret,
                text.created_at + asked.expiry_seconds,
                self._store.next_index(self._node, "invoices/created"),
            ),
        )

    def find(self, label: str) -> Row | None:
        """Return the invoice of this label."""
        return self._store.row("SELECT * FROM listed_invoices WHERE node = ? AND label = ?", (self._node, label))

    def by_hash(self, payment_hash: str) -> Row | None:
        """Return the invoice of this payment hash."""
        return self._store.row(
            "SELECT * FROM listed_invoices WHERE node = ? AND payment_hash = ?", (self._node, payment_hash)
        )

    def payable(self, payment_hash: str, amount_msat: int) -> Row | None:
        """Return the invoice if it takes a payment of `amount_msat` now: unpaid, in time, not underpaid."""
        self.expire()
        row = self.by_hash(payment_hash)
        if row is None or row["status"] != "unpaid":
            return None
        return row if amount_msat >= (row["amount_msat"] or 1) else None

    def mark_paid(self, payment_hash: str, received_msat: int) -> None:
        """Note the payment. Runs inside the transaction that moves the money."""
        self._store.run(
            "UPDATE invoices SET status = 'paid', pay_index = ?, received_msat = ?, paid_at = ?, updated_index = ?"
            " WHERE node = ? AND payment_hash = ?",
            (
                self._store.next_index(self._node, "pay_index"),
                received_msat,
                self._clock.now(),
                self._store.next_index(self._node, "invoices/updated"),
                self._node,
                payment_hash,
            ),
        )
        self._store.run(
            "UPDATE offers SET used = 1, active = active AND NOT single_use WHERE node = ? AND offer_id ="
            " (SELECT offer_id FROM listed_invoices WHERE node = ? AND payment_hash = ?)",
            (self._node, self._node, payment_hash),
        )

    def expire(self) -> None:
        """Mark what is unpaid and over; it stays so, whatever is in flight."""
        due = self._store.rows(
            "SELECT label FROM invoices WHERE node = ? AND status = 'unpaid' AND expires_at <= ?",
            (self._node, self._clock.now()),
        )
        for row in due:
            self._store.run(
                "UPDATE invoices SET status = 'expired', updated_index = ? WHERE node = ? AND label = ?",
                (self._store.next_index(self._node, "invoices/updated"), self._node, row["label"]),
            )

    # The commands.

    async def invoice(self, given: Params) -> dict[str, Any]:
        """`invoice`."""
        amount = params.msat_or_any(given, "amount_msat")
        description, label = params.plain_text(given, "description"), params.text(given, "label")
        only_hash = params.flag(given, "deschashonly")
        expiry = params.integer(given, "expiry", EXPIRY_SECONDS_DEFAULT)
        assert description is not None, "a required parameter is there"
        assert label is not None, "a required parameter is there"
        assert expiry is not None, "it has a default"
        size = len(description.encode())
        if size > DESCRIPTION_BYTES_MAX and not only_hash:
            words = f"Description greater than {DESCRIPTION_BYTES_MAX} bytes invalid (description length {size})"
            raise Fault(BAD_PARAMETERS, words)
        if expiry > EXPIRY_SECONDS_MAX:
            raise Fault(BAD_PARAMETERS, f"expiry: at most {EXPIRY_SECONDS_MAX}")
        self._check_hints(given.get("exposeprivatechannels"))
        preimage = params.payment_hash(given, "preimage")
        row = self.create(Asked(label, amount, description, only_hash, expiry, preimage))
        answer = {
            name: row[name] for name in ("payment_hash", "expires_at", "bolt11", "payment_secret", "created_index")
        }
        if (amount or 0) > self._channels.receivable_msat(self._node):
            answer["warning_capacity"] = "Insufficient incoming channel capacity to pay invoice"
        return answer

    def _check_hints(self, wanted: object) -> None:
        """Refuse hints through channels that are not ours. All our channels are public, so none is ever written."""
        if isinstance(wanted, list) and not self._channels.short_ids(self._node).issuperset(map(str, wanted)):
            raise Fault(902, "None of those hints were suitable local channels")

    async def listinvoices(self, given: Params) -> dict[str, Any]:
        """`listinvoices`."""
        filters = [name for name in ("label", "invstring", "payment_hash", "offer_id") if name in given]
        if len(filters) > 1:
            one_of = "{label}, {invstring}, {payment_hash} or {offer_id}"
            raise Fault(BAD_PARAMETERS, f"Can only specify one of {one_of}")
        start, limit = page(given)
        self.expire()
        if filters:
            rows = self._matching(filters[0], given)
        else:
            sql = _BY_UPDATE if given.get("index") == "updated" else _BY_CREATION
            rows = self._store.rows(sql, (self._node, start, limit))
        return {"invoices": [describe(row) for row in rows]}

    def _matching(self, name: str, given: Params) -> list[Row]:
        """Return the invoices of one filter."""
        is_hash = name in {"payment_hash", "offer_id"}
        value = params.payment_hash(given, name) if is_hash else params.text(given, name)
        return self._store.rows(_MATCHING[name], (self._node, value))

    async def waitanyinvoice(self, given: Params) -> dict[str, Any]:
        """`waitanyinvoice`: the first settlement above an index, deleted ones skipped."""
        after, seconds = params.integer(given, "lastpay_index", 0), params.integer(given, "timeout")
        found = await self._changes.first(
            lambda: self._store.row(
                "SELECT * FROM listed_invoices WHERE node = ? AND pay_index > ? ORDER BY pay_index LIMIT 1",
                (self._node, after),
            ),
            seconds=seconds,
        )
        if found is None:
            raise Fault(904, "Timed out while waiting for invoice to be paid")
        return describe(found)

    async def waitinvoice(self, given: Params) -> dict[str, Any]:
        """`waitinvoice`: until this one is paid, expires or is deleted."""
        label = params.text(given, "label")
        assert label is not None, "a required parameter is there"
        if self.find(label) is None:
            raise Fault(-1, "Label not found")
        while not self._decided(label):
            row = self.find(label)
            left = 0 if row is None else row["expires_at"] - self._clock.now()
            await self._changes.first(lambda: self._decided(label) or None, seconds=left)
        row = self.find(label)
        if row is None:
            raise Fault(-1, "Invoice deleted during wait")
        if row["status"] == "expired":
            raise Fault(903, "invoice expired during wait", describe(row))
        return describe(row)

    def _decided(self, label: str) -> bool:
        self.expire()
        row = self.find(label)
        return row is None or row["status"] != "unpaid"

    async def delinvoice(self, given: Params) -> dict[str, Any]:
        """`delinvoice`, or with desconly the description alone."""
        label, status = params.text(given, "label"), params.one_of(given, "status", ("paid", "expired", "unpaid"))
        assert label is not None, "a required parameter is there"
        self.expire()
        row = self.find(label)
        if row is None:
            raise Fault(905, "Unknown invoice")
        if row["status"] != status:
            data = {"current_status": row["status"], "expected_status": status}
            raise Fault(906, f"Invoice status is {row['status']} not {status}", data)
        deleted = describe(row)
        if params.flag(given, "desconly"):
            deleted.pop("description", None)
            self._store.run(
                "UPDATE invoices SET description = NULL, updated_index = ? WHERE node = ? AND label = ?",
                (self._store.next_index(self._node, "invoices/updated"), self._node, label),
            )
        else:
            self._store.run("DELETE FROM invoices WHERE node = ? AND label = ?", (self._node, label))
        self._changes.ring()
        return deleted


def describe(row: Row) -> dict[str, Any]:
    """Return an invoice as the node lists it: what it does not have is left out."""
    paid, offer_id = row["status"] == "paid", row["offer_id"]
    said = {
        "label": row["label"],
        "bolt11" if offer_id is None else "bolt12": row["bolt11"],
        "payment_hash": row["payment_hash"],
        "amount_msat": row["amount_msat"],
        "status": row["status"],
        "pay_index": row["pay_index"],
        "amount_received_msat": row["received_msat"],
        "paid_at": row["paid_at"],
        "payment_preimage": row["preimage"] if paid else None,
        "description": row["description"],
        "expires_at": row["expires_at"],
        "local_offer_id": offer_id,
        "invreq_payer_note": row["payer_note"],
        "created_index": row["created_index"],
        "updated_index": row["updated_index"],
    }
    return {name: value for name, value in said.items() if value is not None}
