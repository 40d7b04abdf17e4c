"""The Lightning port on Core Lightning: the one door to pyln-client.

What the node really answers was recorded from v26.06; the comments name the fact
each line obeys. Nothing here retries, decides about money or remembers anything:
that is `wallet/payouts.py` and `wallet/invoices.py`.

Each call runs in a thread of one of three pools (reads, waits, payments), so that a
hanging payment slows nobody. pyln sets no socket timeout and a call may hang for
ever, so each has a time limit of ours; when it passes, or the caller is cancelled,
the call's socket is shut and its thread is free again.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

# Importing pyln.client replaces json.JSONEncoder.default in the whole process (objects with a to_json method are
# written by it). Nothing of ours has such a method; a test shows that event ids stay what they were.
from pyln.client import LightningRpc, RpcError

from relaybot.errors import Rejected, Unavailable
from wallet.cln_answers import (
    FINAL_HTLC_STATES,
    CreatedInvoice,
    GetInfo,
    ListChannelMoves,
    ListHtlcs,
    ListInvoices,
    ListPays,
    ListPeerChannels,
    ListSendPays,
    PaidInvoice,
    XpayAnswer,
    attempts_from_parts,
    report,
    shaped,
    unknown,
)
from wallet.lightning import Invoice, Move, NodeInfo, PaymentReport, PaymentState, Settlement
from wallet.money import Msat

_UNKNOWN_COMMAND = -32601
_BAD_PARAMETERS = -32602
_DUPLICATE_LABEL = 900
_TIMED_OUT = 904

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
_SENDING_STATES = frozenset({"CHANNELD_NORMAL", "CHANNELD_AWAITING_SPLICE"})
_Shape = TypeVar("_Shape")


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """How long a call may take and how many may run at once."""

    read_seconds: float = 30  # a node that reads longer than this hangs
    wait_grace_seconds: float = 10  # what a wait may take beyond its own timeout
    payment_seconds: float = 120  # then the answer is UNKNOWN; the payment itself goes on
    retry_seconds: int = 60  # xpay looks for other routes this long; no timeout: a held HTLC outlasts it
    readers: int = 8
    waiters: int = 4
    payers: int = 64


class _NodeError(Exception):
    """The node answered with an error; only its code is kept."""

    def __init__(self, method: str, code: int) -> None:
        super().__init__(f"{method}: the node answered error {code}")
        self.code = code


class _Silent:
    """A logger that keeps nothing: pyln logs whole payloads, invoices included."""

    def debug(self, *_: object) -> None:
        """Drop it."""


class _Call(LightningRpc):  # type: ignore[misc]  # pyln has no types
    """One call over one socket, which can be given up from another thread."""

    def __init__(self, path: str, *, timeout_seconds: float) -> None:
        super().__init__(path, logger=_Silent())
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._given_up = False

    def _writeobj(self, sock: Any, obj: object) -> None:
        """Send the request, on a socket that cannot block for ever: pyln itself sets no timeout."""
        with self._lock:
            if self._given_up:
                raise TimeoutError("given up before it was sent")
            self._socket = sock.sock
            sock.sock.settimeout(self._timeout_seconds)
        super()._writeobj(sock, obj)

    def close(self) -> None:
        """Close the socket, in the thread that used it: pyln leaves it open after most errors."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def give_up(self) -> None:
        """Free the thread: nothing more is sent, and the one that reads hears the end of the stream."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                with suppress(OSError):  # the node hung up first
                    self._socket.shutdown(socket.SHUT_RDWR)


class _Lane:
    """One pool of threads for one sort of calls."""

    def __init__(self, name: str, *, path: Path, threads: int) -> None:
        self._path = str(path)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"lightning-{name}")
        self._calls: set[_Call] = set()
        self._closed = False

    async def call(self, method: str, params: Mapping[str, object], *, limit_seconds: float) -> object:
        """Return the node's result; raise _NodeError for its errors and Unavailable for all else."""
        if self._closed:
            raise Unavailable(f"lightning node: {method}: closed")
        call = _Call(self._path, timeout_seconds=limit_seconds)
        self._calls.add(call)
        try:
            async with asyncio.timeout(limit_seconds):  # waiting for a free thread counts
                return await asyncio.get_running_loop().run_in_executor(self._pool, partial(_ask, call, method, params))
        except TimeoutError:
            raise Unavailable(f"lightning node: {method} took longer than {limit_seconds:g} s") from None
        finally:
            call.give_up()  # nothing to give up after an answer; else the thread is freed now
            self._calls.discard(call)

    def close(self) -> None:
        """Take no more calls and end those that run."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for call in self._calls:
            call.give_up()


def _ask(call: _Call, method: str, params: Mapping[str, object]) -> object:
    """Make one blocking call, in a thread."""
    try:
        return call.call(method, dict(params))
    except RpcError as error:
        # On a lost connection .error is a string, not a dictionary.
        code = error.error.get("code") if isinstance(error.error, dict) else None
        lost = Unavailable(f"lightning node: connection lost during {method}")
        failure: Exception = _NodeError(method, code) if type(code) is int else lost
    except OSError as error:
        # No socket: FileNotFoundError. A dead node: ConnectionRefusedError or ConnectionResetError.
        failure = Unavailable(f"lightning node: {method}: {type(error).__name__}")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # pyln reads whatever comes as JSON and as a dictionary.
        failure = Unavailable(f"lightning node: {method}: unreadable answer ({type(error).__name__})")
    finally:
        call.close()
    raise failure  # out here nothing is chained to it: RpcError's text holds the payload, invoices and all


class CoreLightning:
    """The Lightning port, spoken to a Core Lightning node or to what serves its JSON-RPC."""

    def __init__(self, socket_path: Path | str, *, limits: NodeLimits | None = None) -> None:
        """Prepare the pools; nothing is sent before the first call."""
        self._limits = limits or NodeLimits()
        path = Path(socket_path)
        self._reads = _Lane("read", path=path, threads=self._limits.readers)
        self._waits = _Lane("wait", path=path, threads=self._limits.waiters)
        self._payments = _Lane("pay", path=path, threads=self._limits.payers)

    async def close(self) -> None:
        """End all calls and free their threads; payments already sent go on at the node."""
        for lane in (self._reads, self._waits, self._payments):
            lane.close()

    async def info(self) -> NodeInfo:
        """Return who the node is; not synced while it says that it or its backend lags behind."""
        answer = await self._read("getinfo", {}, GetInfo)
        synced = answer.warning_bitcoind_sync is None and answer.warning_lightningd_sync is None
        return NodeInfo(answer.id, answer.network, answer.alias, answer.blockheight, synced)

    async def create_invoice(
        self, *, label: str, amount_msat: Msat | None, description: str, expiry_seconds: int
    ) -> Invoice:
        """Return the invoice of this `label`, made now or before."""
        params = {
            "amount_msat": "any" if amount_msat is None else amount_msat,
            "label": _sendable("label", label),
            "description": _sendable("description", description),  # as UTF-8: an \u escape answers -32602
            "expiry": expiry_seconds,
        }
        try:
            made = await self._read("invoice", params, CreatedInvoice, asks=True)
        except _NodeError as error:
            if error.code == _DUPLICATE_LABEL:  # the label is the idempotency key
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

    async def next_settlement(self, *, after_index: int, timeout_seconds: int) -> Settlement | None:
        """Wait for the first settlement above `after_index`; None if none comes in time.

        A pay_index is never reused, and deleted invoices are skipped.
        """
        params = {"lastpay_index": after_index, "timeout": timeout_seconds}
        limit = timeout_seconds + self._limits.wait_grace_seconds
        try:
            answer = await self._waits.call("waitanyinvoice", params, limit_seconds=limit)
        except _NodeError as error:
            if error.code == _TIMED_OUT:
                return None
            raise Unavailable(str(error)) from None
        paid = shaped("waitanyinvoice", answer, PaidInvoice)
        # Overpayment is accepted: what arrived is what counts.
        return Settlement(paid.label, paid.payment_hash, Msat(paid.amount_received_msat), paid.pay_index, paid.paid_at)

    async def pay(self, bolt11: str, *, maxfee_msat: Msat, label: str) -> PaymentReport:
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
        }
        try:
            answer = await self._payments.call("xpay", params, limit_seconds=self._limits.payment_seconds)
            paid = shaped("xpay", answer, XpayAnswer)
        except _NodeError as error:
            return unknown(_PAY_REASONS.get(error.code, f"node error {error.code}"))
        except Unavailable as error:
            return unknown(str(error))
        return PaymentReport(PaymentState.SETTLED, Msat(paid.amount_sent_msat), paid.payment_preimage)

    async def payment(self, payment_hash: str) -> PaymentReport:
        """Return what the records prove: one entry is one attempt, and all attempts count."""
        params = {"payment_hash": payment_hash}
        try:
            listed = await self._read("listpays", params, ListPays, asks=True)
        except _NodeError as error:
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

    async def spendable_msat(self) -> Msat:
        """Return what all usable channels with a connected peer can send now."""
        answer = await self._read("listpeerchannels", {}, ListPeerChannels)
        usable = (each for each in answer.channels if each.peer_connected and each.state in _SENDING_STATES)
        return Msat(sum(each.spendable_msat for each in usable))

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
        except _NodeError as error:
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
