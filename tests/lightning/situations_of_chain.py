"""Recorded situations of the chain and of offers: addresses, deposits, reorganisations, invoices that are asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.lightning.lab import Lab
from tests.lightning.situations import Situations
from tests.lightning.wire import recording

SITUATIONS = Situations()
STRANGER = "bcrt1qggua3q2v7r72f6lngvc3p4e0jc5r2fux0htvtt"
OUTPUTS = {"txid", "output", "amount_msat", "scriptpubkey", "address", "status", "reserved"}


async def _address(lab: Lab, form: str = "p2tr") -> str:
    made = await lab.result("service", "newaddr", {"addresstype": form})
    return str(made[form])


async def _funds(lab: Lab, before: set[str], **params: Any) -> dict[str, Any]:
    """Return the node's funds without the outputs that were there before."""
    answer = await lab.call("service", "listfunds", params)
    answer["result"]["outputs"] = [row for row in answer["result"]["outputs"] if row["txid"] not in before]
    return answer


async def _transactions(lab: Lab) -> set[str]:
    """Return the transactions in which the node has outputs."""
    return {row["txid"] for row in (await lab.result("service", "listfunds", {"spent": True}))["outputs"]}


@SITUATIONS.of("newaddr-all", "newaddr-bech32", "newaddr-default", "newaddr-p2tr", "newaddr-bad-type")
async def _new_addresses(lab: Lab) -> dict[str, Any]:
    return await lab.call("service", "newaddr", recording(lab.name)["params"])


@SITUATIONS.of("listaddresses")
async def _addresses(lab: Lab) -> dict[str, Any]:
    before = (await lab.result("service", "listaddresses", {}))["addresses"]
    for _ in range(5):
        await _address(lab, "bech32")
    start = max((row["keyidx"] for row in before), default=0) + 1
    return await lab.call("service", "listaddresses", recording("listaddresses")["params"] | {"start": start})


@SITUATIONS.of("listfunds-deposit-in-mempool-not-seen")
async def _in_mempool(lab: Lab) -> dict[str, Any]:
    before = await _transactions(lab)
    await lab.nodes.deposit(await _address(lab), 123_456)
    answer = await _funds(lab, before)
    assert answer["result"]["outputs"] == []
    return answer


@SITUATIONS.of("listfunds-deposit-confirmed")
async def _confirmed(lab: Lab) -> dict[str, Any]:
    before = await _transactions(lab)
    await lab.nodes.deposit(await _address(lab), 123_456)
    height = await lab.nodes.mine()
    answer = await _funds(lab, before)
    [output] = answer["result"]["outputs"]
    assert (output["status"], output["blockheight"]) == ("confirmed", height)
    assert set(output) == OUTPUTS | {"blockheight"}
    return answer


@SITUATIONS.of("listfunds-deposit-reorged-out")
async def _reorged_out(lab: Lab) -> dict[str, Any]:
    before, moved = await _transactions(lab), await lab.index("service", "chainmoves")
    await lab.nodes.deposit(await _address(lab), 222_222)
    await lab.nodes.mine()
    await lab.nodes.reorganise(1)
    answer = await _funds(lab, before)
    [output] = answer["result"]["outputs"]
    assert (output["status"], set(output)) == ("unconfirmed", OUTPUTS)
    moves = await lab.result("service", "listchainmoves", {"index": "created", "start": moved + 1})
    assert [move["primary_tag"] for move in moves["chainmoves"]] == ["deposit"]  # the books keep it
    return answer


async def _spent(lab: Lab) -> set[str]:
    """Let the service's node pay somebody on the chain, with change; return the transactions there were before."""
    before = await _transactions(lab)
    txid = await lab.nodes.deposit(await _address(lab), 20_000_000)
    await lab.nodes.mine()
    await lab.nodes.spend(txid, 0, to=STRANGER, sat=50_000)
    return before


@SITUATIONS.of("listfunds-after-withdraw-unconfirmed")
async def _change_unconfirmed(lab: Lab) -> dict[str, Any]:
    answer = await _funds(lab, await _spent(lab))
    spent, change = answer["result"]["outputs"]
    assert (spent["status"], spent["reserved"], change["status"]) == ("confirmed", True, "unconfirmed")
    return answer


@SITUATIONS.of("listfunds-after-withdraw-confirmed")
async def _change_confirmed(lab: Lab) -> dict[str, Any]:
    before = await _spent(lab)
    await lab.nodes.mine()
    answer = await _funds(lab, before, spent=True)
    spent, change = answer["result"]["outputs"]
    assert (spent["status"], set(spent), change["status"]) == ("spent", OUTPUTS, "confirmed")
    assert [row["status"] for row in (await _funds(lab, before))["result"]["outputs"]] == ["confirmed"]
    return answer


