"""The Lightning port, spoken through pyln over the real socket to the simulator. A real node must pass the same."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from relaybot.clock import SetClock
from relaybot.errors import Rejected
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.people import Wanted
from relaybot.simulator.scripts import Ending, Outcome, Script
from wallet.bolt11_invoice import parse_bolt11
from wallet.cln import CoreLightning
from wallet.lightning import Invoice, Lightning, PaymentReport, PaymentState
from wallet.money import Msat, from_sat

SAT_12000 = from_sat(12_000)
MAXFEE = Msat(5_000)


async def made(node: CoreLightning, label: str = "top-up/1", amount_msat: Msat | None = SAT_12000) -> Invoice:
    return await node.create_invoice(label=label, amount_msat=amount_msat, description="A job", expiry_seconds=600)


def asked_of(network: SimulatedNetwork, name: str = "alice", sat: int = 2_000) -> tuple[str, str]:
    """Return an invoice of a simulated person, and its payment hash."""
    bolt11 = network.people.invoice(name, from_sat(sat))
    return bolt11, parse_bolt11(bolt11).payment_hash


def test_the_adapter_has_exactly_the_methods_of_the_port() -> None:
    def methods(of: type) -> dict[str, inspect.Signature]:
        functions = inspect.getmembers(of, inspect.iscoroutinefunction)
        return {name: inspect.signature(function) for name, function in functions if not name.startswith("_")}

    port, adapter = methods(Lightning), methods(CoreLightning)
    assert adapter.pop("close") is not None
    assert adapter == port


async def test_info_says_who_the_node_is(network: SimulatedNetwork, node: CoreLightning) -> None:
    info = await node.info()
    assert info.node_id == network.nodes["service"].pubkey
    assert info.network == "regtest"
    assert info.alias == "simulated-service"
    assert info.block_height > 0
    assert info.synced


async def test_a_node_that_lags_behind_the_chain_is_not_synced(network: SimulatedNetwork, node: CoreLightning) -> None:
    network.set_synced("service", False)
    assert not (await node.info()).synced


async def test_an_invoice_is_signed_by_the_node_and_says_what_was_asked(
    network: SimulatedNetwork, node: CoreLightning, clock: SetClock
) -> None:
    invoice = await node.create_invoice(
        label="top-up/1", amount_msat=SAT_12000, description='café ☕ — "one"\n', expiry_seconds=600
    )
    said = parse_bolt11(invoice.bolt11)
    assert said.payee == network.nodes["service"].pubkey
    assert said.amount_msat == invoice.amount_msat == SAT_12000
    assert said.payment_hash == invoice.payment_hash
    assert said.description == 'café ☕ — "one"\n'
    assert said.expires_at == invoice.expires_at == clock.now() + 600
    assert said.network == "bcrt"


async def test_the_label_is_the_idempotency_key(node: CoreLightning) -> None:
    first = await made(node)
    assert await made(node) == first
    assert await node.find_invoice("top-up/1") == first


async def test_a_label_that_stands_for_another_amount_is_refused(node: CoreLightning) -> None:
    await made(node)
    for other in (Msat(1_000), None):
        with pytest.raises(Rejected, match="another amount"):
            await made(node, amount_msat=other)


async def test_ten_calls_at_once_for_one_label_give_one_invoice(node: CoreLightning) -> None:
    invoices = await asyncio.gather(*(made(node) for _ in range(10)))
    assert len(set(invoices)) == 1


async def test_an_amountless_invoice_is_made_and_found_again(node: CoreLightning) -> None:
    invoice = await made(node, amount_msat=None)
    assert invoice.amount_msat is None
    assert parse_bolt11(invoice.bolt11).amount_msat is None
    assert await made(node, amount_msat=None) == invoice


async def test_an_unknown_label_finds_nothing(node: CoreLightning) -> None:
    assert await node.find_invoice("no-such-label") is None


@pytest.mark.parametrize("description", ["a\x01b", "a\x00b", "x" * 640, "\ud800"])
async def test_a_description_the_node_cannot_take_is_rejected(node: CoreLightning, description: str) -> None:
    with pytest.raises(Rejected):
        await node.create_invoice(label="l", amount_msat=SAT_12000, description=description, expiry_seconds=600)


async def test_an_amount_of_zero_is_rejected(node: CoreLightning) -> None:
    with pytest.raises(Rejected):
        await made(node, amount_msat=Msat(0))


async def test_a_settlement_is_heard_by_who_waits(network: SimulatedNetwork, node: CoreLightning) -> None:
    invoice = await made(node)
    waiting = asyncio.create_task(node.next_settlement(after_index=0, timeout_seconds=20))
    await network.people.pay("bob", Wanted(invoice.bolt11))
    settlement = await waiting
    assert settlement is not None
    assert (settlement.label, settlement.payment_hash) == ("top-up/1", invoice.payment_hash)
    assert (settlement.amount_msat, settlement.pay_index) == (SAT_12000, 1)


async def test_settlements_that_were_missed_are_read_from_the_index(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    for number in range(3):
        await network.people.pay("bob", Wanted((await made(node, f"top-up/{number}")).bolt11))
    read, index = [], 0
    while (settlement := await node.next_settlement(after_index=index, timeout_seconds=0)) is not None:
        read.append(settlement.label)
        index = settlement.pay_index
    assert read == ["top-up/0", "top-up/1", "top-up/2"]


async def test_no_settlement_in_time_is_none(node: CoreLightning) -> None:
    assert await node.next_settlement(after_index=0, timeout_seconds=0) is None


async def test_a_payment_is_settled_with_its_fee_and_its_preimage(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    bolt11, payment_hash = asked_of(network)
    before = await node.spendable_msat()
    report = await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    assert report.state is PaymentState.SETTLED
    assert report.amount_sent_msat == from_sat(2_000) + 1_200  # the hub: 1,000 and 100 ppm
    assert await node.payment(payment_hash) == report
    assert await node.spendable_msat() == before - report.amount_sent_msat
    assert network.people.balance_msat("alice") == from_sat(1_002_000)


async def test_the_moves_of_the_channels_hold_every_payment_once(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    invoice = await made(node)
    await network.people.pay("bob", Wanted(invoice.bolt11))
    bolt11, payment_hash = asked_of(network)
    await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    moves = await node.moves(after_index=0, limit=10)
    assert [(move.payment_hash, move.credit_msat, move.debit_msat, move.fees_msat, move.tag) for move in moves] == [
        (invoice.payment_hash, 12_000_000, 0, 0, "invoice"),
        (payment_hash, 0, 2_001_200, 1_200, "invoice"),  # the debit holds the fee
    ]
    assert await node.moves(after_index=moves[0].index, limit=10) == moves[1:]
    assert await node.moves(after_index=0, limit=1) == moves[:1]


async def test_a_payment_in_flight_is_pending_and_its_hash_stands_in_a_channel(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    bolt11, payment_hash = asked_of(network)
    network.scripts.add(Script(outcome=Outcome.HOLD))
    paying = asyncio.create_task(node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1"))
    await sent(network, 1)
    assert (await node.payment(payment_hash)).state is PaymentState.PENDING
    assert await node.htlc_hashes() == {payment_hash}
    assert network.payments.release(payment_hash=payment_hash, ending=None) == 1
    assert (await paying).state is PaymentState.SETTLED
    assert await node.htlc_hashes() == frozenset()


async def test_a_payment_that_was_sent_and_refused_has_failed(network: SimulatedNetwork, node: CoreLightning) -> None:
    bolt11, payment_hash = asked_of(network)
    network.scripts.add(Script(outcome=Outcome.FAIL, code=203))
    assert await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1") == PaymentReport(
        PaymentState.UNKNOWN, reason="destination refused"
    )
    assert (await node.payment(payment_hash)).state is PaymentState.FAILED
    assert await node.htlc_hashes() == frozenset()


@pytest.mark.parametrize(
    ("code", "reason"),
    [(205, "no route or no liquidity"), (206, "routing fee above the limit"), (-4, "node plugin stopped")],
)
async def test_a_payment_that_failed_before_sending_leaves_no_record(
    network: SimulatedNetwork, node: CoreLightning, code: int, reason: str
) -> None:
    bolt11, payment_hash = asked_of(network)
    network.scripts.add(Script(outcome=Outcome.FAIL, code=code))
    assert (await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")).reason == reason
    assert await node.payment(payment_hash) == PaymentReport(PaymentState.UNKNOWN, reason="no record")


async def test_without_the_plugin_of_listpays_the_parts_are_read(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    bolt11, payment_hash = asked_of(network)
    network.scripts.add(Script(outcome=Outcome.FAIL, code=203))
    await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    report = await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    assert report.state is PaymentState.SETTLED
    network.nodes["service"].withdraw_command("listpays")
    assert await node.payment(payment_hash) == report
    assert (await node.payment("00" * 32)).state is PaymentState.UNKNOWN


async def test_what_a_disconnected_node_can_send_is_nothing(network: SimulatedNetwork, node: CoreLightning) -> None:
    assert await node.spendable_msat() == from_sat(9_900_000)  # of its own channel, less the reserve of 1 %
    network.set_connected("service", False)
    assert await node.spendable_msat() == 0


async def test_ten_calls_at_once_for_one_invoice_pay_once(network: SimulatedNetwork, node: CoreLightning) -> None:
    bolt11, payment_hash = asked_of(network)
    network.scripts.add(Script(outcome=Outcome.HOLD))
    calls = [asyncio.create_task(node.pay(bolt11, maxfee_msat=MAXFEE, label="p")) for _ in range(10)]
    while sum(call.done() for call in calls) < 9:
        await asyncio.wait([call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED)
    network.payments.release(payment_hash=None, ending=Ending.SETTLE)
    reports = await asyncio.gather(*calls)
    assert sorted(report.reason or "settled" for report in reports) == ["settled"] + ["still in progress"] * 9
    assert (await node.payment(payment_hash)).amount_sent_msat == from_sat(2_000) + 1_200
    assert [move.payment_hash for move in await node.moves(after_index=0, limit=10)] == [payment_hash]


async def sent(network: SimulatedNetwork, count: int) -> None:
    """Wait until the service's node has sent `count` parts."""
    await network.nodes["service"].answer("wait", ["sendpays", "created", count])
