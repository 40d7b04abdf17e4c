"""What is asked of the node for money that comes in: cancelled invoices, offers, addresses, outputs, blocks."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from relaybot.errors import Unavailable
from relaybot.simulator.chain import Paid
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.params import Fault
from relaybot.simulator.people import Wanted
from tests.lightning.conftest import Connect, Script
from tests.lightning.wire import Answer, recording, reply
from wallet.chain import Chain, OutputState
from wallet.cln import CoreLightning
from wallet.cln_chain import CoreLightningChain
from wallet.lightning import Invoice
from wallet.money import Msat, from_sat

STRANGER = "bcrt1qggua3q2v7r72f6lngvc3p4e0jc5r2fux0htvtt"


async def made(node: CoreLightning, label: str = "top-up/1") -> Invoice:
    return await node.create_invoice(
        label=label, amount_msat=from_sat(1_000), description="A top-up", expiry_seconds=600
    )


async def test_a_cancelled_invoice_cannot_be_paid(network: SimulatedNetwork, node: CoreLightning) -> None:
    invoice = await made(node)
    await node.cancel_invoice(invoice.label)
    await node.cancel_invoice(invoice.label)  # gone already: as it should be
    with pytest.raises(Fault):
        await network.people.pay("bob", Wanted(invoice.bolt11))
    assert await node.find_invoice(invoice.label) is None


async def test_an_invoice_that_was_paid_before_it_was_cancelled_is_a_settlement(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    invoice = await made(node)
    await network.people.pay("bob", Wanted(invoice.bolt11))
    await node.cancel_invoice(invoice.label)
    settlement = await node.next_settlement(after_index=0, timeout_seconds=0)
    assert settlement is not None
    assert settlement.label == invoice.label


@pytest.mark.parametrize("name", ["delinvoice-ok", "delinvoice-unknown-905", "delinvoice-wrong-status-906"])
async def test_each_recorded_cancellation_is_one(scripted: Script, connect: Connect, data_dir: Path, name: str) -> None:
    node = await scripted(lambda _method, _params: reply(name))
    await connect(data_dir / "scripted").cancel_invoice("l")
    assert node.heard == [("delinvoice", {"label": "l", "status": "unpaid"})]


async def test_a_node_that_cannot_cancel_is_asked_again_later(
    scripted: Script, connect: Connect, data_dir: Path
) -> None:
    await scripted(lambda _method, _params: reply("delinvoice-no-status"))
    with pytest.raises(Unavailable):
        await connect(data_dir / "scripted").cancel_invoice("l")


@pytest.mark.parametrize("wanted", [None, True, False])
async def test_invoices_hint_at_private_channels_as_they_are_told(
    scripted: Script,
    connect: Connect,
    data_dir: Path,
    wanted: bool | None,  # noqa: FBT001 — a case of the test
) -> None:
    node = await scripted(lambda _method, _params: reply("invoice-ok"))
    await made(connect(data_dir / "scripted", private_channels=wanted))
    assert node.heard[0][1].get("exposeprivatechannels") is wanted


async def test_an_offer_is_paid_again_and_again_and_each_settlement_names_it(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    offer = await node.create_offer(description="Top-up of Bob", label="offer/bob")
    index, seen = 0, []
    for sat in (1_000, 2_500):
        await network.people.pay("bob", Wanted(offer.bolt12, from_sat(sat)))
        settlement = await node.next_settlement(after_index=index, timeout_seconds=0)
        assert settlement is not None
        index = settlement.pay_index
        seen.append((settlement.offer_id, settlement.amount_msat, settlement.change))
    assert seen == [(offer.offer_id, from_sat(1_000), 1), (offer.offer_id, from_sat(2_500), 2)]


async def test_the_changes_of_invoices_are_counted_up_and_never_down(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    assert await node.invoice_changes() == 0
    invoice = await made(node)
    await network.people.pay("bob", Wanted(invoice.bolt11))
    assert await node.invoice_changes() == 1
    await network.nodes["service"].answer("delinvoice", {"label": invoice.label, "status": "paid"})
    assert await node.invoice_changes() == 1


# The chain


def test_the_chain_s_adapter_has_exactly_the_methods_of_its_port() -> None:
    def methods(of: type) -> dict[str, inspect.Signature]:
        functions = inspect.getmembers(of, inspect.iscoroutinefunction)
        return {name: inspect.signature(function) for name, function in functions if not name.startswith("_")}

    port, adapter = methods(Chain), methods(CoreLightningChain)
    assert adapter.pop("close") is not None
    assert adapter == port


async def test_each_address_is_new_and_of_the_newest_form(chain: CoreLightningChain) -> None:
    one, other = await chain.new_address(), await chain.new_address()
    assert one != other
    assert one.startswith("bcrt1p")


async def test_a_deposit_is_seen_when_it_is_in_a_block_and_is_unconfirmed_after_a_reorganisation(
    network: SimulatedNetwork, chain: CoreLightningChain
) -> None:
    address = await chain.new_address()
    txid = network.chain.send(address, from_sat(50_000))
    assert await chain.outputs() == []
    height = network.chain.mine()
    [output] = await chain.outputs()
    assert (output.txid, output.vout, output.address, output.amount_msat) == (txid, 0, address, from_sat(50_000))
    assert (output.state, output.height) == (OutputState.CONFIRMED, height)
    network.chain.reorganise(1)
    assert [(each.state, each.height) for each in await chain.outputs()] == [(OutputState.UNCONFIRMED, None)]
    again = network.chain.mine()
    assert [(each.state, each.height) for each in await chain.outputs()] == [(OutputState.CONFIRMED, again)]
    assert [(move.outpoint, move.credit_msat) for move in await chain.chain_moves(after_index=0, limit=9)] == [
        (f"{txid}:0", from_sat(50_000))  # the books noted it once
    ]


async def test_an_output_that_was_spent_is_still_listed_and_its_spending_is_a_move(
    network: SimulatedNetwork, chain: CoreLightningChain
) -> None:
    txid = network.chain.send(await chain.new_address(), from_sat(50_000))
    network.chain.mine()
    spending = network.chain.broadcast([Paid(STRANGER, from_sat(49_000))], spends=[(txid, 0)])
    network.chain.mine()
    assert [(each.outpoint, each.state) for each in await chain.outputs()] == [(f"{txid}:0", OutputState.SPENT)]
    moves = await chain.chain_moves(after_index=1, limit=9)
    assert [(move.txid, move.debit_msat, move.tag, move.account) for move in moves] == [
        (spending, from_sat(50_000), "withdrawal", "wallet")
    ]


async def test_whoever_waits_for_a_block_hears_of_it_or_that_none_came(
    network: SimulatedNetwork, chain: CoreLightningChain
) -> None:
    height = network.chain.height()
    waiting = asyncio.create_task(chain.wait_for_block(height + 2, timeout_seconds=60))
    network.chain.mine(2)
    await waiting
    await chain.wait_for_block(height + 3, timeout_seconds=0)


async def test_a_node_that_lags_sees_the_chain_as_it_was(network: SimulatedNetwork, chain: CoreLightningChain) -> None:
    network.set_synced("service", False)
    network.chain.send(await chain.new_address(), from_sat(50_000))
    network.chain.mine()
    assert await chain.outputs() == []
    assert await chain.chain_moves(after_index=0, limit=9) == []
    network.set_synced("service", True)
    assert [each.state for each in await chain.outputs()] == [OutputState.CONFIRMED]
    assert len(await chain.chain_moves(after_index=0, limit=9)) == 1


LISTED = [
    "listfunds-after-withdraw-confirmed",
    "listfunds-after-withdraw-unconfirmed",
    "listfunds-deposit-confirmed",
    "listfunds-deposit-reorged-out",
    "listfunds-reserved",
]


@pytest.mark.parametrize("name", LISTED)
async def test_recorded_outputs_are_read_whole(scripted: Script, data_dir: Path, name: str) -> None:
    await scripted(lambda _method, _params: reply(name))
    chain = CoreLightningChain(data_dir / "scripted")
    rows = recording(name)["result"]["outputs"]
    read = [(each.outpoint, each.amount_msat, each.state.value, each.height) for each in await chain.outputs()]
    await chain.close()
    assert read == [
        (f"{row['txid']}:{row['output']}", row["amount_msat"], row["status"], row.get("blockheight")) for row in rows
    ]


async def test_recorded_moves_of_the_chain_are_read_whole(scripted: Script, data_dir: Path) -> None:
    node = await scripted(lambda _method, _params: reply("listchainmoves"))
    chain = CoreLightningChain(data_dir / "scripted")
    moves = await chain.chain_moves(after_index=0, limit=5)
    await chain.close()
    rows = recording("listchainmoves")["result"]["chainmoves"]
    assert [move.txid for move in moves] == [row.get("spending_txid", row["utxo"][:64]) for row in rows]
    assert [(move.index, move.credit_msat - move.debit_msat) for move in moves] == [
        (row["created_index"], row["credit_msat"] - row["debit_msat"]) for row in rows
    ]
    assert node.heard == [("listchainmoves", {"index": "created", "start": 1, "limit": 5})]


IMMATURE: dict[str, Any] = {
    "result": {"outputs": [{"txid": "aa" * 32, "output": 1, "amount_msat": 5_000, "status": "immature"}]}
}


async def test_a_coinbase_that_cannot_be_spent_yet_and_has_no_address_is_unconfirmed(
    scripted: Script, data_dir: Path
) -> None:
    await scripted(lambda _method, _params: IMMATURE)
    chain = CoreLightningChain(data_dir / "scripted")
    [output] = await chain.outputs()
    await chain.close()
    assert (output.state, output.address, output.amount_msat) == (OutputState.UNCONFIRMED, "", Msat(5_000))


@pytest.mark.parametrize("answer", [None, {"result": {"unexpected": 1}}, {"error": {"code": -1, "message": "m"}}])
async def test_nonsense_about_the_chain_is_unavailable(scripted: Script, data_dir: Path, answer: Answer) -> None:
    await scripted(lambda _method, _params: answer)
    chain = CoreLightningChain(data_dir / "scripted")
    calls = [chain.new_address(), chain.outputs(), chain.chain_moves(after_index=0, limit=1)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * len(calls)
    if answer != {"result": {"unexpected": 1}}:  # of a wait, nothing is read
        with pytest.raises(Unavailable):
            await chain.wait_for_block(1, timeout_seconds=0)
    await chain.close()
