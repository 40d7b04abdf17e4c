"""A Lightning node that answers as it is told: no sockets, no chance, the same answers every time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from relaybot.clock import Clock
from relaybot.simulator.signing import InvoiceText, build_bolt11
from wallet.bolt11_invoice import parse_bolt11
from wallet.chain import ChainMove, Output, Payment, Prepared
from wallet.lightning import (
    DecodedInvoice,
    Invoice,
    Move,
    NodeInfo,
    PaymentReport,
    PaymentState,
    Settlement,
    StandingOffer,
)
from wallet.money import Msat

SERVICE_NODE, WALLETS_NODE = b"\x11" * 32, b"\x22" * 32  # secrets of two nodes


class ScriptedNode:
    """The port `wallet.lightning.Lightning`, for a story that is always told the same."""

    def __init__(self, clock: Clock) -> None:
        self.invoices: dict[str, Invoice] = {}
        self.settlements: list[Settlement] = []
        self.fee_msat = 0  # of the next payment
        self._clock = clock

    async def info(self) -> NodeInfo:
        return NodeInfo("02" + "11" * 32, "regtest", "scripted", 100, synced=True)

    async def create_invoice(
        self,
        *,
        label: str,
        amount_msat: Msat | None,
        description: str,
        expiry_seconds: int,
        hashed: bool = False,
        preimage: str | None = None,
    ) -> Invoice:
        read = signed_invoice(
            label, SERVICE_NODE, amount_msat, now=self._clock.now(), seconds=expiry_seconds, words=description
        )
        invoice = Invoice(label, read.bolt11, read.payment_hash, read.amount_msat, read.expires_at)
        return self.invoices.setdefault(label, invoice)

    async def find_invoice(self, label: str) -> Invoice | None:
        return self.invoices.get(label)

    def settle(self, label: str, amount_msat: int) -> None:
        """Let somebody pay: an invoice of ours, or something that came unasked."""
        payment_hash = self.invoices[label].payment_hash if label in self.invoices else _digest(label)
        number = len(self.settlements) + 1
        self.settlements.append(Settlement(label, payment_hash, Msat(amount_msat), number, self._clock.now()))

    async def next_settlement(self, *, after_index: int, timeout_seconds: int) -> Settlement | None:
        del timeout_seconds
        return next((one for one in self.settlements if one.pay_index > after_index), None)

    async def cancel_invoice(self, label: str) -> None:
        self.invoices.pop(label)

    async def create_offer(self, *, description: str, label: str) -> StandingOffer:
        del description
        return StandingOffer(_digest(label), f"lno1{_digest(label)}")

    async def invoice_changes(self) -> int:
        return len(self.settlements)

    async def fetch_invoice(self, offer: str, *, amount_msat: Msat) -> DecodedInvoice:
        raise AssertionError(f"nobody pays {amount_msat} msat to {offer}")

    async def pay(
        self, bolt11: str, *, maxfee_msat: Msat, label: str, amount_msat: Msat | None = None
    ) -> PaymentReport:
        del maxfee_msat, label
        amount = parse_bolt11(bolt11).amount_msat or amount_msat or 0
        return PaymentReport(PaymentState.SETTLED, Msat(amount + self.fee_msat), "00" * 32)

    async def payment(self, payment_hash: str) -> PaymentReport:
        raise AssertionError(f"nobody asks about {payment_hash}")

    async def htlc_hashes(self) -> frozenset[str]:
        return frozenset()

    async def opening_channels(self) -> frozenset[str]:
        return frozenset()

    async def spendable_msat(self) -> Msat:
        return Msat(1_000_000_000)

    async def receivable_msat(self) -> Msat:
        return Msat(1_000_000_000)

    async def moves(self, *, after_index: int, limit: int) -> list[Move]:
        del after_index, limit
        return []


class ScriptedChain:
    """The port `wallet.chain.Chain`: outputs that a story writes down."""

    def __init__(self) -> None:
        self.paid: list[Output] = []

    async def new_address(self) -> str:
        return "bcrt1p97nuy7nhg6shsxmm8gk6yarz9j6cje0vyffss38ycrgs6pfwkns5wp8ld"

    async def outputs(self) -> list[Output]:
        return self.paid

    async def wait_for_block(self, height: int, *, timeout_seconds: int) -> None:
        raise AssertionError(f"nobody waits {timeout_seconds} s for block {height}")

    async def chain_moves(self, *, after_index: int, limit: int) -> list[ChainMove]:
        del after_index, limit
        return []

    async def feerate(self, blocks: int) -> int:
        raise AssertionError(f"nothing is sent on the chain, in {blocks} blocks or ever")

    async def is_own(self, address: str) -> bool:
        raise AssertionError(f"nothing is sent to {address}")

    async def prepare(self, payments: Sequence[Payment], *, feerate: int, confirmations: int) -> Prepared:
        raise AssertionError(f"nothing is sent: {payments}, {feerate}, {confirmations}")

    async def discard(self, txid: str) -> None:
        raise AssertionError(f"nothing was prepared: {txid}")

    async def send(self, txid: str, psbt: str) -> str:
        raise AssertionError(f"nothing was prepared: {txid}, {psbt}")

    async def heights(self, txids: Collection[str]) -> Mapping[str, int]:
        raise AssertionError(f"nothing was sent: {txids}")


def signed_invoice(
    label: str, secret: bytes, amount_msat: Msat | None, *, now: int, seconds: int = 600, words: str = ""
) -> DecodedInvoice:
    """Return a really signed invoice whose payment hash derives from its label."""
    text = InvoiceText(
        payment_hash=_digest(label),
        payment_secret=_digest(f"secret of {label}"),
        amount_msat=amount_msat,
        description=words,
        only_hash=False,
        created_at=now,
        expiry_seconds=seconds,
    )
    return parse_bolt11(build_bolt11(text, secret=secret))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
