"""Recorded situations of paying: what succeeds, and then what fails."""

from __future__ import annotations

from typing import Any

from relaybot.simulator.scripts import Ending, Outcome
from tests.lightning.lab import Lab
from tests.lightning.situations import (
    DEAR,
    LARGER_THAN_ALL,
    Situations,
    half_pending,
    orphaned,
    pay,
    pending_and_disconnected,
    second_channel,
    stranger,
)

SITUATIONS = Situations()


@SITUATIONS.of("pay-ok", "pay-two-hops-ok", "pay-ok-after-askrene-age", "pay-small-ok-after-recipient-returns")
async def _pay_ok(lab: Lab) -> dict[str, Any]:
    return await pay(lab, label="two hops")


@SITUATIONS.of("pay-unknown-param")
async def _pay_unknown_param(lab: Lab) -> dict[str, Any]:
    return await pay(lab, nonsense=1)


@SITUATIONS.of("pay-exemptfee-only-ok")
async def _pay_exempt(lab: Lab) -> dict[str, Any]:
    return await pay(lab, exemptfee="5000msat")


@SITUATIONS.of("pay-maxfeepercent-exemptfee-ok")
async def _pay_per_cent(lab: Lab) -> dict[str, Any]:
    return await pay(lab, maxfeepercent=0.1, exemptfee=5000)


@SITUATIONS.of("pay-any-ok")
async def _pay_any(lab: Lab) -> dict[str, Any]:
    return await pay(lab, invoice={"amount_msat": "any"}, amount_msat=7_777)


@SITUATIONS.of("pay-ok-deschashonly-without-description")
async def _pay_hash_only(lab: Lab) -> dict[str, Any]:
    return await pay(lab, invoice={"deschashonly": True}, label="zap", maxfee=1000)


@SITUATIONS.of("pay-from-syncing-node")
async def _pay_syncing(lab: Lab) -> dict[str, Any]:
    await lab.nodes.fall_behind("wallets")
    return await pay(lab)


@SITUATIONS.of("pay-self")
async def _pay_self(lab: Lab) -> dict[str, Any]:
    answer = await pay(lab, payee="wallets")
    assert answer["result"]["amount_sent_msat"] == answer["result"]["amount_msat"]
    return answer


@SITUATIONS.of("xpay-self")
async def _xpay_self(lab: Lab) -> dict[str, Any]:
    return await pay(lab, payee="wallets", method="xpay", key="invstring")


@SITUATIONS.of("pay-mpp-ok")
async def _pay_in_parts(lab: Lab) -> dict[str, Any]:
    await second_channel(lab)
    answer = await pay(lab, "service", invoice={"amount_msat": DEAR})
    assert answer["result"]["parts"] == 2
    return answer


@SITUATIONS.of("xpay-mpp-ok")
async def _xpay_in_parts(lab: Lab) -> dict[str, Any]:
    await second_channel(lab)
    answer = await pay(lab, "service", invoice={"amount_msat": DEAR}, method="xpay", key="invstring", maxfee=0)
    assert answer["result"]["successful_parts"] == 2
    return answer


@SITUATIONS.of("xpay-ok", "xpay-ok-two-hops-label")
async def _xpay(lab: Lab) -> dict[str, Any]:
    return await pay(lab, method="xpay", key="invstring", label="xpay label", maxfee=5000, retry_for=10)


@SITUATIONS.of("pay-again-same-invoice")
async def _pay_again(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid()
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})


@SITUATIONS.of("pay-again-after-receiver-deleted-it")
async def _pay_again_deleted(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid()
    await lab.result("far", "delinvoice", {"label": invoice["label"], "status": "paid"})
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})


@SITUATIONS.of("xpay-again-same-invoice-219")
async def _xpay_again(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid()
    return await lab.call("wallets", "xpay", {"invstring": invoice["bolt11"]})


@SITUATIONS.of("pay-ok-after-hold", "pay-retry_for-elapses-while-held")
async def _pay_after_hold(lab: Lab) -> dict[str, Any]:
    await lab.held()
    await lab.release()
    return await lab.running[0]


# payments that fail


@SITUATIONS.of("pay-amount-for-fixed-invoice")
async def _amount_for_fixed(lab: Lab) -> dict[str, Any]:
    return await pay(lab, amount_msat=1000)


@SITUATIONS.of("pay-any-without-amount")
async def _any_without_amount(lab: Lab) -> dict[str, Any]:
    return await pay(lab, invoice={"amount_msat": "any"})


@SITUATIONS.of("pay-maxfee-and-percent")
async def _maxfee_twice(lab: Lab) -> dict[str, Any]:
    return await pay(lab, maxfee=1000, maxfeepercent=1)


@SITUATIONS.of("pay-maxfee-too-low")
async def _too_dear(lab: Lab) -> dict[str, Any]:
    return await pay(lab, invoice={"amount_msat": 100_000_000}, maxfee=1)


@SITUATIONS.of("xpay-maxfee-too-low")
async def _xpay_too_dear(lab: Lab) -> dict[str, Any]:
    return await pay(lab, invoice={"amount_msat": 100_000_000}, maxfee=1, method="xpay", key="invstring")


@SITUATIONS.of("pay-insufficient")
async def _insufficient(lab: Lab) -> dict[str, Any]:
    return await pay(lab, "service", invoice={"amount_msat": LARGER_THAN_ALL})


@SITUATIONS.of("xpay-insufficient")
async def _xpay_insufficient(lab: Lab) -> dict[str, Any]:
    return await pay(lab, "service", invoice={"amount_msat": LARGER_THAN_ALL}, method="xpay", key="invstring")


@SITUATIONS.of("pay-expired-207")
async def _pay_expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.expired()
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})