@SITUATIONS.of("listchainmoves")
async def _moves(lab: Lab) -> dict[str, Any]:
    before = await lab.index("service", "chainmoves")
    for _ in range(3):
        await lab.nodes.deposit(await _address(lab), 20_000_000)
    await lab.nodes.mine()
    await _spent(lab)
    await lab.nodes.mine()
    answer = await lab.call("service", "listchainmoves", {"index": "created", "start": before + 1, "limit": 6})
    rows = answer["result"]["chainmoves"]  # the recorded node opened a channel, and paid no stranger
    answer["result"]["chainmoves"] = [row for row in rows if row["account_id"] == "wallet"][:5]
    return answer


@SITUATIONS.of("listchainmoves-withdrawal")
async def _moves_of_a_withdrawal(lab: Lab) -> dict[str, Any]:
    before = await lab.index("service", "chainmoves")
    await _spent(lab)
    await lab.nodes.mine()
    answer = await lab.call("service", "listchainmoves", {"index": "created", "start": before + 1, "limit": 4})
    accounts = [(row["account_id"], row["primary_tag"]) for row in answer["result"]["chainmoves"]]
    assert accounts == [
        ("wallet", "deposit"),
        ("external", "deposit"),  # what the stranger gets, noted when it is sent
        ("wallet", "withdrawal"),
        ("wallet", "deposit"),  # the change
    ]
    return answer


@SITUATIONS.of("listchainmoves-deposit")
async def _one_move(lab: Lab) -> dict[str, Any]:
    before = await lab.index("service", "chainmoves")
    await lab.nodes.deposit(await _address(lab), 222_222)
    await lab.nodes.mine()
    return await lab.call("service", "listchainmoves", {"index": "created", "start": before + 1, "limit": 1})


@SITUATIONS.of("wait-chainmoves-created")
async def _wait_for_a_move(lab: Lab) -> dict[str, Any]:
    before = await lab.index("service", "chainmoves")
    waiting = asyncio.create_task(lab.call("service", "wait", ["chainmoves", "created", before + 1]))
    await lab.nodes.deposit(await _address(lab), 222_222)
    await lab.nodes.mine()
    return await waiting


@SITUATIONS.of("waitblockheight-ok", "waitblockheight-timeout")
async def _block_height(lab: Lab) -> dict[str, Any]:
    params = recording(lab.name)["params"]
    return await lab.call("service", "waitblockheight", params | ({"timeout": 0} if "timeout" in params else {}))


# Offers


def _asked(lab: Lab, name: str) -> dict[str, Any]:
    """Return what was asked for in a recording, for another offer each time: equal ones are one."""
    params: dict[str, Any] = recording(name)["params"]
    return params | {"description": f"{params['description']} {lab.fresh()}"}


async def _offered(lab: Lab, name: str = "offer-any") -> str:
    made = await lab.result("service", "offer", _asked(lab, name))
    return str(made["bolt12"])


@SITUATIONS.of("offer-any", "offer-ok")
async def _offer(lab: Lab) -> dict[str, Any]:
    return await lab.call("service", "offer", _asked(lab, lab.name))


@SITUATIONS.of("offer-duplicate")
async def _offer_again(lab: Lab) -> dict[str, Any]:
    asked = _asked(lab, "offer-duplicate")
    await lab.result("service", "offer", asked)
    return await lab.call("service", "offer", asked)


@SITUATIONS.of("listoffers")
async def _offers(lab: Lab) -> dict[str, Any]:
    await _offered(lab)
    await _offered(lab, "offer-ok")
    answer = await lab.call("service", "listoffers", {})
    answer["result"]["offers"].sort(key=lambda row: "label" in row)
    return answer


@SITUATIONS.of("disableoffer")
async def _disable(lab: Lab) -> dict[str, Any]:
    made = await lab.result("service", "offer", _asked(lab, "offer-ok"))
    return await lab.call("service", "disableoffer", {"offer_id": made["offer_id"]})


@SITUATIONS.of("decode-bolt12-offer", "decode-bolt12-invoice")
async def _decode(lab: Lab) -> dict[str, Any]:
    return await lab.call("service", "decode", recording(lab.name)["params"])


@SITUATIONS.of("fetchinvoice-ok")
async def _fetch(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "fetchinvoice", {"offer": await _offered(lab, "offer-ok"), "payer_note": "thanks"})


