"""Core Lightning's answers as typed data, and what its payment records prove.

Pure: no socket and no pyln here. Only the fields we use are named; what else an
answer holds is ignored, and a missing or mistyped one is the node's fault.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, TypeVar

import msgspec

from relaybot.errors import Rejected, Unavailable
from wallet.lightning import DecodedInvoice, PaymentReport, PaymentState
from wallet.money import MAX_MSAT, Msat

# An HTLC in one of these states is over; listhtlcs remembers it as long as its channel is open.
FINAL_HTLC_STATES = frozenset({"RCVD_REMOVE_ACK_REVOCATION", "SENT_REMOVE_ACK_REVOCATION"})

AnyMsat = Annotated[int, msgspec.Meta(ge=0, le=MAX_MSAT)]  # every *_msat in an answer is a plain int
_Shape = TypeVar("_Shape")


class GetInfo(msgspec.Struct):
    """getinfo: who the node is; a warning says that it or its backend lags behind the chain."""

    id: str
    network: str
    blockheight: int
    alias: str = ""
    warning_bitcoind_sync: str | None = None
    warning_lightningd_sync: str | None = None


class CreatedInvoice(msgspec.Struct):
    """invoice."""

    bolt11: str
    payment_hash: str
    expires_at: int


class ListedInvoice(msgspec.Struct):
    """One row of listinvoices."""

    label: str
    payment_hash: str
    expires_at: int
    bolt11: str = ""  # invoices of offers have a bolt12 instead
    amount_msat: AnyMsat | None = None


class ListInvoices(msgspec.Struct):
    """listinvoices."""

    invoices: list[ListedInvoice]


class PaidInvoice(msgspec.Struct):
    """waitanyinvoice."""

    label: str
    payment_hash: str
    pay_index: int
    amount_received_msat: AnyMsat
    paid_at: int
    payment_preimage: str
    updated_index: int = 0
    local_offer_id: str | None = None


class Fetched(msgspec.Struct):
    """fetchinvoice."""

    invoice: str


class DecodedBolt12(msgspec.Struct):
    """decode, of a BOLT12 invoice."""

    type: str
    valid: bool
    invoice_payment_hash: str = ""
    invoice_node_id: str = ""
    invoice_amount_msat: AnyMsat = 0
    invoice_created_at: int = 0
    invoice_relative_expiry: int = 7_200  # BOLT 12: where the invoice names none
    offer_description: str | None = None


class InvoiceCount(msgspec.Struct):
    """wait, for the changes of invoices."""

    updated: int


class MadeOffer(msgspec.Struct):
    """offer."""

    offer_id: str
    bolt12: str


class XpayAnswer(msgspec.Struct):
    """xpay, on success."""

    payment_preimage: str
    amount_sent_msat: AnyMsat


_Status = Literal["pending", "complete", "failed"]


class Attempt(msgspec.Struct):
    """One row of listpays: one attempt (groupid), all its parts together. Failed ones have no amount."""

    status: _Status
    preimage: str | None = None
    amount_sent_msat: AnyMsat | None = None
    label: str | None = None
    bolt11: str | None = None
    bolt12: str | None = None


class ListPays(msgspec.Struct):
    """listpays."""

    pays: list[Attempt]


class Part(msgspec.Struct):
    """One row of listsendpays."""

    status: _Status
    groupid: int = 0  # exceeds 2^53: never a float
    payment_preimage: str | None = None
    amount_sent_msat: AnyMsat | None = None


class ListSendPays(msgspec.Struct):
    """listsendpays."""

    payments: list[Part]


class Htlc(msgspec.Struct):
    """One row of listhtlcs, and of a channel's `htlcs`."""

    payment_hash: str
    state: str = ""


class ListHtlcs(msgspec.Struct):
    """listhtlcs."""

    htlcs: list[Htlc]


class Inflight(msgspec.Struct):
    """A transaction that shall fund a channel and is not deep enough yet."""

    funding_txid: str


class PeerChannel(msgspec.Struct):
    """One row of listpeerchannels."""

    state: str
    funding_txid: str = ""
    inflight: list[Inflight] = []
    peer_connected: bool = False
    spendable_msat: AnyMsat = 0
    receivable_msat: AnyMsat = 0
    htlcs: list[Htlc] = []


