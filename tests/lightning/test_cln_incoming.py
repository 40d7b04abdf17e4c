"""What is asked of the node for money that comes in: cancelled invoices, offers, addresses, outputs, blocks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relaybot.errors import Unavailable
from relaybot.simulator.network import SimulatedNetwork
from tests.lightning.conftest import Connect, Script
from tests.lightning.wire import Answer, recording, reply
from wallet.chain import OutputState
from wallet.cln_chain import CoreLightningChain
from wallet.money import Msat, from_sat

STRANGER = "bcrt1qggua3q2v7r72f6lngvc3p4e0jc5r2fux0htvtt"


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
    adapter = connect(data_dir / "scripted", private_channels=wanted)
    await adapter.create_invoice(label="l", amount_msat=from_sat(1_000), description="d", expiry_seconds=600)
    assert node.heard[0][1].get("exposeprivatechannels") is wanted


# The chain


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
