"""For every recording the situation it was made in: how to bring the simulator there and what to ask then.

Each entry of SITUATIONS is called with a Lab and returns the answer to compare. What
the simulator does not serve stands in NOT_SERVED with the reason.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from relaybot.simulator.scripts import Ending, Outcome
from relaybot.simulator.signing import InvoiceText, build_bolt11
from tests.lightning.lab import Lab
from tests.lightning.wire import recording

Situation = Callable[[Lab], Awaitable[dict[str, Any]]]

NOT_SERVED = {
    "bolt12": "the simulator makes no offers",
    "offer": "the simulator makes no offers",
    "keysend": "nobody sends without an invoice here",
    "oldpay": "recorded with xpay-handle-pay=false; the simulator has the default of this version",
    "chainmoves-created": "the simulated chain stands still",
    "listchainmoves": "the simulated chain stands still",
    "at-once-still-pending": "for a moment the node contradicts itself; the adapter is tested with the recording",
}

SITUATIONS: dict[str, Situation] = {}

DEAR = 10_000_000_000  # more than one channel of the rig holds on a side
LARGER_THAN_ALL = 15_000_000_000


def situation(*names: str) -> Callable[[Situation], Situation]:
    """Register one situation for the recordings of these names."""

    def register(function: Situation) -> Situation:
        SITUATIONS.update(dict.fromkeys(names, function))
        return function

    return register


def as_recorded(name: str, *, node: str = "service", escaped: bool = False, before: tuple[str, ...] = ()) -> None:
    """Register: ask exactly what was recorded, after what `before` asked."""

    async def replay(lab: Lab) -> dict[str, Any]:
        for each in before:
            await lab.call(node, recording(each)["method"], recording(each)["params"])
        recorded = recording(name)
        return await lab.call(node, recorded["method"], recorded["params"], escaped=escaped)

    SITUATIONS[name] = replay


for _name in (
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
    "listfunds-after-withdraw-confirmed",
    "listfunds-after-withdraw-unconfirmed",
    "listfunds-deposit-confirmed",
    "listfunds-deposit-in-mempool-not-seen",
    "listfunds-deposit-reorged-out",
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
):
    as_recorded(_name)
as_recorded("invoice-description-u-escape-refused", escaped=True)
as_recorded("invoice-label-u-escape", escaped=True)
as_recorded("invoice-duplicate-label-900", before=("invoice-ok",))
as_recorded("invoice-duplicate-preimage-901", before=("invoice-preimage",))


@situation("getinfo-filter")
async def _getinfo_filter(lab: Lab) -> dict[str, Any]:
    return await lab.call("service", "getinfo", {}, wanted={"id": True})


@situation("getinfo-warning-bitcoind-sync")
async def _getinfo_syncing(lab: Lab) -> dict[str, Any]:
    lab.network.set_synced("service", False)
    return await lab.call("service", "getinfo", {})


# listinvoices and the rest of the invoices


@situation("listinvoices-unpaid")
async def _unpaid(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    return await lab.call("service", "listinvoices", {"label": invoice["label"]})


@situation("listinvoices-paid", "listinvoices-by-invstring", "listinvoices-by-payment_hash")
async def _paid(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid("service")
    by_label = await lab.call("service", "listinvoices", {"label": invoice["label"]})
    for other in ({"invstring": invoice["bolt11"]}, {"payment_hash": invoice["payment_hash"]}):
        assert await lab.call("service", "listinvoices", other) == by_label
    return by_label


@situation("listinvoices-expired")
async def _expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service", expiry=1)
    lab.clock.advance(5)
    return await lab.call("service", "listinvoices", {"label": invoice["label"]})


@situation("listinvoices-overpaid")
async def _overpaid(lab: Lab) -> dict[str, Any]:
    invoice = await lab.overpaid()
    answer = await lab.call("service", "listinvoices", {"payment_hash": invoice["payment_hash"]})
    row = answer["result"]["invoices"][0]
    assert (row["amount_msat"], row["amount_received_msat"]) == (10_000, 15_000)
    return answer


@situation("listinvoices-mpp")
async def _mpp_invoice(lab: Lab) -> dict[str, Any]:
    _second_channel(lab)
    invoice = await lab.paid("service", amount_msat=DEAR)
    return await lab.call("service", "listinvoices", {"payment_hash": invoice["payment_hash"]})


@situation("listinvoices-unpaid-while-held")
async def _unpaid_while_held(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held()
    return await lab.call("far", "listinvoices", {"label": invoice["label"]})


@situation("listinvoices-page-created")
async def _page_created(lab: Lab) -> dict[str, Any]:
    await lab.invoice("service")
    await lab.invoice("service", amount_msat="any")
    await lab.invoice("service", amount_msat=21_000)
    return await lab.call("service", "listinvoices", recording("listinvoices-page-created")["params"])


@situation("listinvoices-page-updated")
async def _page_updated(lab: Lab) -> dict[str, Any]:
    await lab.invoice("service", expiry=0)
    await lab.invoice("service", expiry=1)
    lab.clock.advance(5)
    return await lab.call("service", "listinvoices", recording("listinvoices-page-updated")["params"])


@situation("waitanyinvoice-ok")
async def _wait_any(lab: Lab) -> dict[str, Any]:
    waiting = asyncio.create_task(lab.call("service", "waitanyinvoice", {"lastpay_index": 0}))
    await lab.paid("service")
    return await waiting


@situation("waitanyinvoice-skips-deleted")
async def _wait_skips_deleted(lab: Lab) -> dict[str, Any]:
    for number in range(3):
        await lab.paid("service", label=f"pi-{number}")
    await lab.result("service", "delinvoice", {"label": "pi-1", "status": "paid"})
    answer = await lab.call("service", "waitanyinvoice", {"lastpay_index": 1, "timeout": 5})
    assert answer["result"]["pay_index"] == 3
    return answer


@situation("waitinvoice-ok", "waitinvoice-already-paid")
async def _wait_one(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    waiting = asyncio.create_task(lab.call("service", "waitinvoice", {"label": invoice["label"]}))
    await lab.result("wallets", "pay", {"bolt11": invoice["bolt11"]})
    answer = await waiting
    assert await lab.call("service", "waitinvoice", {"label": invoice["label"]}) == answer
    return answer


@situation("waitinvoice-already-expired-903")
async def _wait_expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service", expiry=1)
    lab.clock.advance(5)
    return await lab.call("service", "waitinvoice", {"label": invoice["label"]})


@situation("waitinvoice-expired-during-wait-903")
async def _wait_expires(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service", expiry=1)
    waiting = asyncio.create_task(lab.call("service", "waitinvoice", {"label": invoice["label"]}))
    await lab.result("service", "wait", ["invoices", "created", 1])
    lab.clock.advance(1)
    return await waiting


@situation("waitinvoice-deleted-during-wait")
async def _wait_deleted(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    waiting = asyncio.create_task(lab.call("service", "waitinvoice", {"label": invoice["label"]}))
    await asyncio.sleep(0)
    await lab.result("service", "getinfo", {})  # one answer later the wait has begun
    await lab.result("service", "delinvoice", {"label": invoice["label"], "status": "unpaid"})
    return await waiting


@situation("delinvoice-desconly")
async def _delete_description(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "unpaid", "desconly": True})


@situation("delinvoice-ok")
async def _delete(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service", label="del")
    await lab.result("service", "delinvoice", {"label": "del", "status": "unpaid", "desconly": True})
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "unpaid"})


@situation("delinvoice-expired-ok")
async def _delete_expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service", expiry=1)
    lab.clock.advance(5)
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "expired"})


@situation("delinvoice-paid-ok")
async def _delete_paid(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid("service")
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "paid"})


@situation("delinvoice-wrong-status-906")
async def _delete_wrong_status(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "paid"})


@situation("wait-invoices-updated")
async def _wait_updated(lab: Lab) -> dict[str, Any]:
    waiting = asyncio.create_task(lab.call("service", "wait", ["invoices", "updated", 1]))
    await lab.paid("service")
    return await waiting


# channels


@situation("listpeerchannels-one")
async def _one_channel(lab: Lab) -> dict[str, Any]:
    answer = await lab.call("service", "listpeerchannels", {"id": lab.network.nodes["wallets"].pubkey})
    assert len(answer["result"]["channels"]) == 1
    return answer


@situation("listpeerchannels-peer-offline")
async def _peer_offline(lab: Lab) -> dict[str, Any]:
    lab.network.set_connected("wallets", False)
    return await lab.call("wallets", "listpeerchannels", {})


@situation("listpeerchannels-with-htlc")
async def _with_htlc(lab: Lab) -> dict[str, Any]:
    await lab.held()
    return await lab.call("wallets", "listpeerchannels", {})


@situation("listchannelmoves")
async def _moves(lab: Lab) -> dict[str, Any]:
    await lab.paid("service")
    await lab.paid("service")
    return await lab.call("service", "listchannelmoves", recording("listchannelmoves")["params"])


# payments that succeed


async def _pay(lab: Lab, payee: str = "far", payer: str = "wallets", **more: Any) -> dict[str, Any]:
    invoice = await lab.invoice(payee, **more.pop("invoice", {}))
    return await lab.call(payer, more.pop("method", "pay"), {more.pop("key", "bolt11"): invoice["bolt11"]} | more)


@situation("pay-ok", "pay-two-hops-ok", "pay-ok-after-askrene-age", "pay-small-ok-after-recipient-returns")
async def _pay_ok(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, label="two hops")


@situation("pay-unknown-param")
async def _pay_unknown_param(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, nonsense=1)


@situation("pay-exemptfee-only-ok")
async def _pay_exempt(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, exemptfee="5000msat")


@situation("pay-maxfeepercent-exemptfee-ok")
async def _pay_per_cent(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, maxfeepercent=0.1, exemptfee=5000)


@situation("pay-any-ok")
async def _pay_any(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, invoice={"amount_msat": "any"}, amount_msat=7_777)


@situation("pay-ok-deschashonly-without-description")
async def _pay_hash_only(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, invoice={"deschashonly": True}, label="zap", maxfee=1000)


@situation("pay-from-syncing-node")
async def _pay_syncing(lab: Lab) -> dict[str, Any]:
    lab.network.set_synced("wallets", False)
    return await _pay(lab)


@situation("pay-self")
async def _pay_self(lab: Lab) -> dict[str, Any]:
    answer = await _pay(lab, payee="wallets")
    assert answer["result"]["amount_sent_msat"] == answer["result"]["amount_msat"]
    return answer


@situation("xpay-self")
async def _xpay_self(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, payee="wallets", method="xpay", key="invstring")


@situation("pay-mpp-ok")
async def _pay_in_parts(lab: Lab) -> dict[str, Any]:
    _second_channel(lab)
    answer = await _pay(lab, "service", invoice={"amount_msat": DEAR})
    assert answer["result"]["parts"] == 2
    return answer


@situation("xpay-mpp-ok")
async def _xpay_in_parts(lab: Lab) -> dict[str, Any]:
    _second_channel(lab)
    answer = await _pay(lab, "service", invoice={"amount_msat": DEAR}, method="xpay", key="invstring", maxfee=0)
    assert answer["result"]["successful_parts"] == 2
    return answer


@situation("xpay-ok", "xpay-ok-two-hops-label")
async def _xpay(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, method="xpay", key="invstring", label="xpay label", maxfee=5000, retry_for=10)


@situation("pay-again-same-invoice")
async def _pay_again(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid()
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})


@situation("pay-again-after-receiver-deleted-it")
async def _pay_again_deleted(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid()
    await lab.result("far", "delinvoice", {"label": invoice["label"], "status": "paid"})
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})


@situation("xpay-again-same-invoice-219")
async def _xpay_again(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid()
    return await lab.call("wallets", "xpay", {"invstring": invoice["bolt11"]})


@situation("pay-ok-after-hold", "pay-retry_for-elapses-while-held")
async def _pay_after_hold(lab: Lab) -> dict[str, Any]:
    await lab.held()
    lab.release()
    return await lab.running[0]


# payments that fail


@situation("pay-amount-for-fixed-invoice")
async def _amount_for_fixed(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, amount_msat=1000)


@situation("pay-any-without-amount")
async def _any_without_amount(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, invoice={"amount_msat": "any"})


@situation("pay-maxfee-and-percent")
async def _maxfee_twice(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, maxfee=1000, maxfeepercent=1)


@situation("pay-maxfee-too-low")
async def _too_dear(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, invoice={"amount_msat": 100_000_000}, maxfee=1)


@situation("xpay-maxfee-too-low")
async def _xpay_too_dear(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, invoice={"amount_msat": 100_000_000}, maxfee=1, method="xpay", key="invstring")


@situation("pay-insufficient")
async def _insufficient(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, "service", invoice={"amount_msat": LARGER_THAN_ALL})


@situation("xpay-insufficient")
async def _xpay_insufficient(lab: Lab) -> dict[str, Any]:
    return await _pay(lab, "service", invoice={"amount_msat": LARGER_THAN_ALL}, method="xpay", key="invstring")


@situation("pay-expired-207")
async def _pay_expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice(expiry=1)
    lab.clock.advance(7)
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})


@situation("xpay-expired-207")
async def _xpay_expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice(expiry=1)
    lab.clock.advance(2)
    return await lab.call("wallets", "xpay", {"invstring": invoice["bolt11"]})


def _stranger(lab: Lab) -> str:
    """Return an invoice of a node that nobody knows."""
    text = InvoiceText("22" * 32, "33" * 32, 1_000, "x", only_hash=False, created_at=lab.clock.now(), expiry_seconds=60)
    return build_bolt11(text, secret=secrets.token_bytes(32))


@situation("pay-no-route-205")
async def _no_route(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "pay", {"bolt11": _stranger(lab)})


@situation("xpay-no-route-205")
async def _xpay_no_route(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "xpay", {"invstring": _stranger(lab)})


async def _unknown_hash(lab: Lab) -> str:
    """Return an invoice its payee has forgotten."""
    invoice = await lab.invoice()
    await lab.result("far", "delinvoice", {"label": invoice["label"], "status": "unpaid"})
    return str(invoice["bolt11"])


@situation("pay-unknown-payment-hash-203")
async def _pay_unknown_hash(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "pay", {"bolt11": await _unknown_hash(lab)})


@situation("xpay-unknown-payment-hash-203")
async def _xpay_unknown_hash(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "xpay", {"invstring": await _unknown_hash(lab)})


@situation("pay-own-peer-offline")
async def _own_peer_offline(lab: Lab) -> dict[str, Any]:
    lab.network.set_connected("wallets", False)
    return await _pay(lab)


@situation("pay-rejected-by-receiver-203", "pay-reject-1", "pay-reject-2")
async def _refused(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.FAIL, code=203)
    return await _pay(lab, label="try 1")


@situation("pay-rejected-by-receiver-after-hold-203")
async def _refused_after_hold(lab: Lab) -> dict[str, Any]:
    await lab.held()
    lab.release(Ending.FAIL)
    return await lab.running[0]


@situation("pay-held-past-invoice-expiry-203")
async def _held_past_expiry(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held(expiry=60)
    lab.clock.advance(61)
    lab.release()
    row = (await lab.result("far", "listinvoices", {"label": invoice["label"]}))["invoices"][0]
    assert row["status"] == "expired"
    return await lab.running[0]


@situation("pay-recipient-offline")
async def _recipient_offline(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.FAIL, code=209)
    return await _pay(lab)


@situation("pay-205-leaked-reservation", "pay-205-remembered-constraint")
async def _blocked_way(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.FAIL, code=205)
    return await _pay(lab)


@situation("pay-plugin-terminated")
async def _plugin_terminated(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.FAIL, code=-4)
    return await _pay(lab)


@situation("pay-second-while-pending")
async def _second_while_pending(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held()
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"], "label": "again", "retry_for": 5})


@situation("pay-again-orphan-pending-after-crash")
async def _again_after_orphan(lab: Lab) -> dict[str, Any]:
    invoice = await lab.orphan()
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"], "retry_for": 5})


async def _pending_and_disconnected(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held()
    lab.network.set_connected("wallets", False)
    return invoice


@situation("pay-again-while-pending-after-node-restart")
async def _again_after_restart(lab: Lab) -> dict[str, Any]:
    invoice = await _pending_and_disconnected(lab)
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})


@situation("xpay-again-while-pending-after-node-restart")
async def _xpay_again_after_restart(lab: Lab) -> dict[str, Any]:
    invoice = await _pending_and_disconnected(lab)
    return await lab.call("wallets", "xpay", {"invstring": invoice["bolt11"]})


async def _half_pending(lab: Lab) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pay in two parts: one fails, the call says so, and the other one stays pending."""
    _second_channel(lab)
    invoice = await lab.invoice("service", amount_msat=DEAR)
    lab.script(Outcome.ERROR_WHILE_PENDING)
    answer = await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"], "label": "half", "retry_for": 5})
    return invoice, answer