class ListPeerChannels(msgspec.Struct):
    """listpeerchannels."""

    channels: list[PeerChannel]


class ChannelMove(msgspec.Struct):
    """One row of listchannelmoves."""

    created_index: int
    credit_msat: AnyMsat
    debit_msat: AnyMsat
    fees_msat: AnyMsat
    primary_tag: str
    payment_hash: str | None = None


class ListChannelMoves(msgspec.Struct):
    """listchannelmoves."""

    channelmoves: list[ChannelMove]


def shaped(method: str, answer: object, shape: type[_Shape]) -> _Shape:
    """Return `answer` as `shape`; Unavailable if the node answered something else."""
    try:
        return msgspec.convert(answer, type=shape)
    except msgspec.ValidationError as error:
        raise Unavailable(f"lightning node: {method}: unexpected answer: {error}") from None


def bolt12_invoice(text: str, said: DecodedBolt12, *, amount_msat: Msat) -> DecodedInvoice:
    """Return a fetched invoice as it was decoded; Rejected if it is not one of exactly `amount_msat`."""
    if said.type != "bolt12 invoice" or not said.valid or not said.invoice_payment_hash:
        raise Rejected("invalid", "whoever made the offer gave no valid invoice", found=said.type[:40])
    if said.invoice_amount_msat != amount_msat:
        found = said.invoice_amount_msat
        raise Rejected("invalid", "invoice is for another amount", found=found, allowed=amount_msat)
    return DecodedInvoice(
        bolt11=text,
        payment_hash=said.invoice_payment_hash,
        payee=said.invoice_node_id,
        amount_msat=amount_msat,
        description=said.offer_description,
        description_hash=None,
        created_at=said.invoice_created_at,
        expires_at=said.invoice_created_at + said.invoice_relative_expiry,
        network="",  # the node fetches and takes invoices of its own chain only
    )


def unknown(reason: str) -> PaymentReport:
    """Return the report that proves nothing, and why."""
    return PaymentReport(PaymentState.UNKNOWN, reason=reason)


def attempts_from_parts(parts: list[Part]) -> list[Attempt]:
    """Return `parts` as listpays would: one entry per attempt (groupid), the failed parts' amounts left out."""
    groups: dict[int, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.groupid, []).append(part)
    return [_attempt(group) for group in groups.values()]


def _attempt(parts: list[Part]) -> Attempt:
    statuses = {part.status for part in parts}
    status: _Status = "complete" if "complete" in statuses else "pending" if "pending" in statuses else "failed"
    preimage = next((part.payment_preimage for part in parts if part.payment_preimage is not None), None)
    # Once one part is complete the recipient has the preimage, so a pending part of it is as good as taken.
    amounts = [part.amount_sent_msat for part in parts if part.status != "failed"]
    known = [amount for amount in amounts if amount is not None]
    return Attempt(status, preimage, sum(known) if len(known) == len(amounts) else None)


def report(payment_hash: str, attempts: list[Attempt]) -> PaymentReport:
    """Any complete: paid; else any pending: wait; else, if there was any, failed. Nothing proves nothing."""
    complete = [each for each in attempts if each.status == "complete"]
    if complete:
        return _settled(payment_hash, complete)
    if any(each.status == "pending" for each in attempts):
        return PaymentReport(PaymentState.PENDING)
    if attempts:
        return PaymentReport(PaymentState.FAILED, reason="every attempt failed")
    # For some milliseconds after sending the list is empty, and after a crash it may be: no proof of anything.
    return unknown("no record")


def _settled(payment_hash: str, complete: list[Attempt]) -> PaymentReport:
    preimage, amounts = complete[0].preimage, [each.amount_sent_msat for each in complete]
    sent = sum(amount for amount in amounts if amount is not None)
    if preimage is None or None in amounts:
        raise Unavailable("lightning node: a complete payment without preimage or amount")
    if _hash_of(preimage) != payment_hash:
        raise Unavailable("lightning node: a complete payment with another payment's preimage")
    first = complete[0]
    return PaymentReport(
        PaymentState.SETTLED, Msat(sent), preimage, label=first.label, invoice=first.bolt11 or first.bolt12
    )


def _hash_of(preimage: str) -> str | None:
    try:
        return hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
    except ValueError:
        return None
