"""The Lightning port on Core Lightning.

What the node really answers was recorded from v26.06; the comments name the fact
each line obeys. Nothing here retries, decides about money or remembers anything:
that is `wallet/payouts.py` and `wallet/invoices.py`.

Each call runs in a thread of one of four lanes (reads, waits, fetches, payments), so that
neither a hanging payment nor an offer that nobody answers slows anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from relaybot.errors import Rejected, Unavailable
from wallet.cln_answers import (
    FINAL_HTLC_STATES,
    CreatedInvoice,
    DecodedBolt12,
    Fetched,
    GetInfo,
    InvoiceCount,
    ListChannelMoves,
    ListHtlcs,
    ListInvoices,
    ListPays,
    ListPeerChannels,
    ListSendPays,
    MadeOffer,
    PaidInvoice,
    PeerChannel,
    XpayAnswer,
    attempts_from_parts,
    bolt12_invoice,
    report,
    shaped,
    unknown,
)
from wallet.cln_calls import Lane, NodeError
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

_UNKNOWN_COMMAND = -32601
_BAD_PARAMETERS = -32602
_DUPLICATE_LABEL, _DUPLICATE_PREIMAGE = 900, 901
_TIMED_OUT = 904
_NO_SUCH_INVOICE = frozenset({905, 906})  # unknown, or no longer unpaid

# Why a payment call failed, in our words: the node's own text may hold invoices and is never passed on.
_PAY_REASONS = {
    -3: "still in progress",
    -4: "node plugin stopped",
    _UNKNOWN_COMMAND: "node has no xpay",
    _BAD_PARAMETERS: "node refused the invoice",
    203: "destination refused",
    205: "no route or no liquidity",
    206: "routing fee above the limit",
    207: "invoice expired",
    209: "an attempt failed, parts may be pending",
    219: "already paid",
}
# What fetchinvoice says: the first cannot be mended by asking again, the second can.
_FETCH_REASONS = {
    _BAD_PARAMETERS: "the node cannot read this offer, or its amount is another one",
    1002: "offer has expired",
    1004: "whoever made the offer refuses to give an invoice",
}
_FETCH_WAITS_REASONS = {1003: "no way to whoever made the offer", 1005: "whoever made the offer does not answer"}
_OPENING_STATES = frozenset(
    {
        "OPENINGD",
        "DUALOPEND_OPEN_INIT",
        "DUALOPEND_OPEN_COMMIT_READY",
        "DUALOPEND_OPEN_COMMITTED",
        "DUALOPEND_AWAITING_LOCKIN",
        "CHANNELD_AWAITING_LOCKIN",
    }
)
_SENDING_STATES = frozenset({"CHANNELD_NORMAL", "CHANNELD_AWAITING_SPLICE"})
_Shape = TypeVar("_Shape")


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """How long a call may take and how many may run at once."""

    read_seconds: float = 30  # a node that reads longer than this hangs
    wait_grace_seconds: float = 10  # what a wait may take beyond its own timeout
    payment_seconds: float = 120  # then the answer is UNKNOWN; the payment itself goes on
    fetch_seconds: int = 30  # for whoever made an offer to answer with an invoice
    retry_seconds: int = 60  # xpay looks for other routes this long; no timeout: a held HTLC outlasts it
    readers: int = 8
    waiters: int = 4
    fetchers: int = 16  # whoever makes an offer can let us wait: that must keep no settlement waiting
    payers: int = 64


class CoreLightning:
    """The Lightning port, spoken to a Core Lightning node or to what serves its JSON-RPC."""

    def __init__(
        self, socket_path: Path | str, *, limits: NodeLimits | None = None, private_channels: bool | None = None
    ) -> None:
        """Prepare the lanes; nothing is sent before the first call.

        `private_channels` says whether invoices hint at unpublished channels; None leaves it to the node.
        """
        self._private_channels = private_channels
        self._limits = limits or NodeLimits()
        path = Path(socket_path)
        self._reads = Lane("read", path=path, threads=self._limits.readers)
        self._waits = Lane("wait", path=path, threads=self._limits.waiters)
        self._fetches = Lane("fetch", path=path, threads=self._limits.fetchers)
        self._payments = Lane("pay", path=path, threads=self._limits.payers)

    async def close(self) -> None:
        """End all calls and free their threads; payments already sent go on at the node."""
        for lane in (self._reads, self._waits, self._fetches, self._payments):
            lane.close()

    async def info(self) -> NodeInfo:
        """Return who the node is; not synced while it says that it or its backend lags behind."""
        answer = await self._read("getinfo", {}, GetInfo)
        synced = answer.warning_bitcoind_sync is None and answer.warning_lightningd_sync is None
        return NodeInfo(answer.id, answer.network, answer.alias, answer.blockheight, synced)

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
        """Return the invoice of this `label`, made now or before."""
        params: dict[str, object] = {
            "amount_msat": "any" if amount_msat is None else amount_msat,
            "label": _sendable("label", label),
            "description": _sendable("description", description),  # as UTF-8: an \u escape answers -32602
            "expiry": expiry_seconds,
            **({"deschashonly": True} if hashed else {}),
            **({"preimage": preimage} if preimage is not None else {}),
        }
        if self._private_channels is not None:  # left out, the node hints at them only if it has no public one
            params["exposeprivatechannels"] = self._private_channels
        try:
            made = await self._read("invoice", params, CreatedInvoice, asks=True)
        except NodeError as error:
            # The label is the idempotency key. With a preimage of ours the node complains of that first.
            if error.code in {_DUPLICATE_LABEL, _DUPLICATE_PREIMAGE}:
                return await self._invoice_made_before(label, amount_msat)
            if error.code == _BAD_PARAMETERS:
                raise Rejected("invalid", "the node refuses this amount, label or description") from None
            raise Unavailable(str(error)) from None
        return Invoice(label, made.bolt11, made.payment_hash, amount_msat, made.expires_at)

    async def _invoice_made_before(self, label: str, amount_msat: Msat | None) -> Invoice:
        found = await self.find_invoice(label)
        if found is None:
            raise Unavailable("lightning node: invoice: the label was taken, and free again")
        if found.amount_msat != amount_msat:
            raise Rejected(
                "duplicate", "the label stands for another amount", found=found.amount_msat, asked=amount_msat
            )
        return found

    async def find_invoice(self, label: str) -> Invoice | None:
        """Return the invoice of this `label`, if there is one."""
        answer = await self._read("listinvoices", {"label": _sendable("label", label)}, ListInvoices)
        for each in answer.invoices:
            amount = None if each.amount_msat is None else Msat(each.amount_msat)
            return Invoice(each.label, each.bolt11, each.payment_hash, amount, each.expires_at)
        return None

    async def cancel_invoice(self, label: str) -> None:
        """Delete an unpaid invoice: the node then refuses its payment. What was paid meanwhile is a settlement."""
        try:
            await self._reads.call(
                "delinvoice",
                {"label": _sendable("label", label), "status": "unpaid"},
                limit_seconds=self._limits.read_seconds,
            )
        except NodeError as error:
            if error.code not in _NO_SUCH_INVOICE:
                raise Unavailable(str(error)) from None

    async def create_offer(self, *, description: str, label: str) -> StandingOffer:
        """Return an offer over any amount. Made again it may be another one: its blinded paths are new each time."""
        params = {"amount": "any", "description": _sendable("description", description), "label": label}
        made = await self._read("offer", params, MadeOffer)
        return StandingOffer(made.offer_id, made.bolt12)

    async def invoice_changes(self) -> int:
        """Return the last updated_index: it outlives deleted invoices, and is never used twice."""
        params = {"subsystem": "invoices", "indexname": "updated", "nextvalue": 0}  # 0 answers at once
        return (await self._read("wait", params, InvoiceCount)).updated

    async def next_settlement(self, *, after_index: int, timeout_seconds: int) -> Settlement | None:
        """Wait for the first settlement above `after_index`; None if none comes in time.

        A pay_index is never reused, and deleted invoices are skipped.
        """
        params = {"lastpay_index": after_index, "timeout": timeout_seconds}
        limit = timeout_seconds + self._limits.wait_grace_seconds
        try:
            answer = await self._waits.call("waitanyinvoice", params, limit_seconds=limit)
        except NodeError as error:
            if error.code == _TIMED_OUT:
                return None
            raise Unavailable(str(error)) from None
        paid = shaped("waitanyinvoice", answer, PaidInvoice)
        # Overpayment is accepted: what arrived is what counts.
        return Settlement(
            paid.label,
            paid.payment_hash,
            Msat(paid.amount_received_msat),
            paid.pay_index,
            paid.paid_at,
            preimage=paid.payment_preimage,
            change=paid.updated_index,
            offer_id=paid.local_offer_id,
        )

    async def fetch_invoice(self, offer: str, *, amount_msat: Msat) -> DecodedInvoice:
        """Ask the maker of an offer for an invoice. The node checks that it belongs to the offer, and its signature."""
        params = {"offer": offer, "amount_msat": amount_msat, "timeout": self._limits.fetch_seconds}
        limit = self._limits.fetch_seconds + self._limits.wait_grace_seconds
        try:
            fetched = shaped(
                "fetchinvoice", await self._fetches.call("fetchinvoice", params, limit_seconds=limit), Fetched
            )
        except NodeError as error:
            if error.code in _FETCH_REASONS:
                raise Rejected("invalid", _FETCH_REASONS[error.code]) from None
            raise Unavailable(_FETCH_WAITS_REASONS.get(error.code, str(error))) from None
        said = await self._read("decode", {"string": fetched.invoice}, DecodedBolt12)
        return bolt12_invoice(fetched.invoice, said, amount_msat=amount_msat)

    async def pay(
        self, bolt11: str, *, maxfee_msat: Msat, label: str, amount_msat: Msat | None = None
    ) -> PaymentReport:
        """Pay once; SETTLED on success, else UNKNOWN with the reason. Raises nothing but cancellation.

        No error is proof that nothing was sent: 209 came while a large part was pending for
        70 s more, 205 after a restart while the first payment was live, 219 means paid.
        """
        # xpay, for pay is deprecated and ignores unknown parameters silently. Our own maxfee on every call: the
        # node's default is the larger of 1 % and 5 sat. Labels are kept, but neither unique nor indexed.
        params = {
            "invstring": bolt11,
            "maxfee": maxfee_msat,
            "retry_for": self._limits.retry_seconds,
            "label": label,
        } | ({} if amount_msat is None else {"amount_msat": amount_msat})  # refused where the invoice has an amount
        try:
            answer = await self._payments.call("xpay", params, limit_seconds=self._limits.payment_seconds)
            paid = shaped("xpay", answer, XpayAnswer)
        except NodeError as error:
            return unknown(_PAY_REASONS.get(error.code, f"node error {error.code}"))
        except Unavailable as error:
            return unknown(str(error))
        return PaymentReport(PaymentState.SETTLED, Msat(paid.amount_sent_msat), paid.payment_preimage)

    async def payment(self, payment_hash: str) -> PaymentReport:
        """Return what the records prove: one entry is one attempt, and all attempts count."""
        params = {"payment_hash": payment_hash}
        try:
            listed = await self._read("listpays", params, ListPays, asks=True)
        except NodeError as error:
            if error.code != _UNKNOWN_COMMAND:
                raise Unavailable(str(error)) from None
            # listpays belongs to a plugin and is gone when that one is.
            parts = await self._read("listsendpays", params, ListSendPays)
            return report(payment_hash, attempts_from_parts(parts.payments))
        return report(payment_hash, listed.pays)

    async def htlc_hashes(self) -> frozenset[str]:
        """Return the payment hashes with an HTLC in flight.

        A pending payment that is in neither list is an orphan: the node was killed during it.
        """
        every = await self._read("listhtlcs", {}, ListHtlcs)
        channels = await self._read("listpeerchannels", {}, ListPeerChannels)
        live = {htlc.payment_hash for channel in channels.channels for htlc in channel.htlcs}
        return frozenset(live | {htlc.payment_hash for htlc in every.htlcs if htlc.state not in FINAL_HTLC_STATES})

    async def opening_channels(self) -> frozenset[str]:
        """Return the funding transactions that the node books when the channel is ready, some blocks later."""
        answer = await self._read("listpeerchannels", {}, ListPeerChannels)
        opening = {each.funding_txid for each in answer.channels if each.state in _OPENING_STATES}
        return frozenset(opening | {one.funding_txid for each in answer.channels for one in each.inflight})

    async def spendable_msat(self) -> Msat:
        """Return what all usable channels with a connected peer can send now."""
        return Msat(sum(each.spendable_msat for each in await self._usable_channels()))

    async def receivable_msat(self) -> Msat:
        """Return what all usable channels with a connected peer can receive now."""
        return Msat(sum(each.receivable_msat for each in await self._usable_channels()))

    async def _usable_channels(self) -> list[PeerChannel]:
        answer = await self._read("listpeerchannels", {}, ListPeerChannels)
        return [each for each in answer.channels if each.peer_connected and each.state in _SENDING_STATES]

    async def moves(self, *, after_index: int, limit: int) -> list[Move]:
        """Return up to `limit` channel movements above `after_index`: one row per HTLC part."""
        params = {"index": "created", "start": after_index + 1, "limit": limit}
        answer = await self._read("listchannelmoves", params, ListChannelMoves)
        return [
            Move(
                each.created_index,
                each.payment_hash,
                Msat(each.credit_msat),
                Msat(each.debit_msat),
                Msat(each.fees_msat),
                each.primary_tag,
            )
            for each in answer.channelmoves
        ]

    async def _read(
        self, method: str, params: Mapping[str, object], shape: type[_Shape], *, asks: bool = False
    ) -> _Shape:
        """Return the answer of a short call; with `asks` the caller judges the node's errors itself."""
        try:
            answer = await self._reads.call(method, params, limit_seconds=self._limits.read_seconds)
        except NodeError as error:
            if asks:
                raise
            raise Unavailable(str(error)) from None
        return shaped(method, answer, shape)


def _sendable(field: str, text: str) -> str:
    """Return `text` if it can be written as UTF-8: a lone surrogate cannot, and would raise in pyln."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Rejected("invalid", f"{field} is no valid Unicode text") from None
    return text
