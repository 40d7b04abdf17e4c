"""Recorded situations of looking payments up: one attempt, several, parts, orphans."""

from __future__ import annotations

from typing import Any

from relaybot.simulator.scripts import Ending, Outcome
from tests.lightning.lab import Lab
from tests.lightning.situations import (
    DEAR,
    Situations,
    half_pending,
    orphaned,
    pending_and_disconnected,
    second_channel,
    stranger,
)
from tests.lightning.wire import recording

SITUATIONS = Situations()


async def _look_up(lab: Lab, invoice: dict[str, Any], method: str = "listpays") -> dict[str, Any]:
    return await lab.call("wallets", method, {"payment_hash": invoice["payment_hash"]})


@SITUATIONS.of("listpays-complete", "listpays-by-bolt11")
async def _complete(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid()
    answer = await _look_up(lab, invoice)
    assert await lab.call("wallets", "listpays", {"bolt11": invoice["bolt11"]}) == answer
    return answer


@SITUATIONS.of("listsendpays-complete")
async def _complete_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await lab.paid(), "listsendpays")


@SITUATIONS.of("listpays-after-two-attempts")
async def _after_two_calls(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held()
    assert (await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]}))["error"]["code"] == -3
    await lab.release()
    await lab.running[0]
    return await _look_up(lab, invoice)


@SITUATIONS.of("listpays-complete-caller-gone")
async def _caller_gone(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice()
    lab.script(Outcome.HOLD)
    calling = await lab.start("wallets", invoice, "crashed-caller")
    calling.cancel()  # the caller hangs up; the payment goes on
    await lab.release()
    await lab.over(invoice)
    return await _look_up(lab, invoice)


@SITUATIONS.of("listpays-after-205")
async def _after_local_failure(lab: Lab) -> dict[str, Any]:
    bolt11 = stranger(lab)
    assert (await lab.call("wallets", "pay", {"bolt11": bolt11}))["error"]["code"] == 205
    return await lab.call("wallets", "listpays", {"bolt11": bolt11})


@SITUATIONS.of("listpays-pending")
async def _pending(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await lab.held())


@SITUATIONS.of("listpays-status-pending")
async def _pending_by_status(lab: Lab) -> dict[str, Any]:
    await lab.paid()
    await lab.held()
    answer = await lab.call("wallets", "listpays", {"status": "pending"})
    assert len(answer["result"]["pays"]) == 1
    return answer


@SITUATIONS.of("listpays-status-complete")
async def _complete_by_status(lab: Lab) -> dict[str, Any]:
    before = await lab.index("wallets", "sendpays")
    await lab.held()
    await lab.paid()
    params = recording("listpays-status-complete")["params"]
    answer = await lab.call("wallets", "listpays", params | {"start": before + params["start"]})
    assert len(answer["result"]["pays"]) == 1
    return answer


@SITUATIONS.of("listpays-pending-after-node-restart")
async def _pending_disconnected(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await pending_and_disconnected(lab))


@SITUATIONS.of("listsendpays-pending")
async def _pending_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await lab.held(), "listsendpays")


@SITUATIONS.of("listpays-orphan-pending-after-crash")
async def _orphan(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await orphaned(lab))


@SITUATIONS.of("listsendpays-orphan-pending-after-crash")
async def _orphan_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await orphaned(lab), "listsendpays")


async def _failed_invoice(lab: Lab, times: int = 1, code: int = 203) -> dict[str, Any]:
    invoice = await lab.invoice()
    for number in range(times):
        await lab.fail(invoice, code=code, label=f"try {number + 1}")
    return invoice


@SITUATIONS.of("listpays-failed")
async def _failed(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice()
    lab.script(Outcome.FAIL, code=203)
    await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})
    await lab.over(invoice)
    return await _look_up(lab, invoice)


@SITUATIONS.of("listpays-recipient-offline")
async def _failed_209(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice()
    lab.script(Outcome.FAIL, code=209)
    await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})
    await lab.over(invoice)
    return await _look_up(lab, invoice)


@SITUATIONS.of("listsendpays-failed")
async def _failed_parts(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice()
    lab.script(Outcome.FAIL, code=203)
    await lab.call("wallets", "pay", {"bolt11": invoice["bolt11"]})
    await lab.over(invoice)
    return await _look_up(lab, invoice, "listsendpays")


@SITUATIONS.of("listpays-two-failed-attempts")
async def _two_failed(lab: Lab) -> dict[str, Any]:
    answer = await _look_up(lab, await _failed_invoice(lab, times=2))
    assert len(answer["result"]["pays"]) == 2
    return answer


@SITUATIONS.of("listsendpays-two-failed-attempts")
async def _two_failed_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await _failed_invoice(lab, times=2), "listsendpays")


async def _failed_then_complete_invoice(lab: Lab) -> dict[str, Any]:
    invoice = await _failed_invoice(lab)
    await lab.result("wallets", "pay", {"bolt11": invoice["bolt11"], "label": "try 2"})
    await lab.over(invoice)
    return invoice


@SITUATIONS.of("listpays-failed-then-complete")
async def _failed_then_complete(lab: Lab) -> dict[str, Any]:
    answer = await _look_up(lab, await _failed_then_complete_invoice(lab))
    assert [row["status"] for row in answer["result"]["pays"]] == ["failed", "complete"]
    return answer


@SITUATIONS.of("listsendpays-failed-then-complete")
async def _failed_then_complete_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await _failed_then_complete_invoice(lab), "listsendpays")


@SITUATIONS.of("listpays-failed-then-pending")
async def _failed_then_pending(lab: Lab) -> dict[str, Any]:
    invoice = await _failed_invoice(lab)
    lab.script(Outcome.HOLD)
    await lab.start("wallets", invoice, "try 2")
    return await _look_up(lab, invoice)


@SITUATIONS.of("listpays-pending-although-pay-answered-error")
async def _half(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, (await half_pending(lab))[0])


@SITUATIONS.of("listsendpays-pending-although-pay-answered-error")
async def _half_parts(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, (await half_pending(lab))[0], "listsendpays")


@SITUATIONS.of("listpays-failed-after-mpp-timeout")
async def _half_failed(lab: Lab) -> dict[str, Any]:
    invoice, _ = await half_pending(lab)
    await lab.release(Ending.FAIL)
    return await _look_up(lab, invoice)


async def _in_parts(lab: Lab) -> dict[str, Any]:
    await second_channel(lab)
    invoice = await lab.invoice("service", amount_msat=DEAR)
    await lab.result("wallets", "pay", {"bolt11": invoice["bolt11"], "label": "in parts"})
    await lab.over(invoice)  # the answer came with the first part's preimage
    return invoice


@SITUATIONS.of("listpays-mpp")
async def _parts_together(lab: Lab) -> dict[str, Any]:
    answer = await _look_up(lab, await _in_parts(lab))
    assert answer["result"]["pays"][0]["amount_msat"] == DEAR
    return answer


@SITUATIONS.of("listsendpays-mpp")
async def _parts_apart(lab: Lab) -> dict[str, Any]:
    return await _look_up(lab, await _in_parts(lab), "listsendpays")


@SITUATIONS.of("listpays-mpp-page-partial")
async def _parts_paged(lab: Lab) -> dict[str, Any]:
    before = await lab.index("wallets", "sendpays")
    await _in_parts(lab)
    answer = await lab.call("wallets", "listpays", {"index": "created", "start": before + 2, "limit": 1})
    assert answer["result"]["pays"][0]["amount_msat"] < DEAR
    return answer
