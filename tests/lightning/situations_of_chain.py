"""Recorded situations of the chain and of offers: addresses, deposits, reorganisations, invoices that are asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.lightning.lab import Lab
from tests.lightning.situations import Situations
from tests.lightning.wire import recording

SITUATIONS = Situations()
OUTPUTS = {"txid", "output", "amount_msat", "scriptpubkey", "address", "status", "reserved"}


async def _address(lab: Lab, form: str = "p2tr") -> str:
    made = await lab.result("service", "newaddr", {"addresstype": form})
    return str(made[form])


async def _funds(lab: Lab, **params: Any) -> dict[str, Any]:
    return await lab.call("service", "listfunds", params)


@SITUATIONS.of("newaddr-all", "newaddr-bech32", "newaddr-default", "newaddr-p2tr", "newaddr-bad-type")
async def _new_addresses(lab: Lab) -> dict[str, Any]:
    return await lab.call("service", "newaddr", recording(lab.name)["params"])


@SITUATIONS.of("listaddresses")
async def _addresses(lab: Lab) -> dict[str, Any]:
    for _ in range(5):
        await _address(lab, "bech32")
    return await lab.call("service", "listaddresses", recording("listaddresses")["params"])


@SITUATIONS.of("listfunds-deposit-in-mempool-not-seen")
async def _in_mempool(lab: Lab) -> dict[str, Any]:
    lab.network.chain.send(await _address(lab), 123_456_000)
    answer = await _funds(lab)
    assert answer["result"]["outputs"] == []
    return answer


@SITUATIONS.of("listfunds-deposit-confirmed")
async def _confirmed(lab: Lab) -> dict[str, Any]:
    lab.network.chain.send(await _address(lab), 123_456_000)
    lab.network.chain.mine()
    answer = await _funds(lab)
    [output] = answer["result"]["outputs"]
    assert (output["status"], output["blockheight"]) == ("confirmed", lab.network.chain.height())
    assert set(output) == OUTPUTS | {"blockheight"}
    return answer


@SITUATIONS.of("listfunds-deposit-reorged-out")
async def _reorged_out(lab: Lab) -> dict[str, Any]:
    lab.network.chain.send(await _address(lab), 222_222_000)
    lab.network.chain.mine()
    lab.network.chain.reorganise(1)
    answer = await _funds(lab)
    [output] = answer["result"]["outputs"]
    assert (output["status"], set(output)) == ("unconfirmed", OUTPUTS)
    moves = await lab.result("service", "listchainmoves", {})
    assert [move["primary_tag"] for move in moves["chainmoves"]] == ["deposit"]  # the books keep it
    return answer


async def _spent(lab: Lab) -> None:
    """Let the service's node pay somebody on the chain, with change."""
    txid = lab.network.chain.send(await _address(lab), 20_000_000_000)
    lab.network.chain.mine()
    lab.pay_on_chain((txid, 0), change_to=await _address(lab))


@SITUATIONS.of("listfunds-after-withdraw-unconfirmed")
async def _change_unconfirmed(lab: Lab) -> dict[str, Any]:
    await _spent(lab)
    answer = await _funds(lab)
    spent, change = answer["result"]["outputs"]
    assert (spent["status"], spent["reserved"], change["status"]) == ("confirmed", True, "unconfirmed")
    return answer


@SITUATIONS.of("listfunds-after-withdraw-confirmed")
async def _change_confirmed(lab: Lab) -> dict[str, Any]:
    await _spent(lab)
    lab.network.chain.mine()
    answer = await _funds(lab, spent=True)
    spent, change = answer["result"]["outputs"]
    assert (spent["status"], set(spent), change["status"]) == ("spent", OUTPUTS, "confirmed")
    assert [row["status"] for row in (await _funds(lab))["result"]["outputs"]] == ["confirmed"]
    return answer


@SITUATIONS.of("listchainmoves")
async def _moves(lab: Lab) -> dict[str, Any]:
    for _ in range(3):
        lab.network.chain.send(await _address(lab), 20_000_000_000)
    lab.network.chain.mine()
    await _spent(lab)
    lab.network.chain.mine()
    return await lab.call("service", "listchainmoves", recording("listchainmoves")["params"])


@SITUATIONS.of("listchainmoves-deposit")
async def _one_move(lab: Lab) -> dict[str, Any]:
    lab.network.chain.send(await _address(lab), 222_222_000)
    lab.network.chain.mine()
    return await lab.call("service", "listchainmoves", {"index": "created", "start": 1, "limit": 1})


@SITUATIONS.of("wait-chainmoves-created")
async def _wait_for_a_move(lab: Lab) -> dict[str, Any]:
    waiting = asyncio.create_task(lab.call("service", "wait", ["chainmoves", "created", 1]))
    lab.network.chain.send(await _address(lab), 222_222_000)
    lab.network.chain.mine()
    return await waiting


@SITUATIONS.of("waitblockheight-ok", "waitblockheight-timeout")
async def _block_height(lab: Lab) -> dict[str, Any]:
    params = recording(lab.name)["params"]
    return await lab.call("service", "waitblockheight", params | ({"timeout": 0} if "timeout" in params else {}))


# Offers


async def _offered(lab: Lab, name: str = "offer-any") -> str:
    made = await lab.result("service", "offer", recording(name)["params"])
    return str(made["bolt12"])


@SITUATIONS.of("offer-any", "offer-ok")
async def _offer(lab: Lab) -> dict[str, Any]:
    return await lab.call("service", "offer", recording(lab.name)["params"])


@SITUATIONS.of("offer-duplicate")
async def _offer_again(lab: Lab) -> dict[str, Any]:
    await _offered(lab)
    return await lab.call("service", "offer", recording("offer-duplicate")["params"])


@SITUATIONS.of("listoffers")
async def _offers(lab: Lab) -> dict[str, Any]:
    await _offered(lab)
    await _offered(lab, "offer-ok")
    answer = await lab.call("service", "listoffers", {})
    answer["result"]["offers"].sort(key=lambda row: "label" in row)
    return answer


@SITUATIONS.of("disableoffer")
async def _disable(lab: Lab) -> dict[str, Any]:
    made = await lab.result("service", "offer", recording("offer-ok")["params"])
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
    made = await lab.result("service", "offer", recording("offer-ok")["params"])
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
