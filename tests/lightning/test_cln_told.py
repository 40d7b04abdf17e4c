"""The adapter on what only the simulator can be told to answer."""

from __future__ import annotations

import pytest

from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.scripts import Outcome, Script
from wallet.bolt11_invoice import parse_bolt11
from wallet.cln import CoreLightning
from wallet.lightning import PaymentReport, PaymentState
from wallet.money import Msat, from_sat

MAXFEE = Msat(5_000)


def asked_of(network: SimulatedNetwork) -> tuple[str, str]:
    """Return an invoice of a simulated person, and its payment hash."""
    bolt11 = network.people.invoice("alice", from_sat(2_000))
    return bolt11, parse_bolt11(bolt11).payment_hash


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


async def test_what_a_node_can_send_is_its_own_side_less_the_reserve(node: CoreLightning) -> None:
    assert await node.spendable_msat() == from_sat(9_900_000)  # of its own channel, less 1 %
