"""The register of recorded situations: for each recording, how to bring the simulator there and what to ask then.

Each is called with a Lab and returns the answer to compare. What
the simulator does not serve stands in NOT_SERVED with the reason.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from relaybot.simulator.scripts import Outcome
from relaybot.simulator.signing import InvoiceText, build_bolt11
from tests.lightning.lab import Lab
from tests.lightning.wire import recording

Situation = Callable[[Lab], Awaitable[dict[str, Any]]]

NOT_SERVED = {
    "keysend": "nobody sends without an invoice here",
    "oldpay": "recorded with xpay-handle-pay=false; the simulator has the default of this version",
    "at-once-still-pending": "for a moment the node contradicts itself; the adapter is tested with the recording",
}

DEAR = 10_000_000_000  # more than one channel of the rig holds on a side
LARGER_THAN_ALL = 40_000_000_000


class Situations(dict[str, Situation]):
    """Situations by the names of their recordings."""

    def of(self, *names: str) -> Callable[[Situation], Situation]:
        """Keep one situation for the recordings of these names."""

        def keep(function: Situation) -> Situation:
            self.update(dict.fromkeys(names, function))
            return function

        return keep


def as_recorded(name: str, *, escaped: bool = False, before: tuple[str, ...] = ()) -> Situation:
    """Return the situation of asking exactly what was recorded, after what `before` asked."""

    async def replay(lab: Lab) -> dict[str, Any]:
        for each in before:
            await lab.call("service", recording(each)["method"], recording(each)["params"])
        recorded = recording(name)
        return await lab.call("service", recorded["method"], recorded["params"], escaped=escaped)

    return replay


_AS_THEY_ARE = (
    "getinfo",
    "bad-params-too-many",
    "bad-params-float-msat",
    "bad-params-missing",
    "bad-params-negative-msat",
    "bad-params-type",
    "bad-params-unknown-name",
    "invoice-amount-any-int-label",
    "invoice-any",
    "invoice-deschashonly-utf8-quotes",
    "invoice-deschashonly",
    "invoice-description-control-char-refused",
    "invoice-description-long-deschashonly",
    "invoice-description-newline-quote",
    "invoice-description-too-long",
    "invoice-expiry-zero",
    "invoice-exposeprivatechannels-false",
    "invoice-exposeprivatechannels-true",
    "invoice-exposeprivatechannels-unknown-scid-902",
    "invoice-label-utf8",
    "invoice-msat-string",
    "invoice-ok",
    "invoice-preimage",
    "invoice-too-big-for-inbound",
    "invoice-zero",
    "listinvoices-by-bad-hash",
    "listinvoices-limit-without-index",
    "listinvoices-none",
    "listinvoices-page-past-end",
    "listinvoices-two-filters",
    "delinvoice-no-status",
    "delinvoice-unknown-905",
    "waitanyinvoice-index-beyond-end-904",
    "waitanyinvoice-timeout-0-904",
    "waitanyinvoice-timeout-904",
    "waitinvoice-unknown-label",
    "pay-garbage",
    "pay-offer-direct",
    "pay-wrong-network",
    "xpay-wrong-network",
    "listpays-unknown-hash",
    "listfunds-reserved",
    "listpeerchannels",
    "decode-bolt11-deschash",
    "decode-bolt11-mainnet-expired",
    "decode-bolt11-newline-quote",
    "decode-bolt11",
    "decode-invalid-checksum",
    "decode-invalid-garbage",
    "wait-bad-subsystem",
    "wait-chainmoves-now",
    "wait-channelmoves-now",
    "wait-forwards-now",
    "wait-invoices-created-now",
    "wait-sendpays-created-now",
    "unknown-command",
    "unknown-plugin-command",
    "decodepay-removed",
)
AS_RECORDED = {name: as_recorded(name) for name in _AS_THEY_ARE} | {
    "invoice-description-u-escape-refused": as_recorded("invoice-description-u-escape-refused", escaped=True),
    "invoice-label-u-escape": as_recorded("invoice-label-u-escape", escaped=True),
    "invoice-duplicate-label-900": as_recorded("invoice-duplicate-label-900", before=("invoice-ok",)),
    "invoice-duplicate-preimage-901": as_recorded("invoice-duplicate-preimage-901", before=("invoice-preimage",)),
}


# Steps that several situations share.


async def second_channel(lab: Lab) -> None:
    """Join the people and the service by a second channel: what one cannot carry goes in two parts."""
    await lab.nodes.add_channel("wallets", "service")


def stranger(lab: Lab) -> str:
    """Return an invoice of a node that nobody knows."""
    text = InvoiceText("22" * 32, "33" * 32, 1_000, "x", only_hash=False, created_at=lab.nodes.now(), expiry_seconds=60)
    return build_bolt11(text, secret=secrets.token_bytes(32))


async def half_pending(lab: Lab) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pay in two parts: one fails, the call says so, and the other one stays pending."""
    await second_channel(lab)
    invoice = await lab.invoice("service", amount_msat=DEAR)
    lab.script(Outcome.ERROR_WHILE_PENDING)
    answer = await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"], "label": "half", "retry_for": 5})
    return invoice, answer


async def pending_and_disconnected(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held()
    await lab.nodes.disconnect("wallets")
    return invoice


async def orphaned(lab: Lab) -> dict[str, Any]:
    """Return an invoice whose payment was lost with its node: a row without an HTLC."""
    invoice = await lab.invoice()
    lab.script(Outcome.ORPHAN)
    try:
        answer = await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})
    except json.JSONDecodeError:  # nothing came back
        return invoice
    raise AssertionError(answer)


async def pay(lab: Lab, payee: str = "far", payer: str = "wallets", **more: Any) -> dict[str, Any]:
    invoice = await lab.invoice(payee, **more.pop("invoice", {}))
    return await lab.call(payer, more.pop("method", "pay"), {more.pop("key", "bolt11"): invoice["bolt11"]} | more)
