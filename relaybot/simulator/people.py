"""The simulated people: each has a wallet on the node `wallets`, with a Lightning Address and something to spend.

A wallet's balance is counted from what was granted, received and paid; nothing is
stored twice. How the world speaks of them over HTTP stands in `world.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from relaybot.clock import Clock
from relaybot.errors import Rejected
from relaybot.simulator.invoices import Asked, Invoices
from relaybot.simulator.offers import Offers
from relaybot.simulator.orders import order_for, read_invoice
from relaybot.simulator.params import Fault
from relaybot.simulator.payments import Paid, Payments
from relaybot.simulator.store import Row, Store

WALLETS_NODE = "wallets"
ADDRESS_HOST = "wallets.test"  # a reserved name: it leads nowhere but where a config says
GRANTED_MSAT_DEFAULT = 1_000_000_000
SENDABLE_MSAT = range(1_000, 10_000_000_001)  # what an address takes in one payment
INVOICE_SECONDS = 600

_NAME = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)  # LUD-16


@dataclass(frozen=True, slots=True)
class Wanted:
    """A payment a person wants to make."""

    bolt11: str  # or an offer (lno1…), for which an invoice is asked first
    amount_msat: int | None = None  # more than the invoice asks is allowed: people do overpay
    maxfee_msat: int | None = None


class People:
    """All wallets."""

    def __init__(self, *, store: Store, invoices: Invoices, offers: Offers, payments: Payments, clock: Clock) -> None:
        self._store = store
        self._invoices = invoices
        self._offers = offers
        self._payments = payments
        self._clock = clock

    def open(self, name: str, granted_msat: int = GRANTED_MSAT_DEFAULT) -> None:
        """Open a wallet, with a grant to spend; one that is open stays as it is. Rejected for a name LUD-16 forbids."""
        if not _NAME.fullmatch(name):
            raise Rejected("invalid", "wallet names are 1 to 64 of a-z 0-9 . _ -", found=name[:80])
        self._store.run(
            "INSERT OR IGNORE INTO wallets (name, granted_msat, created_at) VALUES (?, ?, ?)",
            (name, granted_msat, self._clock.now()),
        )

    def names(self) -> list[str]:
        """Return all wallets, the oldest first."""
        return [str(row["name"]) for row in self._store.rows("SELECT name FROM wallets ORDER BY rowid")]

    def metadata(self, name: str) -> str:
        """Return the LNURL metadata of a person, whose hash stands in the invoice. LUD-06, LUD-16."""
        address = f"{name}@{ADDRESS_HOST}"
        return json.dumps([["text/plain", f"Pay {name}"], ["text/identifier", address]])

    def invoice(self, name: str, amount_msat: int, *, described: str | None = None) -> str:
        """Return a fresh invoice of this person, for a payment to the Lightning Address; a zap is `described`."""
        self.open(name)
        number = self._store.next_index(WALLETS_NODE, f"wallet/{name}")
        label = f"wallet/{name}/{number}"
        words = self.metadata(name) if described is None else described
        asked = Asked(label, amount_msat, words, only_hash=True, expiry_seconds=INVOICE_SECONDS)
        return str(self._invoices.create(asked)["bolt11"])

    async def pay(self, name: str, wanted: Wanted) -> Paid:
        """Pay an invoice from this person's wallet; Fault as the node answers, 301 if the wallet holds too little."""
        self.open(name)
        text = wanted.bolt11
        if text.lower().startswith("lno1"):
            text = self._offers.request(text, amount_msat=wanted.amount_msat)
        invoice = read_invoice(text, now=self._clock.now())
        amount = wanted.amount_msat or invoice.amount_msat
        if amount is None:
            raise Fault(-32602, "amount_msat required")
        order = order_for(invoice, amount_msat=amount, maxfee_msat=wanted.maxfee_msat)
        balance = self.balance_msat(name)
        if balance < amount:
            raise Fault(301, f"the wallet holds {balance} msat, {amount} msat are wanted")
        self._store.run(
            "INSERT OR IGNORE INTO wallet_payments (payment_hash, wallet, created_at) VALUES (?, ?, ?)",
            (invoice.payment_hash, name, self._clock.now()),
        )
        return await self._payments.pay(WALLETS_NODE, order)

    def balance_msat(self, name: str) -> int:
        """Return what the wallet holds: granted and received, less what was sent or is on its way."""
        granted = self._store.number("SELECT granted_msat FROM wallets WHERE name = ?", (name,))
        received = sum(int(row["received_msat"]) for row in self._received(name))
        return granted + received - sum(int(row["sent_msat"]) for row in self._sent(name))

    def describe(self, name: str) -> dict[str, Any]:
        """Return what there is to know about a wallet."""
        return {
            "name": name,
            "address": f"{name}@{ADDRESS_HOST}",
            "balance_msat": self.balance_msat(name),
            "received": [
                {"payment_hash": row["payment_hash"], "amount_msat": row["received_msat"], "paid_at": row["paid_at"]}
                for row in self._received(name)
            ],
            "sent": [
                {"payment_hash": row["payment_hash"], "amount_sent_msat": row["sent_msat"], "status": row["status"]}
                for row in self._sent(name)
            ],
        }

    def _received(self, name: str) -> list[Row]:
        # All labels of one wallet lie between wallet/<name>/ and wallet/<name>0, for 0 follows the slash.
        return self._store.rows(
            "SELECT * FROM invoices WHERE node = ? AND label > ? AND label < ? AND status = 'paid' ORDER BY pay_index",
            (WALLETS_NODE, f"wallet/{name}/", f"wallet/{name}0"),
        )

    def _sent(self, name: str) -> list[Row]:
        return self._store.rows(
            "SELECT p.* FROM parts p JOIN wallet_payments w USING (payment_hash)"
            " WHERE p.node = ? AND w.wallet = ? AND p.status <> 'failed' ORDER BY p.created_index",
            (WALLETS_NODE, name),
        )
