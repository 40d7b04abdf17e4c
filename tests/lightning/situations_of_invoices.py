"""Recorded situations of the node itself, its invoices and its channels."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.lightning.lab import Lab
from tests.lightning.situations import (
    DEAR,
    Situations,
    second_channel,
)
from tests.lightning.wire import recording

SITUATIONS = Situations()


@SITUATIONS.of("getinfo-filter")
async def _getinfo_filter(lab: Lab) -> dict[str, Any]:
    return await lab.call("service", "getinfo", {}, wanted={"id": True})


@SITUATIONS.of("getinfo-warning-bitcoind-sync")
async def _getinfo_syncing(lab: Lab) -> dict[str, Any]:
    await lab.nodes.fall_behind("service")
    return await lab.call("service", "getinfo", {})


# listinvoices and the rest of the invoices


@SITUATIONS.of("listinvoices-unpaid")
async def _unpaid(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    return await lab.call("service", "listinvoices", {"label": invoice["label"]})


@SITUATIONS.of("listinvoices-paid", "listinvoices-by-invstring", "listinvoices-by-payment_hash")
async def _paid(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid("service")
    by_label = await lab.call("service", "listinvoices", {"label": invoice["label"]})
    for other in ({"invstring": invoice["bolt11"]}, {"payment_hash": invoice["payment_hash"]}):
        assert await lab.call("service", "listinvoices", other) == by_label
    return by_label


@SITUATIONS.of("listinvoices-expired")
async def _expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.expired("service")
    return await lab.call("service", "listinvoices", {"label": invoice["label"]})


@SITUATIONS.of("listinvoices-overpaid")
async def _overpaid(lab: Lab) -> dict[str, Any]:
    invoice = await lab.overpaid()
    answer = await lab.call("service", "listinvoices", {"payment_hash": invoice["payment_hash"]})
    row = answer["result"]["invoices"][0]
    assert (row["amount_msat"], row["amount_received_msat"]) == (10_000, 15_000)
    return answer


@SITUATIONS.of("listinvoices-mpp")
async def _mpp_invoice(lab: Lab) -> dict[str, Any]:
    await second_channel(lab)
    invoice = await lab.paid("service", amount_msat=DEAR)
    return await lab.call("service", "listinvoices", {"payment_hash": invoice["payment_hash"]})


@SITUATIONS.of("listinvoices-unpaid-while-held")
async def _unpaid_while_held(lab: Lab) -> dict[str, Any]:
    invoice = await lab.held()
    return await lab.call("far", "listinvoices", {"label": invoice["label"]})


@SITUATIONS.of("listinvoices-page-created")
async def _page_created(lab: Lab) -> dict[str, Any]:
    before = await lab.index("service", "invoices")
    await lab.invoice("service")
    await lab.invoice("service", amount_msat="any")
    await lab.invoice("service", amount_msat=21_000)
    params = recording("listinvoices-page-created")["params"]
    return await lab.call("service", "listinvoices", params | {"start": before + params["start"]})


@SITUATIONS.of("listinvoices-page-updated")
async def _page_updated(lab: Lab) -> dict[str, Any]:
    before = await lab.index("service", "invoices", "updated")
    await lab.invoice("service", expiry=0)
    await lab.expired("service")
    params = recording("listinvoices-page-updated")["params"]
    return await lab.call("service", "listinvoices", params | {"start": before + params["start"]})


@SITUATIONS.of("waitanyinvoice-ok")
async def _wait_any(lab: Lab) -> dict[str, Any]:
    before = await lab.last_payment("service")
    waiting = asyncio.create_task(lab.call("service", "waitanyinvoice", {"lastpay_index": before}))
    await lab.paid("service")
    return await waiting


@SITUATIONS.of("waitanyinvoice-skips-deleted")
async def _wait_skips_deleted(lab: Lab) -> dict[str, Any]:
    for number in range(3):
        await lab.paid("service", label=f"pi-{number}")
    last = await lab.last_payment("service")
    await lab.result("service", "delinvoice", {"label": "pi-1", "status": "paid"})
    answer = await lab.call("service", "waitanyinvoice", {"lastpay_index": last - 2, "timeout": 5})
    assert answer["result"]["pay_index"] == last
    return answer


@SITUATIONS.of("waitinvoice-ok", "waitinvoice-already-paid")
async def _wait_one(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    waiting = asyncio.create_task(lab.call("service", "waitinvoice", {"label": invoice["label"]}))
    await lab.result("wallets", "pay", {"bolt11": invoice["bolt11"]})
    answer = await waiting
    assert await lab.call("service", "waitinvoice", {"label": invoice["label"]}) == answer
    return answer


@SITUATIONS.of("waitinvoice-already-expired-903")
async def _wait_expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.expired("service")
    return await lab.call("service", "waitinvoice", {"label": invoice["label"]})


@SITUATIONS.of("waitinvoice-expired-during-wait-903")
async def _wait_expires(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service", expiry=1)
    waiting = asyncio.create_task(lab.call("service", "waitinvoice", {"label": invoice["label"]}))
    await lab.result("service", "getinfo", {})  # one answer later the wait has begun
    await lab.nodes.pass_time(invoice["expires_at"])
    await lab.invoice("service")  # something changes, and whoever waits looks again
    return await waiting


@SITUATIONS.of("waitinvoice-deleted-during-wait")
async def _wait_deleted(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    waiting = asyncio.create_task(lab.call("service", "waitinvoice", {"label": invoice["label"]}))
    await lab.result("service", "getinfo", {})  # one answer later the wait has begun
    await lab.result("service", "delinvoice", {"label": invoice["label"], "status": "unpaid"})
    return await waiting


@SITUATIONS.of("delinvoice-desconly")
async def _delete_description(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "unpaid", "desconly": True})


@SITUATIONS.of("delinvoice-ok")
async def _delete(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service", label="del")
    await lab.result("service", "delinvoice", {"label": "del", "status": "unpaid", "desconly": True})
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "unpaid"})


@SITUATIONS.of("delinvoice-expired-ok")
async def _delete_expired(lab: Lab) -> dict[str, Any]:
    invoice = await lab.expired("service")
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "expired"})


@SITUATIONS.of("delinvoice-paid-ok")
async def _delete_paid(lab: Lab) -> dict[str, Any]:
    invoice = await lab.paid("service")
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "paid"})


@SITUATIONS.of("delinvoice-wrong-status-906")
async def _delete_wrong_status(lab: Lab) -> dict[str, Any]:
    invoice = await lab.invoice("service")
    return await lab.call("service", "delinvoice", {"label": invoice["label"], "status": "paid"})


@SITUATIONS.of("wait-invoices-updated")
async def _wait_updated(lab: Lab) -> dict[str, Any]:
    before = await lab.index("service", "invoices", "updated")
    waiting = asyncio.create_task(lab.call("service", "wait", ["invoices", "updated", before + 1]))
    await lab.paid("service")
    return await waiting


@SITUATIONS.of("listpeerchannels-one")
async def _one_channel(lab: Lab) -> dict[str, Any]:
    answer = await lab.call("service", "listpeerchannels", {"id": lab.nodes.node_id("wallets")})
    assert {each["peer_id"] for each in answer["result"]["channels"]} == {lab.nodes.node_id("wallets")}
    return answer


@SITUATIONS.of("listpeerchannels-peer-offline")
async def _peer_offline(lab: Lab) -> dict[str, Any]:
    await lab.nodes.disconnect("wallets")
    return await lab.call("wallets", "listpeerchannels", {})


@SITUATIONS.of("listpeerchannels-with-htlc")
async def _with_htlc(lab: Lab) -> dict[str, Any]:
    await lab.held()
    return await lab.call("wallets", "listpeerchannels", {})


@SITUATIONS.of("listchannelmoves")
async def _moves(lab: Lab) -> dict[str, Any]:
    before = await lab.index("service", "channelmoves")
    await lab.paid("service")
    await lab.paid("service")
    params = recording("listchannelmoves")["params"]
    return await lab.call("service", "listchannelmoves", params | {"start": before + params["start"]})
