"""The Lightning port, spoken over the node's socket: what the simulator and a real node must both do.

Ours is the node `wallets`, for it has a channel with the service's alone: what it pays to `far` goes two hops.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets

import pytest

from relaybot.demo.people import until
from relaybot.errors import Rejected, Unavailable
from relaybot.simulator.scripts import Ending, Outcome
from tests.lightning.conftest import Connect
from tests.lightning.lab import FEE_BASE_MSAT, FEE_PPM, Lab, Nodes
from wallet.bolt11_invoice import parse_bolt11
from wallet.cln import CoreLightning
from wallet.lightning import Invoice, Lightning, Move, PaymentReport, PaymentState
from wallet.money import Msat, from_sat

OURS, THEIRS = "wallets", "far"
SAT_12000 = from_sat(12_000)
ASKED = from_sat(2_000)
FEE = FEE_BASE_MSAT + ASKED * FEE_PPM // 1_000_000
MAXFEE = Msat(5_000)


@pytest.fixture
def node(nodes: Nodes, connect: Connect) -> CoreLightning:
    return connect(nodes.sockets[OURS])


async def made(
    node: CoreLightning,
    label: str = "top-up/1",
    amount_msat: Msat | None = SAT_12000,
    preimage: str | None = None,
) -> Invoice:
    return await node.create_invoice(
        label=label, amount_msat=amount_msat, description="A job", expiry_seconds=600, preimage=preimage
    )


async def asked_of(lab: Lab) -> tuple[str, str]:
    """Return an invoice of theirs, and its payment hash."""
    invoice = await lab.invoice(THEIRS, amount_msat=ASKED)
    return invoice["bolt11"], invoice["payment_hash"]


async def received(lab: Lab, bolt11: str) -> int:
    """Return what they have got for their invoice."""
    rows = (await lab.result(THEIRS, "listinvoices", {"invstring": bolt11}))["invoices"]
    return int(rows[0].get("amount_received_msat", 0))


async def pays(lab: Lab, invoice: Invoice) -> None:
    """Let them pay an invoice of ours."""
    await lab.result(THEIRS, "xpay", {"invstring": invoice.bolt11})


def test_the_adapter_has_exactly_the_methods_of_the_port() -> None:
    def methods(of: type) -> dict[str, inspect.Signature]:
        functions = inspect.getmembers(of, inspect.iscoroutinefunction)
        return {name: inspect.signature(function) for name, function in functions if not name.startswith("_")}

    port, adapter = methods(Lightning), methods(CoreLightning)
    assert adapter.pop("close") is not None
    assert adapter == port


async def test_info_says_who_the_node_is(nodes: Nodes, node: CoreLightning) -> None:
    info = await node.info()
    assert info.node_id == nodes.node_id(OURS)
    assert info.network == "regtest"
    assert info.alias.endswith(OURS)
    assert info.block_height > 0
    assert info.synced


async def test_a_node_that_lags_behind_the_chain_is_not_synced(nodes: Nodes, node: CoreLightning) -> None:
    await nodes.fall_behind(OURS)
    assert not (await node.info()).synced


async def test_an_invoice_is_signed_by_the_node_and_says_what_was_asked(nodes: Nodes, node: CoreLightning) -> None:
    invoice = await node.create_invoice(
        label="top-up/1", amount_msat=SAT_12000, description='café ☕ — "one"\n', expiry_seconds=600
    )
    said = parse_bolt11(invoice.bolt11)
    assert said.payee == nodes.node_id(OURS)
    assert said.amount_msat == invoice.amount_msat == SAT_12000
    assert said.payment_hash == invoice.payment_hash
    assert said.description == 'café ☕ — "one"\n'
    assert said.expires_at == invoice.expires_at
    assert 0 <= nodes.now() + 600 - said.expires_at < 60
    assert said.network == "bcrt"


async def test_the_label_is_the_idempotency_key(node: CoreLightning) -> None:
    first = await made(node)
    assert await made(node) == first
    assert await node.find_invoice("top-up/1") == first


async def test_the_label_is_the_idempotency_key_of_an_invoice_whose_secret_is_ours(node: CoreLightning) -> None:
    secret = secrets.token_hex(32)
    first = await made(node, preimage=secret)
    assert await made(node, preimage=secret) == first
    with pytest.raises(Rejected, match="another amount"):
        await made(node, preimage=secret, amount_msat=Msat(1_000))
    with pytest.raises(Unavailable):  # the same secret under another label is nobody's doing
        await made(node, preimage=secret, label="top-up/2")


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


async def test_a_settlement_is_heard_by_who_waits(lab: Lab, node: CoreLightning) -> None:
    invoice = await made(node)
    waiting = asyncio.create_task(node.next_settlement(after_index=0, timeout_seconds=60))
    await pays(lab, invoice)
    settlement = await waiting
    assert settlement is not None
    assert (settlement.label, settlement.payment_hash) == ("top-up/1", invoice.payment_hash)
    assert settlement.amount_msat == SAT_12000
    assert settlement.pay_index > 0


async def test_settlements_that_were_missed_are_read_from_the_index(lab: Lab, node: CoreLightning) -> None:
    for number in range(3):
        await pays(lab, await made(node, f"top-up/{number}"))
    read, index = [], 0
    while (settlement := await node.next_settlement(after_index=index, timeout_seconds=0)) is not None:
        read.append(settlement.label)
        assert settlement.pay_index > index
        index = settlement.pay_index
    assert read == ["top-up/0", "top-up/1", "top-up/2"]


async def test_no_settlement_in_time_is_none(node: CoreLightning) -> None:
    assert await node.next_settlement(after_index=0, timeout_seconds=0) is None


async def test_a_cancelled_invoice_cannot_be_paid(lab: Lab, node: CoreLightning) -> None:
    invoice = await made(node)
    await node.cancel_invoice(invoice.label)
    await node.cancel_invoice(invoice.label)  # gone already: as it should be
    assert (await lab.call(THEIRS, "xpay", {"invstring": invoice.bolt11}))["error"]["code"] == 203
    assert await node.find_invoice(invoice.label) is None


async def test_an_invoice_that_was_paid_before_it_was_cancelled_is_a_settlement(lab: Lab, node: CoreLightning) -> None:
    invoice = await made(node)
    await pays(lab, invoice)
    await node.cancel_invoice(invoice.label)
    settlement = await node.next_settlement(after_index=0, timeout_seconds=0)
    assert settlement is not None
    assert settlement.label == invoice.label


async def test_the_changes_of_invoices_are_counted_up_and_never_down(lab: Lab, node: CoreLightning) -> None:
    before = await node.invoice_changes()
    invoice = await made(node)
    assert await node.invoice_changes() == before
    await pays(lab, invoice)
    settlement = await node.next_settlement(after_index=0, timeout_seconds=0)
    assert settlement is not None
    assert settlement.change == await node.invoice_changes() == before + 1
    await lab.result(OURS, "delinvoice", {"label": invoice.label, "status": "paid"})
    assert await node.invoice_changes() == before + 1


async def test_an_offer_is_paid_again_and_again_and_each_settlement_names_it(lab: Lab, node: CoreLightning) -> None:
    offer = await node.create_offer(description=f"Top-up {lab.fresh()}", label="offer/bob")
    index, seen = 0, []
    for sat in (1_000, 2_500):
        asked = {"offer": offer.bolt12, "amount_msat": from_sat(sat)}
        fetched = await lab.result(THEIRS, "fetchinvoice", asked)
        await lab.result(THEIRS, "xpay", {"invstring": fetched["invoice"]})
        settlement = await node.next_settlement(after_index=index, timeout_seconds=0)
        assert settlement is not None
        index = settlement.pay_index
        seen.append((settlement.offer_id, settlement.amount_msat))
    assert seen == [(offer.offer_id, from_sat(1_000)), (offer.offer_id, from_sat(2_500))]


async def test_an_offer_that_is_made_twice_may_be_two_and_both_are_paid(lab: Lab, node: CoreLightning) -> None:
    description = f"Top-up {lab.fresh()}"  # a node without an address of its own leads to itself by chance each time
    index = 0
    for _ in range(2):
        offer = await node.create_offer(description=description, label="offer/bob")
        fetched = await lab.result(THEIRS, "fetchinvoice", {"offer": offer.bolt12, "amount_msat": ASKED})
        await lab.result(THEIRS, "xpay", {"invstring": fetched["invoice"]})
        settlement = await node.next_settlement(after_index=index, timeout_seconds=0)
        assert settlement is not None
        assert settlement.offer_id == offer.offer_id
        index = settlement.pay_index


async def test_a_fetched_invoice_of_an_offer_is_what_was_asked_for_and_is_paid(lab: Lab, node: CoreLightning) -> None:
    made_by_them = await lab.result(THEIRS, "offer", {"amount": "any", "description": f"Alice {lab.fresh()}"})
    invoice = await node.fetch_invoice(made_by_them["bolt12"], amount_msat=ASKED)
    assert invoice.amount_msat == ASKED
    assert invoice.expires_at > lab.nodes.now()
    report = await node.pay(invoice.bolt11, maxfee_msat=MAXFEE, label="payout/1")
    assert report.state is PaymentState.SETTLED
    assert await node.payment(invoice.payment_hash) == report
    assert await received(lab, invoice.bolt11) == ASKED


async def test_an_offer_that_is_disabled_gives_no_invoice(lab: Lab, node: CoreLightning) -> None:
    offer = await lab.result(THEIRS, "offer", {"amount": "any", "description": f"Alice {lab.fresh()}"})
    await lab.result(THEIRS, "disableoffer", {"offer_id": offer["offer_id"]})
    with pytest.raises(Rejected):
        await node.fetch_invoice(offer["bolt12"], amount_msat=ASKED)


async def test_a_payment_is_settled_with_its_fee_and_its_preimage(lab: Lab, node: CoreLightning) -> None:
    bolt11, payment_hash = await asked_of(lab)
    before = await node.spendable_msat()
    report = await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    assert report.state is PaymentState.SETTLED
    assert report.amount_sent_msat == ASKED + FEE
    assert await node.payment(payment_hash) == report
    assert await received(lab, bolt11) == ASKED

    async def it_is_gone_from_the_channel() -> bool:
        return await node.spendable_msat() == before - ASKED - FEE

    await until("the payment has left the channel", it_is_gone_from_the_channel)


async def test_an_invoice_without_an_amount_is_paid_with_ours(lab: Lab, node: CoreLightning) -> None:
    invoice = await lab.invoice(THEIRS, amount_msat="any")
    report = await node.pay(invoice["bolt11"], maxfee_msat=MAXFEE, label="payout/1", amount_msat=ASKED)
    assert (report.state, report.amount_sent_msat) == (PaymentState.SETTLED, ASKED + FEE)
    assert await received(lab, invoice["bolt11"]) == ASKED


async def moves_of(node: CoreLightning, payment_hashes: list[str], *, after_index: int) -> list[Move]:
    """Wait until the node has noted these payments, and return its notes."""
    moves: list[Move] = []

    async def are_noted() -> bool:
        nonlocal moves
        moves = await node.moves(after_index=after_index, limit=10)
        return {move.payment_hash for move in moves} >= set(payment_hashes)

    await until("the payments are noted", are_noted)
    return moves


async def test_the_moves_of_the_channels_hold_every_payment_once(lab: Lab, node: CoreLightning) -> None:
    before = await lab.index(OURS, "channelmoves")
    invoice = await made(node)
    await pays(lab, invoice)
    bolt11, payment_hash = await asked_of(lab)
    await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    moves = await moves_of(node, [invoice.payment_hash, payment_hash], after_index=before)
    assert [(move.payment_hash, move.credit_msat, move.debit_msat, move.fees_msat, move.tag) for move in moves] == [
        (invoice.payment_hash, SAT_12000, 0, 0, "invoice"),
        (payment_hash, 0, ASKED + FEE, FEE, "invoice"),  # the debit holds the fee
    ]
    assert await node.moves(after_index=moves[0].index, limit=10) == moves[1:]
    assert await node.moves(after_index=before, limit=1) == moves[:1]


async def test_a_payment_in_flight_is_pending_and_its_hash_stands_in_a_channel(lab: Lab, node: CoreLightning) -> None:
    bolt11, payment_hash = await asked_of(lab)
    lab.script(Outcome.HOLD)
    paying = asyncio.create_task(node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1"))
    await lab.sent(OURS, payment_hash)
    assert (await node.payment(payment_hash)).state is PaymentState.PENDING
    assert await node.htlc_hashes() == {payment_hash}
    await lab.release()
    assert (await paying).state is PaymentState.SETTLED

    async def none_is_left() -> bool:
        return await node.htlc_hashes() == frozenset()

    await until("no HTLC is left", none_is_left)


async def test_a_payment_that_was_sent_and_refused_has_failed(lab: Lab, node: CoreLightning) -> None:
    bolt11, payment_hash = await asked_of(lab)
    lab.script(Outcome.FAIL, code=203)
    assert await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1") == PaymentReport(
        PaymentState.UNKNOWN, reason="destination refused"
    )
    await lab.over({"payment_hash": payment_hash}, OURS)
    assert (await node.payment(payment_hash)).state is PaymentState.FAILED


async def test_a_payment_that_is_too_dear_is_not_sent(lab: Lab, node: CoreLightning) -> None:
    bolt11, payment_hash = await asked_of(lab)
    report = await node.pay(bolt11, maxfee_msat=Msat(FEE - 1), label="payout/1")
    assert (report.state, report.reason) == (PaymentState.UNKNOWN, "routing fee above the limit")
    assert await node.payment(payment_hash) == PaymentReport(PaymentState.UNKNOWN, reason="no record")
    assert await received(lab, bolt11) == 0


async def test_what_a_disconnected_node_can_send_and_receive_is_nothing(nodes: Nodes, node: CoreLightning) -> None:
    assert await node.spendable_msat() > 0
    assert await node.receivable_msat() > 0
    await nodes.disconnect(OURS)
    assert (await node.spendable_msat(), await node.receivable_msat()) == (0, 0)


async def test_a_payment_of_a_disconnected_node_is_unknown_and_leaves_no_record(lab: Lab, node: CoreLightning) -> None:
    bolt11, payment_hash = await asked_of(lab)
    await lab.nodes.disconnect(OURS)
    report = await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    assert (report.state, report.reason) == (PaymentState.UNKNOWN, "no route or no liquidity")
    assert (await node.payment(payment_hash)).state is PaymentState.UNKNOWN


async def test_ten_calls_at_once_for_one_invoice_pay_once(lab: Lab, node: CoreLightning) -> None:
    before = await lab.index(OURS, "channelmoves")
    bolt11, payment_hash = await asked_of(lab)
    lab.script(Outcome.HOLD)
    calls = [asyncio.create_task(node.pay(bolt11, maxfee_msat=MAXFEE, label="p")) for _ in range(10)]
    while sum(call.done() for call in calls) < 9:
        await asyncio.wait([call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED)
    await lab.release(Ending.SETTLE)
    reports = await asyncio.gather(*calls)
    assert sorted(report.reason or "settled" for report in reports) == ["settled"] + ["still in progress"] * 9
    assert (await node.payment(payment_hash)).amount_sent_msat == ASKED + FEE
    assert [move.payment_hash for move in await moves_of(node, [payment_hash], after_index=before)] == [payment_hash]


async def test_paying_a_paid_invoice_again_moves_nothing(lab: Lab, node: CoreLightning) -> None:
    bolt11, payment_hash = await asked_of(lab)
    first = await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    again = await node.pay(bolt11, maxfee_msat=MAXFEE, label="payout/1")
    assert (again.state, again.reason) == (PaymentState.UNKNOWN, "already paid")
    assert await node.payment(payment_hash) == first
