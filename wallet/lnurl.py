"""Asking the wallet behind a Lightning Address or an LNURL for an invoice: LUD-06, the payer's side.

`request_invoice` fetches with the guarded client and returns an invoice only if it is
exactly what was asked for. It pays nothing: storing and paying the invoice stands in
`wallet/payouts.py`. What a wallet says of its own payments (LUD-21) is not asked: only
our node's records settle a payment.

`request_zap_invoice` asks the same with a zap request (NIP-57, Appendix B), and plainly where
that is not possible: what is paid, and by which rules, is the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

import msgspec
import structlog
from bech32 import bech32_encode, convertbits

from relaybot.errors import Rejected
from relaybot.nostr.event import HEX32_LENGTH, is_hex
from wallet.bolt11_invoice import parse_bolt11, require_payable
from wallet.destinations import PayTarget
from wallet.lightning import DecodedInvoice
from wallet.money import MAX_MSAT, Msat

log = structlog.get_logger()

ZAP_URL_CHARACTERS_MAX = 2_048  # with the zap request in it; longer URLs are refused by servers, and by our client
INVOICE_SECONDS_MIN = 60  # a payment may take this long; an invoice that ends sooner is asked for again
OWN_NODE = "own node"  # Rejected.reason: the target is a wallet on our node, so it is balance and no payment

_REASON_CHARACTERS_MAX = 100
_PRINTABLE = re.compile(r"[^ -~]+", re.ASCII)


class Fetcher(Protocol):
    """What is needed of `relaybot.outgoing.Outgoing`."""

    async def get_json(self, url: str) -> object:
        """Return the JSON document at `url`; Rejected or Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class PayParams:
    """What a wallet takes: LUD-06, and the length of a comment (LUD-12)."""

    callback: str
    min_msat: Msat
    max_msat: Msat
    metadata: str  # as it was sent: its bytes are what the invoice commits to
    comment_allowed: int
    zapper: str | None  # NIP-57: who signs receipts, where zap requests are taken; hex


@dataclass(frozen=True, slots=True)
class Asked:
    """An invoice that was asked for; `zapped` if the zap request went with it."""

    invoice: DecodedInvoice
    zapped: bool


MakeRequest = Callable[[str, str], Awaitable[str]]  # (zapper, lnurl): the text of a signed zap request, which is stored


def parse_pay_params(answer: object) -> PayParams:
    """Check the first answer of a wallet (LUD-06, step 3); Rejected names the field that is wrong."""
    fields = _fields(answer)
    if fields.get("tag") != "payRequest":
        raise Rejected("invalid", "tag is not payRequest", field="tag")
    smallest, largest = _count(fields, "minSendable"), _count(fields, "maxSendable")
    if not 1 <= smallest <= largest:  # LUD-06: not less than 1 or more than maxSendable
        raise Rejected("invalid", "limits contradict each other", field="minSendable", min=smallest, max=largest)
    if smallest > MAX_MSAT:
        raise Rejected("invalid", "limits are beyond all money", field="minSendable", min=smallest)
    _refuse_mandatory_payer_data(fields)
    return PayParams(
        callback=_text(fields, "callback"),
        min_msat=Msat(smallest),
        max_msat=Msat(min(largest, MAX_MSAT)),
        metadata=_metadata(fields),
        comment_allowed=_count(fields, "commentAllowed") if "commentAllowed" in fields else 0,
        zapper=_zapper(fields),
    )


def callback_url(params: PayParams, amount_msat: Msat) -> str:
    """Return where the invoice is: `<callback><?|&>amount=<milliSatoshi>` (LUD-06, step 4)."""
    separator = "&" if "?" in params.callback else "?"
    return f"{params.callback}{separator}amount={amount_msat}"


def zap_url(params: PayParams, amount_msat: Msat, *, request: str, lnurl: str) -> str:
    """Return where the invoice of a zap is: the callback with `amount`, `nostr` and `lnurl` (NIP-57, Appendix B)."""
    return f"{callback_url(params, amount_msat)}&nostr={quote(request, safe='')}&lnurl={lnurl}"


def lnurl_of(target: PayTarget) -> str:
    """Return the URL of a target as bech32 (LUD-01), as zap requests name it."""
    bits = convertbits(target.url.encode(), 8, 5)
    assert bits is not None, "bytes are always convertible"
    return str(bech32_encode("lnurl", bits))


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks for how much, and when: `node_network` is our node's currency prefix (`bc`, `bcrt`, …)."""

    amount_msat: Msat
    node_network: str
    own_node_id: str
    now: int


async def request_invoice(outgoing: Fetcher, target: PayTarget, asking: Asking) -> DecodedInvoice:
    """Ask the wallet behind `target` for an invoice of exactly this amount.

    Rejected if the wallet refuses, or its invoice is not what was asked for; with the reason
    OWN_NODE if we would pay ourselves. Unavailable if the wallet's host does not answer.
    """
    return await _plain_invoice(outgoing, await _params(outgoing, target, asking), asking)