@SITUATIONS.of("fetchinvoice-any-ok")
async def _fetch_any(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "fetchinvoice", {"offer": await _offered(lab), "amount_msat": 4_321})


@SITUATIONS.of("fetchinvoice-any-without-amount", "fetchinvoice-bad-offer")
async def _fetch_badly(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "fetchinvoice", recording(lab.name)["params"])


@SITUATIONS.of("fetchinvoice-disabled-offer")
async def _fetch_disabled(lab: Lab) -> dict[str, Any]:
    made = await lab.result("service", "offer", _asked(lab, "offer-ok"))
    await lab.result("service", "disableoffer", {"offer_id": made["offer_id"]})
    return await lab.call("wallets", "fetchinvoice", {"offer": made["bolt12"]})


async def _paid_for_offer(lab: Lab) -> str:
    offer = await _offered(lab, "offer-ok")
    fetched = await lab.result("wallets", "fetchinvoice", {"offer": offer, "payer_note": "thanks"})
    return str(fetched["invoice"])


@SITUATIONS.of("pay-bolt12-ok")
async def _pay(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "pay", {"bolt11": await _paid_for_offer(lab)})


@SITUATIONS.of("xpay-offer-direct")
async def _xpay_offer(lab: Lab) -> dict[str, Any]:
    return await lab.call("wallets", "xpay", {"invstring": await _offered(lab), "amount_msat": 9_999})


@SITUATIONS.of("listpays-bolt12")
async def _listed(lab: Lab) -> dict[str, Any]:
    invoice = await _paid_for_offer(lab)
    await lab.result("wallets", "pay", {"bolt11": invoice})
    return await lab.call("wallets", "listpays", {"bolt11": invoice})


@SITUATIONS.of("listinvoices-bolt12", "listinvoices-by-offer_id")
async def _received(lab: Lab) -> dict[str, Any]:
    invoice = await _paid_for_offer(lab)
    await lab.result("wallets", "pay", {"bolt11": invoice})
    answer = await lab.call("service", "listinvoices", {"invstring": invoice})
    offer_id = answer["result"]["invoices"][0]["local_offer_id"]
    assert await lab.call("service", "listinvoices", {"offer_id": offer_id}) == answer
    return answer


# Spending


async def funded(lab: Lab) -> None:
    """See to it that the service's node has coins to spend."""
    await lab.nodes.deposit(await _address(lab), 20_000_000)
    await lab.nodes.mine()


async def _prepared(lab: Lab, name: str) -> dict[str, Any]:
    await funded(lab)
    return await lab.call("service", "txprepare", recording(name)["params"])


@SITUATIONS.of("txprepare-ok", "txprepare-ok-2")
async def _prepare(lab: Lab) -> dict[str, Any]:
    answer = await _prepared(lab, lab.name)
    await lab.result("service", "txdiscard", {"txid": answer["result"]["txid"]})
    return answer


@SITUATIONS.of("txprepare-insufficient-301", "txsend-after-node-restart", "txdiscard-unknown")
async def _refused(lab: Lab) -> dict[str, Any]:
    await funded(lab)
    return await lab.call("service", recording(lab.name)["method"], recording(lab.name)["params"])


@SITUATIONS.of("txsend-ok")
async def _send(lab: Lab) -> dict[str, Any]:
    prepared = await _prepared(lab, "txprepare-ok")
    return await lab.call("service", "txsend", {"txid": prepared["result"]["txid"]})


@SITUATIONS.of("txsend-again")
async def _send_again(lab: Lab) -> dict[str, Any]:
    prepared = await _prepared(lab, "txprepare-ok")
    await lab.result("service", "txsend", {"txid": prepared["result"]["txid"]})
    return await lab.call("service", "txsend", {"txid": prepared["result"]["txid"]})


@SITUATIONS.of("txdiscard-ok")
async def _discard(lab: Lab) -> dict[str, Any]:
    prepared = await _prepared(lab, "txprepare-ok")
    return await lab.call("service", "txdiscard", {"txid": prepared["result"]["txid"]})


@SITUATIONS.of("feerates-bad", "feerates-perkb", "feerates-perkw")
async def _feerates(lab: Lab) -> dict[str, Any]:
    return await lab.call("service", "feerates", recording(lab.name)["params"])


@SITUATIONS.of("listtransactions", "listtransactions-after-withdraw")
async def _transactions_listed(lab: Lab) -> dict[str, Any]:
    await (_spent(lab) if lab.name.endswith("withdraw") else funded(lab))
    await lab.nodes.mine()
    return await lab.call("service", "listtransactions", {})
