"""What a payment call asks for: the parameters of `pay` and `xpay`, read and checked against the invoice.

Nothing is sent here. The words of the refusals are the node's.
"""

from __future__ import annotations

from dataclasses import dataclass

from relaybot.errors import Rejected
from relaybot.simulator import bolt12, params
from relaybot.simulator.params import BAD_PARAMETERS, Fault, Params, Signature
from relaybot.simulator.signing import CURRENCY
from wallet.bolt11_invoice import parse_bolt11
from wallet.lightning import DecodedInvoice

PAY = Signature(
    (
        "bolt11",
        "amount_msat",
        "label",
        "riskfactor",
        "maxfeepercent",
        "retry_for",
        "maxdelay",
        "exemptfee",
        "localinvreqid",
        "exclude",
        "maxfee",
        "description",
        "partial_msat",
    ),
    required=1,
    ignores_unknown=True,
)
XPAY = Signature(
    (
        "invstring",
        "amount_msat",
        "maxfee",
        "layers",
        "retry_for",
        "partial_msat",
        "maxdelay",
        "payer_note",
        "label",
    ),
    required=1,
)

_FEE_PER_CENT = 1  # the default of maxfee is the larger of 1 % and 5 sat
_FEE_EXEMPT_MSAT = 5_000


@dataclass(frozen=True, slots=True)
class Order:
    """One payment that is wanted."""

    bolt11: str
    payment_hash: str
    payee: str
    amount_msat: int
    maxfee_msat: int
    label: str | None


def read_pay(given: Params, *, now: int) -> Order:
    """Read the parameters of `pay`; Fault if they cannot be followed."""
    if "maxfee" in given and ("maxfeepercent" in given or "exemptfee" in given):
        raise Fault(BAD_PARAMETERS, "If you specify maxfee, cannot specify maxfeepercent or exemptfee.")
    per_cent = params.number(given, "maxfeepercent", _FEE_PER_CENT)
    exempt = params.msat(given, "exemptfee")
    return _order(given, "bolt11", per_cent, _FEE_EXEMPT_MSAT if exempt is None else exempt, now=now)


def read_xpay(given: Params, *, now: int) -> Order:
    """Read the parameters of `xpay`; Fault if they cannot be followed."""
    return _order(given, "invstring", _FEE_PER_CENT, _FEE_EXEMPT_MSAT, now=now)


def order_for(invoice: DecodedInvoice, *, amount_msat: int, maxfee_msat: int | None = None) -> Order:
    """Return the order to pay exactly `amount_msat`, even if the invoice asks for less: only the world does that."""
    maxfee = _default_fee(amount_msat, _FEE_PER_CENT, _FEE_EXEMPT_MSAT) if maxfee_msat is None else maxfee_msat
    return Order(invoice.bolt11, invoice.payment_hash, invoice.payee, amount_msat, maxfee, None)


def read_invoice(text: str, *, now: int) -> DecodedInvoice:
    """Read an invoice that can be paid here; Fault for garbage, another network, and 207 for an expired one."""
    if text.lower().startswith(("lno1", "lnr1")):
        raise Fault(BAD_PARAMETERS, f"Invalid bolt12 invoice: unexpected prefix {text[:3].lower()}")
    try:
        invoice = read_written(text)
    except Rejected:
        raise Fault(BAD_PARAMETERS, "Invalid bolt11 invoice: Bad bech32 string") from None
    if invoice.network != CURRENCY:
        raise Fault(BAD_PARAMETERS, f"Invalid bolt11 invoice: Prefix {invoice.network} is not for regtest")
    if invoice.expires_at < now:
        raise Fault(207, f"Invoice expired {now - invoice.expires_at} seconds ago")
    return invoice


def read_written(text: str) -> DecodedInvoice:
    """Read a BOLT11 or a BOLT12 invoice, whatever it is for; Rejected if it is neither."""
    return bolt12.read_invoice(text) if text.lower().startswith("lni1") else parse_bolt11(text)


def _order(given: Params, key: str, per_cent: float, exempt_msat: int, *, now: int) -> Order:
    invoice = read_invoice(params.text(given, key) or "", now=now)
    amount = params.msat(given, "amount_msat")
    if invoice.amount_msat is None and amount is None:
        raise Fault(BAD_PARAMETERS, "amount_msat required")
    if invoice.amount_msat is not None and amount is not None:
        raise Fault(BAD_PARAMETERS, "amount_msat unnecessary")
    wanted = invoice.amount_msat or amount
    if not wanted:
        raise Fault(BAD_PARAMETERS, "amount_msat: should be positive")
    maxfee = params.msat(given, "maxfee")
    return Order(
        bolt11=invoice.bolt11,
        payment_hash=invoice.payment_hash,
        payee=invoice.payee,
        amount_msat=wanted,
        maxfee_msat=_default_fee(wanted, per_cent, exempt_msat) if maxfee is None else maxfee,
        label=params.text(given, "label"),
    )


def _default_fee(amount_msat: int, per_cent: float, exempt_msat: int) -> int:
    return max(exempt_msat, int(amount_msat * per_cent / 100))