@situation("pay-error-while-a-part-is-still-pending")
async def _error_while_pending(lab: Lab) -> dict[str, Any]:
    return (await _half_pending(lab))[1]


def _second_channel(lab: Lab) -> None:
    """Join the people and the service by a second channel: what one cannot carry goes in two parts."""
    lab.network.channels.open(
        "wallets", "service", capacity_msat=16_000_000_000, pushed_msat=8_000_000_000, base_msat=1, ppm=10
    )


# looking payments up


async def _look_up(lab: Lab, invoice: dict[str, Any], method: str = "listpays") -> dict[str, Any]:
    return await lab.call("wallets", method, {"payment_hash": invoice["payment_hash"]})


@situation("listpays-complete", "listpays-by-bolt11")
async def _complete(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid()
    answer = await _look_up(lab, invoice)
    assert await lab.call("wallets", "listpays", {"bolt11": invoice["bolt11"]}) == answer
    return answer


@situation("listsendpays-complete")
async def _complete_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await lab.paid(), "listsendpays")


@situation("listpays-after-two-attempts")
async def _after_two_calls(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held()
    assert (await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]}))["error"]["code"] == -3
    lab.release()
    await lab.running[0]
    return await _look_up(lab, invoice)


@situation("listpays-complete-caller-gone")
async def _caller_gone(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice()
    lab.script(Outcome.HOLD)
    calling = await lab.start("wallets", invoice, "crashed-caller")
    calling.cancel()  # the caller hangs up; the payment goes on
    lab.release()
    return await _look_up(lab, invoice)


@situation("listpays-after-205")
async def _after_local_failure(lab: Lab) -> dict[str, Any]:
    bolt11 = _stranger(lab)
    assert (await lab.call("wallets", "pay", {"bolt11": bolt11}))["error"]["code"] == 205
    return await lab.call("wallets", "listpays", {"bolt11": bolt11})


@situation("listpays-pending")
async def _pending(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await lab.held())


@situation("listpays-status-pending")
async def _pending_by_status(lab: Lab) -> dict[str, Any]:
    await lab.paid()
    await lab.held()
    answer = await lab.call("wallets", "listpays", {"status": "pending"})
    assert len(answer["result"]["pays"]) == 1
    return answer


@situation("listpays-status-complete")
async def _complete_by_status(lab: Lab) -> dict[str, Any]:
    await lab.held()
    await lab.paid()
    params = recording("listpays-status-complete")["params"]
    answer = await lab.call("wallets", "listpays", params)
    assert len(answer["result"]["pays"]) == 1
    return answer


@situation("listpays-pending-after-node-restart")
async def _pending_disconnected(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await _pending_and_disconnected(lab))


@situation("listsendpays-pending")
async def _pending_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await lab.held(), "listsendpays")