async def request_zap_invoice(outgoing: Fetcher, target: PayTarget, asking: Asking, make: MakeRequest) -> Asked:
    """Ask for the invoice of a zap; for a plain one of a wallet that takes no zap requests, or not this one.

    `make` is called only where zap requests are taken. Raises as `request_invoice` does.
    """
    params = await _params(outgoing, target, asking)
    if params.zapper is not None:
        lnurl = lnurl_of(target)
        request = await make(params.zapper, lnurl)
        url = zap_url(params, asking.amount_msat, request=request, lnurl=lnurl)
        answer = await _zap_answer(outgoing, url)
        if answer is not None:
            invoice = _invoice(answer, asking)
            # NIP-57, Appendix E: SHOULD. Receipts are the provider's word anyway, and the money goes the same way.
            if invoice.description_hash != hashlib.sha256(request.encode()).hexdigest():
                log.info("zap_description_differs", payment_hash=invoice.payment_hash)
            return Asked(invoice, zapped=True)
    return Asked(await _plain_invoice(outgoing, params, asking), zapped=False)


async def _zap_answer(outgoing: Fetcher, url: str) -> Mapping[str, object] | None:
    """Return what a wallet answers to a zap request; None if it refuses it, or the URL is too long."""
    if len(url) > ZAP_URL_CHARACTERS_MAX:
        log.info("zap_refused", reason="the URL would be too long")
        return None
    try:
        return _fields(await outgoing.get_json(url))
    except Rejected as refusal:
        log.info("zap_refused", reason=str(refusal))
        return None


async def _params(outgoing: Fetcher, target: PayTarget, asking: Asking) -> PayParams:
    params = parse_pay_params(await outgoing.get_json(target.url))
    if not params.min_msat <= asking.amount_msat <= params.max_msat:
        allowed = f"{params.min_msat}..{params.max_msat}"
        raise Rejected("invalid", "amount is outside what the wallet takes", found=asking.amount_msat, allowed=allowed)
    return params


async def _plain_invoice(outgoing: Fetcher, params: PayParams, asking: Asking) -> DecodedInvoice:
    answer = _fields(await outgoing.get_json(callback_url(params, asking.amount_msat)))
    invoice = _invoice(answer, asking)
    # LUD-06, step 6: `h` is the hash of the metadata. Wallets in use also answer with a
    # plain description, which commits to nothing; one that names another hash is refused.
    committed = hashlib.sha256(params.metadata.encode()).hexdigest()
    if invoice.description_hash not in (None, committed):
        raise Rejected("invalid", "invoice commits to another description", field="pr")
    return invoice


def _invoice(answer: Mapping[str, object], asking: Asking) -> DecodedInvoice:
    """Return the invoice in a wallet's answer; Rejected unless it is over the amount, in time, and not our own."""
    invoice = parse_bolt11(_text(answer, "pr"))
    if invoice.payee == asking.own_node_id:  # the node would call it paid, and nothing would have gone out
        raise Rejected("invalid", OWN_NODE)
    require_payable(invoice, currency=asking.node_network, now=asking.now)
    if invoice.amount_msat != asking.amount_msat:  # LUD-06, step 7
        found, allowed = invoice.amount_msat, asking.amount_msat
        raise Rejected("invalid", "invoice is for another amount", found=found, allowed=allowed)
    left = invoice.expires_at - asking.now
    if left < INVOICE_SECONDS_MIN:
        raise Rejected("invalid", "invoice expires too soon", left_seconds=left, allowed=INVOICE_SECONDS_MIN)
    return invoice


def _fields(answer: object) -> Mapping[str, object]:
    if not isinstance(answer, dict):
        raise Rejected("invalid", "answer is not an object")
    if str(answer.get("status", "OK")).upper() == "ERROR":
        words = _PRINTABLE.sub(" ", str(answer.get("reason", "")))[:_REASON_CHARACTERS_MAX]
        raise Rejected("invalid", "wallet refuses", says=words)
    return answer


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Rejected("invalid", f"{name} is not a text", field=name)
    return value


def _count(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Rejected("invalid", f"{name} is not a whole number", field=name)
    return value


def _metadata(fields: Mapping[str, object]) -> str:
    """Return the metadata as it was sent. LUD-06: a JSON list of lists, one of them of type text/plain."""
    text = _text(fields, "metadata")
    try:
        entries = msgspec.json.decode(text, type=list[list[object]])
    except (ValueError, RecursionError):
        raise Rejected("invalid", "metadata is not a JSON list of lists", field="metadata") from None
    if sum(entry[:1] == ["text/plain"] for entry in entries) != 1:
        raise Rejected("invalid", "metadata must have one text/plain entry", field="metadata")
    return text


def _zapper(fields: Mapping[str, object]) -> str | None:
    """NIP-57, flow, 1: `allowsNostr` is true, and `nostrPubkey` is a valid key; else there are no zaps."""
    key = fields.get("nostrPubkey")
    valid = fields.get("allowsNostr") is True and isinstance(key, str) and is_hex(key, HEX32_LENGTH)
    return str(key) if valid else None


def _refuse_mandatory_payer_data(fields: Mapping[str, object]) -> None:
    """LUD-18: a wallet may ask who pays; one that insists gets nothing, for we do not tell."""
    asked = fields.get("payerData")
    for name, form in asked.items() if isinstance(asked, dict) else ():
        if isinstance(form, dict) and form.get("mandatory") is True:
            raise Rejected("invalid", "wallet insists on the payer's data", field=f"payerData.{str(name)[:20]}")