@SITUATIONS.of("xpay-expired-207")
async def _xpay_expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.expired()
    return await lab.call("wallets", "xpay", {"invstring": invoice["bolt11"]})


@SITUATIONS.of("pay-no-route-205")
async def _no_route(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "pay", {"bolt11": stranger(lab)})


@SITUATIONS.of("xpay-no-route-205")
async def _xpay_no_route(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "xpay", {"invstring": stranger(lab)})


async def _unknown_hash(lab: Lab) -> str:
    """Return an invoice its payee has forgotten."""
    invoice = await lab.invoice()
    await lab.result("far", "delinvoice", {"label": invoice["label"], "status": "unpaid"})
    return str(invoice["bolt11"])


@SITUATIONS.of("pay-unknown-payment-hash-203")
async def _pay_unknown_hash(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "pay", {"bolt11": await _unknown_hash(lab)})


@SITUATIONS.of("xpay-unknown-payment-hash-203")
async def _xpay_unknown_hash(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "xpay", {"invstring": await _unknown_hash(lab)})


@SITUATIONS.of("pay-own-peer-offline")
async def _own_peer_offline(lab: Lab) -> dict[str, Any]:
    await lab.nodes.disconnect("wallets")
    return await pay(lab)


@SITUATIONS.of("pay-rejected-by-receiver-203", "pay-reject-1", "pay-reject-2")
async def _refused(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.FAIL, code=203)
    return await pay(lab, label="try 1")


@SITUATIONS.of("pay-rejected-by-receiver-after-hold-203")
async def _refused_after_hold(lab: Lab) -> dict[str, Any]:
    await lab.held()
    await lab.release(Ending.FAIL)
    return await lab.running[0]


@SITUATIONS.of("pay-held-past-invoice-expiry-203")
async def _held_past_expiry(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held(expiry=8)
    await lab.expire(invoice)
    await lab.release()
    row = (await lab.result("far", "listinvoices", {"label": invoice["label"]}))["invoices"][0]
    assert row["status"] == "expired"
    return await lab.running[0]


@SITUATIONS.of("pay-recipient-offline")
async def _recipient_offline(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.FAIL, code=209)
    return await pay(lab)


@SITUATIONS.of("pay-205-remembered-constraint")
async def _remembered(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.REMEMBERED)
    await pay(lab)
    return await pay(lab)


@SITUATIONS.of("pay-205-leaked-reservation")
async def _blocked_way(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.FAIL, code=205)
    return await pay(lab)


@SITUATIONS.of("pay-plugin-terminated")
async def _plugin_terminated(lab: Lab) -> dict[str, Any]:
    lab.script(Outcome.FAIL, code=-4)
    return await pay(lab)


@SITUATIONS.of("pay-second-while-pending")
async def _second_while_pending(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held()
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"], "label": "again", "retry_for": 5})


@SITUATIONS.of("pay-again-orphan-pending-after-crash")
async def _again_after_orphan(lab: Lab) -> dict[str, Any]:
    invoice = await orphaned(lab)
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"], "retry_for": 5})


@SITUATIONS.of("pay-again-while-pending-after-node-restart")
async def _again_after_restart(lab: Lab) -> dict[str, Any]:
    invoice = await pending_and_disconnected(lab)
    return await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})


@SITUATIONS.of("xpay-again-while-pending-after-node-restart")
async def _xpay_again_after_restart(lab: Lab) -> dict[str, Any]:
    invoice = await pending_and_disconnected(lab)
    return await lab.call("wallets", "xpay", {"invstring": invoice["bolt11"]})


@SITUATIONS.of("pay-error-while-a-part-is-still-pending")
async def _error_while_pending(lab: Lab) -> dict[str, Any]:
    return (await half_pending(lab))[1]