@situation("listpays-orphan-pending-after-crash")
async def _orphan(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await lab.orphan())


@situation("listsendpays-orphan-pending-after-crash")
async def _orphan_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await lab.orphan(), "listsendpays")


async def _failed_invoice(lab: Lab, times: int = 1, code: int = 203) -> dict[str, Any]:
    invoice = await lab.invoice()
    for number in range(times):
        await lab.fail(invoice, code=code, label=f"try {number + 1}")
    return invoice


@situation("listpays-failed")
async def _failed(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice()
    lab.script(Outcome.FAIL, code=203)
    await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})
    return await _look_up(lab, invoice)


@situation("listpays-recipient-offline")
async def _failed_209(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice()
    lab.script(Outcome.FAIL, code=209)
    await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})
    return await _look_up(lab, invoice)


@situation("listsendpays-failed")
async def _failed_parts(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice()
    lab.script(Outcome.FAIL, code=203)
    await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})
    return await _look_up(lab, invoice, "listsendpays")


@situation("listpays-two-failed-attempts")
async def _two_failed(lab: Lab) -> dict[str, Any]:
    answer = await _look_up(lab, await _failed_invoice(lab, times=2))
    assert len(answer["result"]["pays"]) == 2
    return answer


@situation("listsendpays-two-failed-attempts")
async def _two_failed_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await _failed_invoice(lab, times=2), "listsendpays")


