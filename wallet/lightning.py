"""The port to the Lightning node: what we ask of it and the words in which it answers.

No answer of a payment call is ever FAILED: an error of the node is no proof that
nothing was paid (`PaymentState`). What the words mean at Core Lightning stands in
`wallet/cln.py`; who asks, how often and what follows stands in `wallet/payouts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from wallet.money import Msat


class PaymentState(Enum):
    """What the node's records prove about the payment of one hash."""

    SETTLED = "settled"  # paid: a preimage is there
    FAILED = "failed"  # attempts are on record, and every one of them failed
    PENDING = "pending"  # at least one part is on its way
    UNKNOWN = "unknown"  # nothing is proved: the money stays held


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice of ours, known to the node under `label`."""

    label: str
    bolt11: str
    payment_hash: str
    amount_msat: Msat | None  # None: the payer chooses
    expires_at: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """An invoice of ours was paid; `amount_msat` is what arrived, which may be more than asked."""

    label: str
    payment_hash: str
    amount_msat: Msat
    pay_index: int
    paid_at: int
    change: int = 0  # the number of this change in the node's own count of them (`invoice_changes`)
    offer_id: str | None = None  # of the offer it was made for, at the payer's request
    preimage: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StandingOffer:
    """An offer (BOLT12) of ours: whoever pays it asks the node for an invoice, as often as they like."""

    offer_id: str
    bolt12: str


@dataclass(frozen=True, slots=True)
class PaymentReport:
    """What the node says about an outgoing payment."""

    state: PaymentState
    amount_sent_msat: Msat | None = None  # SETTLED only, the routing fee included
    preimage: str | None = None
    reason: str | None = None  # short; holds no invoice and no text of the node
    label: str | None = field(default=None, compare=False)  # SETTLED only: what we called it when we paid
    invoice: str | None = field(default=None, compare=False, repr=False)  # SETTLED only: the text that was paid


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Who the node is and whether it sees the chain as it is now."""

    node_id: str
    network: str
    alias: str
    block_height: int
    synced: bool


@dataclass(frozen=True, slots=True)
class Move:
    """One movement in the node's channels: one row per HTLC part."""

    index: int
    payment_hash: str | None
    credit_msat: Msat
    debit_msat: Msat
    fees_msat: Msat
    tag: str  # the node's first tag: invoice, pushed, channel_open, routed, …


@dataclass(frozen=True, slots=True)
class DecodedInvoice:
    """What an invoice says, its signature checked."""

    bolt11: str  # the text that is paid; a BOLT12 invoice where it was fetched for an offer
    payment_hash: str
    payee: str
    amount_msat: Msat | None
    description: str | None
    description_hash: str | None
    created_at: int
    expires_at: int
    network: str  # the currency prefix: bc, tb, bcrt, …


class Lightning(Protocol):
    """A Lightning node. Every call but `pay` raises Unavailable if the node does not answer, or not in time."""

    async def info(self) -> NodeInfo:
        """Return who the node is."""
        ...

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
        """Return the invoice of this `label`, made now or before; `hashed`, it commits to the description's hash only.

        `preimage` is its secret as hex; without one the node draws it.
        Rejected if the label stands for another amount, or the node refuses the description.
        """
        ...

    async def find_invoice(self, label: str) -> Invoice | None:
        """Return the invoice of this `label`, if there is one."""
        ...

    async def cancel_invoice(self, label: str) -> None:
        """See to it that an unpaid invoice cannot be paid any more; one that has been paid, or is gone, stays so."""
        ...

    async def create_offer(self, *, description: str, label: str) -> StandingOffer:
        """Return an offer over any amount, which stands until it is disabled."""
        ...

    async def invoice_changes(self) -> int:
        """Return how many changes of invoices the node has counted: it never counts back, unless it forgot."""
        ...

    async def next_settlement(self, *, after_index: int, timeout_seconds: int) -> Settlement | None:
        """Wait for the first settlement with a pay_index above `after_index`; None if none comes in time."""
        ...

    async def fetch_invoice(self, offer: str, *, amount_msat: Msat) -> DecodedInvoice:
        """Ask whoever made a BOLT12 offer for an invoice of exactly `amount_msat`.

        Rejected if they refuse, or their invoice is not what was asked for; Unavailable if they do not answer.
        """
        ...

    async def pay(
        self, bolt11: str, *, maxfee_msat: Msat, label: str, amount_msat: Msat | None = None
    ) -> PaymentReport:
        """Pay an invoice once, for at most `maxfee_msat` of routing fee; `amount_msat` if it names none itself.

        SETTLED on success, else UNKNOWN with the reason, a node out of reach included: it raises
        nothing. Whether an UNKNOWN one was paid is what `payment` tells, later.
        """
        ...

    async def payment(self, payment_hash: str) -> PaymentReport:
        """Return what the node's records prove about all attempts for this hash.

        An empty record is UNKNOWN. FAILED is trustworthy only if it is seen twice, with a pause.
        """
        ...

    async def htlc_hashes(self) -> frozenset[str]:
        """Return the payment hashes with a part in flight in any channel."""
        ...

    async def opening_channels(self) -> frozenset[str]:
        """Return the transactions of channels that are being opened or spliced, and are not deep enough yet."""
        ...

    async def spendable_msat(self) -> Msat:
        """Return what all connected channels together can send now."""
        ...

    async def receivable_msat(self) -> Msat:
        """Return what all connected channels together can receive now."""
        ...

    async def moves(self, *, after_index: int, limit: int) -> list[Move]:
        """Return up to `limit` channel movements with an index above `after_index`, oldest first."""
        ...
