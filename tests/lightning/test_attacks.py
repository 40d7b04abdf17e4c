"""The attacks and incidents of the field that end at the node: as far as the port itself withstands them.

What the payout logic adds (holding, waiting, refunding) is tested with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relaybot.clock import SetClock
from relaybot.errors import Rejected, Unavailable
from relaybot.simulator.network import SimulatedNetwork
from relaybot.simulator.people import Wanted
from relaybot.simulator.scripts import Ending, Outcome, Script
from tests.lightning.conftest import Connect, Restart
from tests.lightning.conftest import Script as StartScripted
from tests.lightning.wire import Answer, recording, reply
from wallet.bolt11_invoice import parse_bolt11, require_payable
from wallet.cln import CoreLightning
from wallet.lightning import PaymentState
from wallet.money import Msat, from_sat

MAXFEE = Msat(5_000)
ALICE = from_sat(2_000)


@pytest.fixture
def asked(network: SimulatedNetwork) -> str:
    """An invoice of alice over 2,000 sat."""
    return network.people.invoice("alice", ALICE)


def hash_of(bolt11: str) -> str:
    return parse_bolt11(bolt11).payment_hash


def look_ups(*names: str) -> Iterator[Answer]:
    """Yield recorded answers to listpays, one after the other."""
    return iter([reply(name) for name in names])


async def test_c1_a_route_that_takes_everything_gets_no_more_than_maxfee(
    network: SimulatedNetwork, node: CoreLightning, asked: str
) -> None:
    before = await node.spendable_msat()
    network.scripts.add(Script(outcome=Outcome.WHOLE_MAXFEE))
    report = await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")
    assert report.amount_sent_msat == ALICE + MAXFEE
    assert before - await node.spendable_msat() == ALICE + MAXFEE
    assert network.people.balance_msat("alice") == from_sat(1_002_000)


async def test_c1_a_route_dearer_than_maxfee_is_not_taken(
    network: SimulatedNetwork, node: CoreLightning, asked: str
) -> None:
    before = await node.spendable_msat()
    report = await node.pay(asked, maxfee_msat=Msat(1_199), label="payout/1")  # the hub takes 1,200
    assert (report.state, report.reason) == (PaymentState.UNKNOWN, "routing fee above the limit")
    assert (await node.payment(hash_of(asked))).state is PaymentState.UNKNOWN
    assert await node.spendable_msat() == before


async def test_c1_maxfee_is_sent_with_every_call(scripted: StartScripted, connect: Connect, data_dir: Path) -> None:
    server = await scripted(lambda _method, _params: reply("xpay-ok"))
    await connect(data_dir / "scripted").pay("lnbcrt1", maxfee_msat=Msat(0), label="l")
    assert server.heard[0][1]["maxfee"] == 0


async def test_c4_pending_failed_pending_complete_is_each_time_what_the_node_says(
    scripted: StartScripted, connect: Connect, data_dir: Path
) -> None:
    said = recording("listpays-failed-then-complete")
    failed, complete = said["result"]["pays"]
    pending = {key: value for key, value in complete.items() if key not in {"preimage", "completed_at"}} | {
        "status": "pending"
    }
    answers: Iterator[list[dict[str, Any]]] = iter([[pending], [failed], [failed, pending], [failed, complete]])
    await scripted(lambda _method, _params: {"result": {"pays": next(answers)}})
    node = connect(data_dir / "scripted")
    states = [(await node.payment(said["params"]["payment_hash"])).state for _ in range(4)]
    assert states == [PaymentState.PENDING, PaymentState.FAILED, PaymentState.PENDING, PaymentState.SETTLED]


async def test_c4_failed_attempts_that_still_say_pending_are_pending(
    scripted: StartScripted, connect: Connect, data_dir: Path
) -> None:
    answers = look_ups("listpays-two-failed-attempts-at-once-still-pending", "listpays-two-failed-attempts")
    await scripted(lambda _method, _params: next(answers))
    node = connect(data_dir / "scripted")
    assert (await node.payment("00" * 32)).state is PaymentState.PENDING
    assert (await node.payment("00" * 32)).state is PaymentState.FAILED


async def test_c5_pending_is_not_paid(network: SimulatedNetwork, node: CoreLightning, asked: str) -> None:
    network.scripts.add(Script(outcome=Outcome.ERROR_WHILE_PENDING))
    assert (await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")).state is PaymentState.UNKNOWN
    report = await node.payment(hash_of(asked))
    assert (report.state, report.preimage, report.amount_sent_msat) == (PaymentState.PENDING, None, None)
    assert network.people.balance_msat("alice") == from_sat(1_000_000)


async def test_c5_an_error_while_a_part_is_pending_is_not_not_paid(
    network: SimulatedNetwork, node: CoreLightning, asked: str
) -> None:
    network.scripts.add(Script(outcome=Outcome.ERROR_WHILE_PENDING))
    await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")
    network.payments.release(payment_hash=hash_of(asked), ending=Ending.SETTLE)
    assert (await node.payment(hash_of(asked))).state is PaymentState.SETTLED  # 70 s later at the real node
    assert network.people.balance_msat("alice") == from_sat(1_002_000)


async def test_c6_paid_and_then_the_look_up_fails_is_neither_paid_nor_failed(
    scripted: StartScripted, connect: Connect, data_dir: Path
) -> None:
    answers = iter([reply("xpay-ok"), None, {"error": {"code": -1, "message": "m"}}, reply("listpays-complete")])
    await scripted(lambda _method, _params: next(answers))
    node = connect(data_dir / "scripted")
    assert (await node.pay("lnbcrt1", maxfee_msat=MAXFEE, label="l")).state is PaymentState.SETTLED
    payment_hash = recording("listpays-complete")["params"]["payment_hash"]
    for _ in range(2):
        with pytest.raises(Unavailable):
            await node.payment(payment_hash)
    assert (await node.payment(payment_hash)).state is PaymentState.SETTLED


async def test_c9_an_empty_look_up_is_not_a_failure(node: CoreLightning, asked: str) -> None:
    report = await node.payment(hash_of(asked))
    assert (report.state, report.reason) == (PaymentState.UNKNOWN, "no record")


@pytest.mark.parametrize("name", ["listpays-unknown-hash", "listpays-after-205"])
async def test_c9_a_recorded_empty_look_up_is_not_a_failure(
    scripted: StartScripted, connect: Connect, data_dir: Path, name: str
) -> None:
    await scripted(lambda _method, _params: reply(name))
    assert (await connect(data_dir / "scripted").payment("00" * 32)).state is PaymentState.UNKNOWN


async def test_c10_of_several_attempts_any_complete_means_paid_else_any_pending_means_wait(
    network: SimulatedNetwork, node: CoreLightning, asked: str
) -> None:
    network.scripts.add(Script(outcome=Outcome.FAIL, code=203, times=2))
    states = []
    for label in ("first", "second"):
        await node.pay(asked, maxfee_msat=MAXFEE, label=label)
        states.append((await node.payment(hash_of(asked))).state)
    network.scripts.add(Script(outcome=Outcome.ERROR_WHILE_PENDING))
    await node.pay(asked, maxfee_msat=MAXFEE, label="third")
    states.append((await node.payment(hash_of(asked))).state)
    network.payments.release(payment_hash=None, ending=Ending.SETTLE)
    settled = await node.payment(hash_of(asked))
    assert states == [PaymentState.FAILED, PaymentState.FAILED, PaymentState.PENDING]
    assert (settled.state, settled.amount_sent_msat) == (PaymentState.SETTLED, ALICE + 1_200)  # once, not three times


async def test_c13_an_expired_invoice_may_have_been_paid(
    network: SimulatedNetwork, node: CoreLightning, clock: SetClock, asked: str
) -> None:
    network.scripts.add(Script(outcome=Outcome.LOST_CONNECTION))
    assert (await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")).state is PaymentState.UNKNOWN
    await network.nodes["service"].answer("wait", ["sendpays", "updated", 1])
    clock.advance(100_000)
    with pytest.raises(Rejected, match="expired"):
        require_payable(parse_bolt11(asked), currency="bcrt", now=clock.now())
    assert (await node.payment(hash_of(asked))).state is PaymentState.SETTLED


async def test_c13_an_invoice_that_expires_while_it_is_held_ends_failed_by_the_nodes_own_word(
    network: SimulatedNetwork, node: CoreLightning, clock: SetClock, asked: str
) -> None:
    network.scripts.add(Script(outcome=Outcome.ERROR_WHILE_PENDING))
    await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")
    clock.advance(100_000)
    assert (await node.payment(hash_of(asked))).state is PaymentState.PENDING  # no clock of ours decides
    network.payments.release(payment_hash=None, ending=None)
    assert (await node.payment(hash_of(asked))).state is PaymentState.FAILED


async def test_c14_paying_an_invoice_of_our_own_node_would_succeed_so_it_is_known_by_its_payee(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    own = await node.create_invoice(label="own", amount_msat=ALICE, description="d", expiry_seconds=600)
    assert parse_bolt11(own.bolt11).payee == (await node.info()).node_id
    report = await node.pay(own.bolt11, maxfee_msat=MAXFEE, label="payout/1")
    assert (report.state, report.amount_sent_msat) == (PaymentState.SETTLED, ALICE)  # at no fee, and no channel moved
    assert await node.moves(after_index=0, limit=10) == []


@pytest.mark.parametrize(
    "bolt11",
    ["garbage", "", recording("decode-bolt11-mainnet-expired")["params"]["string"], "lno1qgsqvgnwgcg35z6ee2h3"],
)
async def test_c14_what_the_node_cannot_pay_is_unknown_and_leaves_no_record(node: CoreLightning, bolt11: str) -> None:
    assert (await node.pay(bolt11, maxfee_msat=MAXFEE, label="l")).state is PaymentState.UNKNOWN
    assert (await node.payment("00" * 32)).state is PaymentState.UNKNOWN
    assert await node.htlc_hashes() == frozenset()


async def test_c17_a_lost_connection_is_unknown_and_the_payment_goes_on(
    network: SimulatedNetwork, node: CoreLightning, asked: str
) -> None:
    network.scripts.add(Script(outcome=Outcome.LOST_CONNECTION))
    report = await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")
    assert (report.state, report.reason) == (PaymentState.UNKNOWN, "lightning node: connection lost during xpay")
    await network.nodes["service"].answer("wait", ["sendpays", "updated", 1])
    assert (await node.payment(hash_of(asked))).state is PaymentState.SETTLED
    again = await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")
    assert (again.state, again.reason) == (PaymentState.UNKNOWN, "already paid")
    assert network.people.balance_msat("alice") == from_sat(1_002_000)


async def test_c17_the_caller_dies_after_sending_and_the_payment_goes_out(
    network: SimulatedNetwork, node: CoreLightning, asked: str
) -> None:
    _, writer = await asyncio.open_unix_connection(str(network.sockets["service"]))
    writer.write(b'{"jsonrpc":"2.0","id":1,"method":"xpay","params":["%s"]}' % asked.encode())
    writer.close()  # sent, and gone before any answer
    await writer.wait_closed()
    await network.nodes["service"].answer("wait", ["sendpays", "updated", 1])
    assert (await node.payment(hash_of(asked))).state is PaymentState.SETTLED


async def test_c17_an_orphan_stays_pending_for_ever_and_is_known_by_its_missing_htlc(
    network: SimulatedNetwork, node: CoreLightning, restart: Restart, asked: str
) -> None:
    network.scripts.add(Script(outcome=Outcome.ORPHAN))
    assert (await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")).state is PaymentState.UNKNOWN
    assert network.payments.release(payment_hash=None, ending=Ending.SETTLE) == 0  # nothing ends it
    after = await restart()
    assert (await after.payment(hash_of(asked))).state is PaymentState.PENDING
    assert hash_of(asked) not in await after.htlc_hashes()
    assert (await after.pay(asked, maxfee_msat=MAXFEE, label="l")).reason == "still in progress"


async def test_c17_after_a_restart_no_route_is_said_while_the_first_payment_lives(
    network: SimulatedNetwork, node: CoreLightning, asked: str
) -> None:
    network.scripts.add(Script(outcome=Outcome.ERROR_WHILE_PENDING))
    await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")
    network.set_connected("service", False)
    report = await node.pay(asked, maxfee_msat=MAXFEE, label="payout/1")
    assert (report.state, report.reason) == (PaymentState.UNKNOWN, "no route or no liquidity")
    assert (await node.payment(hash_of(asked))).state is PaymentState.PENDING
    network.set_connected("service", True)
    network.payments.release(payment_hash=None, ending=None)
    assert (await node.payment(hash_of(asked))).state is PaymentState.SETTLED


async def test_d1_settlements_replayed_from_index_0_are_the_same_ones(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    for number in range(2):
        invoice = await node.create_invoice(
            label=f"top-up/{number}", amount_msat=ALICE, description="d", expiry_seconds=600
        )
        await network.people.pay("bob", Wanted(invoice.bolt11))
    first = [await node.next_settlement(after_index=index, timeout_seconds=0) for index in (0, 1)]
    assert [await node.next_settlement(after_index=index, timeout_seconds=0) for index in (0, 1)] == first
    assert [each.pay_index for each in first if each] == [1, 2]


async def test_d2_settlements_while_nobody_listened_are_found_after_a_restart_of_the_node(
    network: SimulatedNetwork, node: CoreLightning, restart: Restart
) -> None:
    invoice = await node.create_invoice(label="top-up", amount_msat=ALICE, description="d", expiry_seconds=600)
    await network.people.pay("bob", Wanted(invoice.bolt11))
    before = await node.next_settlement(after_index=0, timeout_seconds=0)
    after = await restart()
    assert before is not None
    assert await after.next_settlement(after_index=0, timeout_seconds=0) == before
    assert await after.next_settlement(after_index=before.pay_index, timeout_seconds=0) is None


async def test_d2_an_index_is_not_used_again_when_its_invoice_is_deleted(
    network: SimulatedNetwork, node: CoreLightning
) -> None:
    service = network.nodes["service"]
    for number in range(2):
        label = f"top-up/{number}"
        invoice = await node.create_invoice(label=label, amount_msat=ALICE, description="d", expiry_seconds=600)
        await network.people.pay("bob", Wanted(invoice.bolt11))
        await service.answer("delinvoice", [label, "paid"])
    invoice = await node.create_invoice(label="last", amount_msat=ALICE, description="d", expiry_seconds=600)
    await network.people.pay("bob", Wanted(invoice.bolt11))
    settlement = await node.next_settlement(after_index=0, timeout_seconds=0)
    assert settlement is not None
    assert (settlement.label, settlement.pay_index) == ("last", 3)


async def test_d3_overpaid_is_what_arrived(network: SimulatedNetwork, node: CoreLightning) -> None:
    invoice = await node.create_invoice(label="top-up", amount_msat=Msat(10_000), description="d", expiry_seconds=600)
    await network.people.pay("bob", Wanted(invoice.bolt11, amount_msat=15_000))
    settlement = await node.next_settlement(after_index=0, timeout_seconds=0)
    assert settlement is not None
    assert settlement.amount_msat == 15_000


async def test_d3_underpaid_is_refused_and_settles_nothing(network: SimulatedNetwork, node: CoreLightning) -> None:
    invoice = await node.create_invoice(label="top-up", amount_msat=Msat(10_000), description="d", expiry_seconds=600)
    with pytest.raises(Exception, match="Destination said"):
        await network.people.pay("bob", Wanted(invoice.bolt11, amount_msat=9_999))
    assert await node.next_settlement(after_index=0, timeout_seconds=0) is None
    assert network.people.balance_msat("bob") == from_sat(1_000_000)