async def _failed_then_complete_invoice(lab: Lab) -> dict[str, Any]:
    invoice = await _failed_invoice(lab)
    await lab.result("wallets", "pay", {"bolt11": invoice["bolt11"], "label": "try 2"})
    return invoice


@situation("listpays-failed-then-complete")
async def _failed_then_complete(lab: Lab) -> dict[str, Any]:
    answer = await _look_up(lab, await _failed_then_complete_invoice(lab))
    assert [row["status"] for row in answer["result"]["pays"]] == ["failed", "complete"]
    return answer


@situation("listsendpays-failed-then-complete")
async def _failed_then_complete_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await _failed_then_complete_invoice(lab), "listsendpays")


@situation("listpays-failed-then-pending")
async def _failed_then_pending(lab: Lab) -> dict[str, Any]:
    invoice = await _failed_invoice(lab)
    lab.script(Outcome.HOLD)
    await lab.start("wallets", invoice, "try 2")
    return await _look_up(lab, invoice)


@situation("listpays-pending-although-pay-answered-error")
async def _half(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, (await _half_pending(lab))[0])


@situation("listsendpays-pending-although-pay-answered-error")
async def _half_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, (await _half_pending(lab))[0], "listsendpays")


@situation("listpays-failed-after-mpp-timeout")
async def _half_failed(lab: Lab) -> dict[str, Any]:
    invoice, _ = await _half_pending(lab)
    lab.release(Ending.FAIL)
    return await _look_up(lab, invoice)


async def _in_parts(lab: Lab) -> dict[str, Any]:
    _second_channel(lab)
    invoice = await lab.invoice("service", amount_msat=DEAR)
    await lab.result("wallets", "pay", {"bolt11": invoice["bolt11"], "label": "in parts"})
    return invoice


@situation("listpays-mpp")
async def _parts_together(lab: Lab) -> dict[str, Any]:
    answer = await _look_up(lab, await _in_parts(lab))
    assert answer["result"]["pays"][0]["amount_msat"] == DEAR
    return answer


@situation("listsendpays-mpp")
async def _parts_apart(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await _in_parts(lab), "listsendpays")


@situation("listpays-mpp-page-partial")
async def _parts_paged(lab: Lab) -> dict[str, Any]:
    await _in_parts(lab)
    answer = await lab.call("wallets", "listpays", {"index": "created", "start": 2, "limit": 1})
    assert answer["result"]["pays"][0]["amount_msat"] < DEAR
    return answer
