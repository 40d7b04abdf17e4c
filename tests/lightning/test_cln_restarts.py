"""What outlives a caller that dies and a node that is restarted: on simulated and on real nodes."""

from __future__ import annotations

import asyncio
import json

from relaybot.demo.people import until
from relaybot.simulator.scripts import Outcome
from tests.lightning.conftest import Connect
from tests.lightning.lab import Lab
from wallet.cln import CoreLightning
from wallet.lightning import PaymentState
from wallet.money import Msat

OURS = "wallets"
MAXFEE = Msat(5_000)


async def ends(node: CoreLightning, payment_hash: str, state: PaymentState) -> None:
    """Wait until the node's records say how a payment ended."""

    async def has_ended() -> bool:
        return (await node.payment(payment_hash)).state is state

    await until(f"the payment is {state.value}", has_ended)


async def test_c17_the_caller_dies_after_sending_and_the_payment_goes_out(lab: Lab, connect: Connect) -> None:
    invoice = await lab.invoice()
    _, writer = await asyncio.open_unix_connection(str(lab.nodes.sockets[OURS]))
    request = {"jsonrpc": "2.0", "id": 1, "method": "xpay", "params": [invoice["bolt11"]]}
    writer.write(json.dumps(request).encode())
    await writer.drain()
    writer.close()  # sent, and gone before any answer
    await ends(connect(lab.nodes.sockets[OURS]), invoice["payment_hash"], PaymentState.SETTLED)


async def test_c17_a_payment_in_flight_outlives_a_restart_of_the_node(lab: Lab, connect: Connect) -> None:
    invoice = await lab.held(payer=OURS)
    await lab.nodes.restart(OURS)
    node = connect(lab.nodes.sockets[OURS])
    assert (await node.payment(invoice["payment_hash"])).state is PaymentState.PENDING
    assert await node.htlc_hashes() == {invoice["payment_hash"]}
    assert (await node.pay(invoice["bolt11"], maxfee_msat=MAXFEE, label="l")).state is PaymentState.UNKNOWN
    await lab.release()
    await ends(node, invoice["payment_hash"], PaymentState.SETTLED)


async def test_c17_a_payment_refused_after_a_restart_has_failed(lab: Lab, connect: Connect) -> None:
    invoice = await lab.invoice()
    lab.script(Outcome.FAIL, code=203)
    node = connect(lab.nodes.sockets[OURS])
    await node.pay(invoice["bolt11"], maxfee_msat=MAXFEE, label="l")
    await lab.over(invoice, OURS)
    await lab.nodes.restart(OURS)
    assert (await node.payment(invoice["payment_hash"])).state is PaymentState.FAILED


async def test_d2_settlements_before_a_restart_are_read_after_it(lab: Lab, connect: Connect) -> None:
    invoice = await lab.paid(OURS, payer="far")
    await lab.nodes.restart(OURS)
    node = connect(lab.nodes.sockets[OURS])
    settlement = await node.next_settlement(after_index=0, timeout_seconds=0)
    assert settlement is not None
    assert settlement.label == invoice["label"]
    assert await node.next_settlement(after_index=settlement.pay_index, timeout_seconds=0) is None


async def test_d3_overpaid_is_what_arrived(lab: Lab, connect: Connect) -> None:
    await lab.overpaid("service")
    settlement = await connect(lab.nodes.sockets["service"]).next_settlement(after_index=0, timeout_seconds=0)
    assert settlement is not None
    assert settlement.amount_msat == 15_000
