"""The port to the node's wallet on the chain: what the simulator and a real node must both do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relaybot.errors import Rejected, Unavailable
from tests.lightning.conftest import Script
from tests.lightning.lab import Lab, Nodes
from tests.lightning.situations_of_chain import STRANGER
from tests.lightning.wire import recording
from wallet.chain import Chain, Output, OutputState, Payment, Prepared
from wallet.cln_chain import CoreLightningChain
from wallet.money import from_sat


@pytest.fixture
async def chain(nodes: Nodes) -> AsyncIterator[CoreLightningChain]:
    adapter = CoreLightningChain(nodes.sockets["service"])
    yield adapter
    await adapter.close()


async def at(chain: CoreLightningChain, *addresses: str) -> list[Output]:
    """Return the outputs at these addresses: the wallet has others."""
    return [each for each in await chain.outputs() if each.address in addresses]


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
    lab: Lab, chain: CoreLightningChain
) -> None:
    noted = await lab.index("service", "chainmoves")
    address = await chain.new_address()
    txid = await lab.nodes.deposit(address, 50_000)
    assert await at(chain, address) == []
    height = await lab.nodes.mine()
    [output] = await at(chain, address)
    assert (output.txid, output.vout, output.amount_msat) == (txid, 0, from_sat(50_000))
    assert (output.state, output.height) == (OutputState.CONFIRMED, height)
    await lab.nodes.reorganise(1)
    assert [(each.state, each.height) for each in await at(chain, address)] == [(OutputState.UNCONFIRMED, None)]
    again = await lab.nodes.mine()
    assert [(each.state, each.height) for each in await at(chain, address)] == [(OutputState.CONFIRMED, again)]
    moves = await chain.chain_moves(after_index=noted, limit=9)
    assert [(move.outpoint, move.credit_msat) for move in moves] == [(f"{txid}:0", from_sat(50_000))]  # noted once


async def test_several_outputs_of_one_block_are_told_apart(lab: Lab, chain: CoreLightningChain) -> None:
    addresses = [await chain.new_address() for _ in range(3)]
    for address in [*addresses, addresses[0]]:
        await lab.nodes.deposit(address, 50_000)
    await lab.nodes.mine()
    found = await at(chain, *addresses)
    assert len({each.outpoint for each in found}) == 4
    assert sorted(each.address for each in found) == sorted([*addresses, addresses[0]])


async def test_an_output_that_was_spent_is_still_listed_and_its_spending_is_a_move(
    lab: Lab, chain: CoreLightningChain
) -> None:
    address = await chain.new_address()
    txid = await lab.nodes.deposit(address, 50_000)
    await lab.nodes.mine()
    noted = await lab.index("service", "chainmoves")
    spending = await lab.nodes.spend(txid, 0, to=STRANGER, sat=20_000)
    await lab.nodes.mine()
    assert [(each.outpoint, each.state) for each in await at(chain, address)] == [(f"{txid}:0", OutputState.SPENT)]
    moves = await chain.chain_moves(after_index=noted, limit=9)
    out, spent, change = moves
    assert {move.txid for move in moves} == {spending}
    assert (out.account, out.credit_msat) == ("external", from_sat(20_000))
    assert (spent.account, spent.tag, spent.debit_msat) == ("wallet", "withdrawal", from_sat(50_000))
    assert (change.account, change.tag) == ("wallet", "deposit")
    assert 0 < spent.debit_msat - out.credit_msat - change.credit_msat < from_sat(5_000)  # the fee has no row


async def test_whoever_waits_for_a_block_hears_of_it_or_that_none_came(lab: Lab, chain: CoreLightningChain) -> None:
    height = await lab.nodes.mine()
    waiting = asyncio.create_task(chain.wait_for_block(height + 2, timeout_seconds=60))
    await lab.nodes.mine(2)
    await waiting
    await chain.wait_for_block(height + 3, timeout_seconds=0)


# ---- spending


SCRIPT = "00144239d8814cf0fca4ebf3433110d72f9628352786"  # of the stranger's address


async def funded(lab: Lab, chain: CoreLightningChain) -> None:
    """See to it that the wallet has coins deep enough to be spent."""
    await lab.nodes.deposit(await chain.new_address(), 20_000_000)
    await lab.nodes.mine(2)


def paying(*sat: int) -> list[Payment]:
    return [Payment(STRANGER, SCRIPT, from_sat(each)) for each in sat]


async def prepared(lab: Lab, chain: CoreLightningChain, *sat: int) -> Prepared:
    await funded(lab, chain)
    return await chain.prepare(paying(*sat), feerate=1_000, confirmations=2)


async def test_what_is_prepared_pays_what_was_asked_for_and_names_its_coins_and_its_fee(
    lab: Lab, chain: CoreLightningChain
) -> None:
    made = await prepared(lab, chain, 50_000, 50_000, 30_000)
    assert made.fee_msat % 1_000 == 0
    assert from_sat(500) < made.fee_msat < from_sat(1_500)  # some 250 bytes at 4 sat
    assert set(made.inputs) <= {each.outpoint for each in await chain.outputs() if each.state is OutputState.CONFIRMED}
    assert await chain.heights([made.txid]) == {}
    await chain.discard(made.txid)
    await chain.discard(made.txid)  # forgotten is forgotten
    again = await chain.prepare(paying(50_000), feerate=1_000, confirmations=2)
    assert again.txid != made.txid
    await chain.discard(again.txid)


async def test_what_is_sent_is_known_in_no_block_and_then_in_one_and_after_a_reorganisation_in_none(
    lab: Lab, chain: CoreLightningChain
) -> None:
    made = await prepared(lab, chain, 50_000)
    assert await chain.send(made.txid, made.psbt) == ""
    assert await chain.heights([made.txid, "ff" * 32]) == {made.txid: 0}
    height = await lab.nodes.mine()
    assert await chain.heights([made.txid]) == {made.txid: height}
    await lab.nodes.reorganise(1)
    assert await chain.heights([made.txid]) == {made.txid: 0}
    assert await chain.send(made.txid, made.psbt) == ""
    again = await lab.nodes.mine()
    assert await chain.heights([made.txid]) == {made.txid: again}


async def test_e5_what_is_sent_again_is_the_same_transaction(lab: Lab, chain: CoreLightningChain) -> None:
    made = await prepared(lab, chain, 50_000)
    noted = await lab.index("service", "chainmoves")
    for _ in range(3):
        assert await chain.send(made.txid, made.psbt) == ""
    await lab.nodes.mine()
    moves = [move for move in await chain.chain_moves(after_index=noted, limit=99) if move.account == "wallet"]
    assert {move.txid for move in moves} == {made.txid}
    left = sum(move.debit_msat - move.credit_msat for move in moves)
    assert left == from_sat(50_000) + made.fee_msat  # to the msat what was said when it was prepared


async def test_e5_what_the_node_has_forgotten_is_sent_out_of_the_same_coins(
    lab: Lab, chain: CoreLightningChain
) -> None:
    made = await prepared(lab, chain, 50_000)
    await lab.nodes.restart("service")
    assert await chain.send(made.txid, made.psbt) == ""
    height = await lab.nodes.mine()
    assert await chain.heights([made.txid]) == {made.txid: height}


async def test_what_cannot_be_afforded_is_refused(lab: Lab, chain: CoreLightningChain) -> None:
    await funded(lab, chain)
    for sat, confirmations in ((10_000_000_000, 1), (50_000, 10_000)):
        with pytest.raises(Rejected, match="too few coins"):
            await chain.prepare(paying(sat), feerate=1_000, confirmations=confirmations)


async def test_e5_a_payment_that_the_node_refuses_is_told_from_too_few_coins(
    lab: Lab, chain: CoreLightningChain
) -> None:
    await funded(lab, chain)
    mainnet = Payment("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", f"0014{'00' * 20}", from_sat(50_000))
    with pytest.raises(Rejected, match="refuses one of these payments"):
        await chain.prepare([*paying(50_000), mainnet], feerate=1_000, confirmations=1)


async def test_the_wallet_knows_its_own_addresses(lab: Lab, chain: CoreLightningChain) -> None:
    assert await chain.is_own(await chain.new_address())
    assert not await chain.is_own(STRANGER)


async def test_a_feerate_is_said(chain: CoreLightningChain) -> None:
    assert await chain.feerate(12) >= 253


# ---- answers that are not what was hoped for


@pytest.fixture
async def told(scripted: Script, data_dir: Path) -> AsyncIterator[tuple[CoreLightningChain, dict[str, Any]]]:
    """A wallet that answers what stands in a dictionary, by method; what is missing there hangs up."""
    answers: dict[str, Any] = {}
    await scripted(lambda method, _params: answers.get(method))
    adapter = CoreLightningChain(data_dir / "scripted")
    yield adapter, answers
    await adapter.close()


Told = tuple[CoreLightningChain, dict[str, Any]]


async def test_whoever_knows_no_fees_says_so(told: Told) -> None:
    chain, answers = told
    answers["feerates"] = {"result": {"perkw": {"min_acceptable": 253}}}
    with pytest.raises(Unavailable, match="no estimate of fees"):
        await chain.feerate(12)


async def test_the_estimate_for_the_most_blocks_that_are_not_too_many_is_the_one(told: Told) -> None:
    chain, answers = told
    rates = [
        {"blockcount": count, "feerate": rate} for count, rate in ((2, 9_000), (6, 4_000), (12, 2_000), (100, 200))
    ]
    answers["feerates"] = {"result": {"perkw": {"min_acceptable": 253, "opening": 7_777, "estimates": rates}}}
    assert [await chain.feerate(blocks) for blocks in (1, 6, 11, 12, 99, 100)] == [
        9_000,  # nobody knows of fewer than two
        4_000,
        4_000,
        2_000,
        2_000,
        253,  # the node takes no less
    ]
    answers["feerates"] = {"result": {"perkw": {"min_acceptable": 253, "opening": 7_777}}}
    assert await chain.feerate(100) == 7_777  # it was told what fees are


@pytest.mark.parametrize("fault", ["another sum", "no bytes", "unknown coins"])
async def test_a_transaction_that_was_not_asked_for_is_discarded(told: Told, fault: str) -> None:
    chain, answers = told
    said = recording("txprepare-ok")["result"]
    coin = {"txid": "e85fa9827142f071453a20ad3b7f03fab31af2c63dbf286c6bbd5f58c197abeb", "output": 1}
    outputs = [] if fault == "unknown coins" else [coin | {"amount_msat": 9, "status": "confirmed"}]
    answers |= {"listfunds": {"result": {"outputs": outputs}}, "txdiscard": {"result": {}}}
    answers["txprepare"] = {"result": said | ({"unsigned_tx": "00"} if fault == "no bytes" else {})}
    with pytest.raises(Unavailable, match="another transaction"):
        await chain.prepare(paying(10_001 if fault == "another sum" else 10_000), feerate=500, confirmations=1)


async def test_an_error_of_a_call_that_prepares_or_discards_is_told(told: Told) -> None:
    chain, answers = told
    answers |= {method: {"error": {"code": -4, "message": "m"}} for method in ("txprepare", "txdiscard")}
    with pytest.raises(Unavailable):
        await chain.prepare(paying(10_000), feerate=500, confirmations=1)
    with pytest.raises(Unavailable):
        await chain.discard("ff" * 32)


async def test_whatever_a_call_that_sends_says_is_no_error_and_no_proof(told: Told) -> None:
    chain, answers = told
    assert await chain.send("ff" * 32, "psbt") == "lightning node: connection lost during txsend"
    answers["txsend"] = {"error": {"code": -1, "message": "m"}}
    assert await chain.send("ff" * 32, "psbt") == "txsend: the node answered error -1"
    answers["txsend"] = {"error": {"code": -32602, "message": "not an unreleased txid"}}
    answers["listtransactions"] = {"result": {"transactions": []}}
    answers["reserveinputs"] = {"error": {"code": -32602, "message": "already spent"}}
    assert await chain.send("ff" * 32, "psbt") == "reserveinputs: the node answered error -32602"
    listed = {"hash": "ff" * 32, "blockheight": 0, "rawtx": "00"}
    answers["listtransactions"] = {"result": {"transactions": [listed]}}
    answers["sendrawtransaction"] = {"result": {"success": False, "errmsg": "dust"}}
    assert await chain.send("ff" * 32, "psbt") == "the node's Bitcoin backend refused it"
