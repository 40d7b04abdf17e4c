"""The simulated network: money is conserved, paths are found, one process owns a directory, nobody else hears."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.clock import SetClock
from relaybot.errors import BadConfig
from relaybot.simulator.memory import FORGOTTEN_SECONDS
from relaybot.simulator.network import ChannelPlan, Running, SimulatedNetwork, Topology, run_node
from relaybot.simulator.orders import order_for
from relaybot.simulator.params import Fault
from relaybot.simulator.people import Wanted
from relaybot.simulator.routes import Edge, NoPath, find_paths
from relaybot.simulator.scripts import Ending, Outcome, Script
from wallet.bolt11_invoice import parse_bolt11


def balances(network: SimulatedNetwork) -> dict[str, int]:
    """Return what each node holds in all its channels."""
    return {name: sum(channel["our_amount_msat"] for channel in network.channels.funds(name)) for name in network.nodes}


async def moved(network: SimulatedNetwork, name: str) -> int:
    """Return the sum of a node's channel movements."""
    moves = (await network.nodes[name].answer("listchannelmoves", {}))["channelmoves"]
    return sum(move["credit_msat"] - move["debit_msat"] for move in moves)


async def test_no_payment_makes_or_loses_money_and_every_books_moves_explain_its_balance(
    network: SimulatedNetwork,
) -> None:
    before = balances(network)
    for outcome in (Outcome.DELAY, Outcome.FAIL, Outcome.WHOLE_MAXFEE, Outcome.ERROR_WHILE_PENDING, Outcome.ORPHAN):
        network.scripts.add(Script(outcome=outcome, code=203))
        invoice = parse_bolt11(network.people.invoice("alice", 3_000_000))
        order = order_for(invoice, amount_msat=3_000_000, maxfee_msat=9_000)
        await asyncio.gather(network.payments.pay("service", order), return_exceptions=True)
    after = balances(network)
    assert sum(after.values()) == sum(before.values())
    assert after["service"] == before["service"] - 2 * 3_000_000 - 1_300 - 9_000
    assert after["wallets"] == before["wallets"] + 2 * 3_000_000
    for name in network.nodes:
        assert await moved(network, name) == after[name] - before[name]


async def test_what_was_pushed_at_the_opening_is_a_move_in_both_books(data_dir: Path, clock: SetClock) -> None:
    topology = Topology(("service", "wallets"), (ChannelPlan("service", "wallets", 1_000, pushed_sat=400),))
    network = SimulatedNetwork(data_dir, clock=clock, topology=topology)
    await network.start()
    assert (await moved(network, "service"), await moved(network, "wallets")) == (-400_000, 400_000)
    assert balances(network) == {"service": 600_000, "wallets": 400_000}
    await network.close()


async def test_payments_in_flight_reserve_what_they_carry(network: SimulatedNetwork) -> None:
    most = network.channels.edges()[0].spendable_msat
    network.scripts.add(Script(outcome=Outcome.HOLD))
    invoice = parse_bolt11(network.people.invoice("alice", 6_000_000_000))
    paying = asyncio.create_task(
        network.payments.pay("service", order_for(invoice, amount_msat=6_000_000_000, maxfee_msat=10_000_000))
    )
    await network.nodes["service"].answer("wait", ["sendpays", "created", 1])
    assert network.channels.edges()[0].spendable_msat < most - 6_000_000_000
    other = parse_bolt11(network.people.invoice("alice", 6_000_000_000))
    with pytest.raises(Fault) as failure:
        await network.payments.pay("service", order_for(other, amount_msat=6_000_000_000))
    assert failure.value.code == 205
    network.payments.release(payment_hash=None, ending=Ending.FAIL)
    with pytest.raises(Fault):
        await paying
    assert network.channels.edges()[0].spendable_msat == most


async def test_a_script_is_for_as_many_payments_as_it_says_and_for_no_others(network: SimulatedNetwork) -> None:
    network.scripts.add(Script(outcome=Outcome.FAIL, code=203, wallet="alice", times=2))
    network.scripts.add(Script(outcome=Outcome.FAIL, code=203, node="hub"))
    outcomes = []
    for name in ("dave", "alice", "alice", "alice"):
        invoice = parse_bolt11(network.people.invoice(name, 1_000_000))
        try:
            await network.payments.pay("service", order_for(invoice, amount_msat=1_000_000))
            outcomes.append(f"{name} paid")
        except Fault:
            outcomes.append(f"{name} refused")
    assert outcomes == ["dave paid", "alice refused", "alice refused", "alice paid"]
    assert [script.node for script in network.scripts.waiting()] == ["hub"]


async def test_an_unknown_script_code_says_so(network: SimulatedNetwork) -> None:
    network.scripts.add(Script(outcome=Outcome.FAIL, code=999))
    invoice = parse_bolt11(network.people.invoice("alice", 1_000_000))
    with pytest.raises(Fault) as failure:
        await network.payments.pay("service", order_for(invoice, amount_msat=1_000_000))
    assert (failure.value.code, failure.value.message) == (999, "Failed by script")


async def test_a_way_that_failed_is_too_narrow_for_as_much_until_the_payer_has_forgotten_it(
    data_dir: Path, clock: SetClock
) -> None:
    async def code_of(network: SimulatedNetwork, amount_msat: int) -> int:
        invoice = parse_bolt11(network.people.invoice("alice", amount_msat))
        try:
            await network.payments.pay("service", order_for(invoice, amount_msat=amount_msat))
        except Fault as fault:
            return fault.code
        return 0

    network = SimulatedNetwork(data_dir, clock=clock)
    await network.start()
    network.scripts.add(Script(outcome=Outcome.REMEMBERED))
    assert [await code_of(network, sat) for sat in (1_000_000, 1_000_000, 400_000, 2_000_000)] == [209, 205, 0, 205]
    await network.close()
    network = SimulatedNetwork(data_dir, clock=clock)  # it outlives a restart
    await network.start()
    clock.advance(FORGOTTEN_SECONDS - 1)
    assert await code_of(network, 1_000_000) == 205
    clock.advance(1)
    assert await code_of(network, 1_000_000) == 0
    await network.close()


async def test_a_delayed_payment_is_pending_until_its_time_and_goes_on_at_the_next_start(
    data_dir: Path, clock: SetClock
) -> None:
    network = SimulatedNetwork(data_dir, clock=clock)
    await network.start()
    network.scripts.add(Script(outcome=Outcome.LOST_CONNECTION, seconds=80_000))
    invoice = parse_bolt11(network.people.invoice("alice", 1_000_000))
    await asyncio.gather(
        network.payments.pay("service", order_for(invoice, amount_msat=1_000_000)), return_exceptions=True
    )
    assert network._overview()["payments_on_their_way"] == 1
    await network.close()  # a closed network does not work on
    again = SimulatedNetwork(data_dir, clock=clock)
    await again.start()
    assert again._overview()["payments_on_their_way"] == 1
    assert len(again.payments._on_their_way) == 1
    await again.close()


async def test_a_stuck_htlc_never_ends(network: SimulatedNetwork) -> None:
    network.scripts.add(Script(outcome=Outcome.LOST_CONNECTION, ending=Ending.NEVER))
    invoice = parse_bolt11(network.people.invoice("alice", 1_000_000))
    await asyncio.gather(
        network.payments.pay("service", order_for(invoice, amount_msat=1_000_000)), return_exceptions=True
    )
    await asyncio.gather(*network.payments._on_their_way)
    assert (await network.nodes["service"].answer("listpays", {}))["pays"][0]["status"] == "pending"


async def test_two_processes_cannot_share_a_directory(network: SimulatedNetwork, data_dir: Path) -> None:
    with pytest.raises(BadConfig, match="no other simulator"):
        await SimulatedNetwork(data_dir).start()
    assert (await network.nodes["service"].answer("getinfo", {}))["network"] == "regtest"


def test_a_path_too_long_for_a_socket_is_refused_by_name(data_dir: Path) -> None:
    with pytest.raises(BadConfig, match="107 bytes") as refusal:
        SimulatedNetwork(data_dir / ("x" * 100))
    assert str(data_dir) in str(refusal.value)


@pytest.mark.parametrize("host", ["10.0.0.1", "::", "192.168.1.1", "example.com"])
async def test_the_world_listens_on_this_machine_only(data_dir: Path, host: str) -> None:
    network = SimulatedNetwork(data_dir, http_host=host)
    with pytest.raises(BadConfig, match="loopback"):
        await network.start()
    again = SimulatedNetwork(data_dir)  # what was opened has been closed again
    await again.start()
    await again.close()


async def test_the_world_listens_on_the_other_loopback_too(data_dir: Path) -> None:
    network = SimulatedNetwork(data_dir, http_host="::1")
    running = await network.start()
    assert running.url.startswith("http://[::1]:")
    await network.close()


async def test_the_sockets_are_for_their_owner_alone(network: SimulatedNetwork) -> None:
    for path in network.sockets.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await network.close()
    assert not any(path.exists() for path in network.sockets.values())


async def test_a_network_keeps_its_keys(network: SimulatedNetwork, data_dir: Path) -> None:
    keys = {name: node.pubkey for name, node in network.nodes.items()}
    await network.close()
    again = SimulatedNetwork(data_dir)
    await again.start()
    assert {name: node.pubkey for name, node in again.nodes.items()} == keys
    await again.close()


async def test_run_node_says_when_it_is_ready_and_stops_clean_when_cancelled(data_dir: Path) -> None:
    started: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(
        run_node(data_dir=data_dir, http_host="127.0.0.1", http_port=0, ready=started.set_result)
    )
    said = await started
    assert said.sockets["service"] == data_dir / "service" / "lightning-rpc"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not said.sockets["service"].exists()


async def test_people_may_overpay_but_the_command_pay_may_not(network: SimulatedNetwork) -> None:
    made = await network.nodes["service"].answer("invoice", [10_000, "l", "d"])
    with pytest.raises(Fault, match="unnecessary"):
        await network.nodes["wallets"].answer("pay", {"bolt11": made["bolt11"], "amount_msat": 15_000})
    paid = await network.people.pay("bob", Wanted(made["bolt11"], amount_msat=15_000))
    assert paid.amount_msat == 15_000


async def test_an_amount_of_zero_for_an_amountless_invoice_is_refused(network: SimulatedNetwork) -> None:
    made = await network.nodes["service"].answer("invoice", ["any", "l", "d"])
    with pytest.raises(Fault, match="should be positive"):
        await network.nodes["wallets"].answer("xpay", {"invstring": made["bolt11"], "amount_msat": 0})


def edge(channel: int, sender: str, receiver: str, spendable: int, *, base: int = 0, ppm: int = 0) -> Edge:
    return Edge(channel, sender, receiver, spendable, base, ppm, connected=True)


def test_the_cheapest_of_several_ways_is_taken() -> None:
    edges = [edge(1, "a", "b", 10_000), edge(2, "b", "d", 10_000, base=50), edge(3, "a", "c", 10_000)]
    edges += [edge(4, "c", "d", 10_000, base=7)]
    (path,) = find_paths(edges, source="a", destination="d", amount_msat=1_000)
    assert [(hop.sender, hop.amount_msat) for hop in path.hops] == [("a", 1_007), ("c", 1_000)]


def test_ways_longer_than_the_limit_and_through_closed_channels_are_none() -> None:
    chain = [edge(number, f"n{number}", f"n{number + 1}", 1_000) for number in range(6)]
    with pytest.raises(NoPath) as failure:
        find_paths(chain, source="n0", destination="n5", amount_msat=1)
    assert failure.value.largest_msat == 0
    assert len(find_paths(chain, source="n0", destination="n4", amount_msat=1)[0].hops) == 4
    closed = [Edge(1, "a", "b", 1_000, 0, 0, connected=False)]
    with pytest.raises(NoPath):
        find_paths(closed, source="a", destination="b", amount_msat=1)


@given(
    widths=st.lists(st.integers(min_value=0, max_value=10_000), min_size=1, max_size=6),
    amount=st.integers(min_value=1, max_value=40_000),
    base=st.integers(min_value=0, max_value=50),
    ppm=st.integers(min_value=0, max_value=20_000),
)
def test_parts_sum_to_the_amount_and_no_channel_carries_more_than_it_can(
    widths: list[int], amount: int, base: int, ppm: int
) -> None:
    edges = [edge(number, "a", "b", width) for number, width in enumerate(widths)]
    edges += [edge(100 + number, "b", "c", width, base=base, ppm=ppm) for number, width in enumerate(widths)]
    try:
        paths = find_paths(edges, source="a", destination="c", amount_msat=amount)
    except NoPath:
        assert amount > max(widths) - base - max(widths) * ppm // 1_000_000
        return
    assert sum(path.delivered_msat for path in paths) == amount
    carried: dict[int, int] = {}
    for path in paths:
        assert path.sent_msat == path.delivered_msat + base + path.delivered_msat * ppm // 1_000_000
        for hop in path.hops:
            carried[hop.channel] = carried.get(hop.channel, 0) + hop.amount_msat
    spendable = {each.channel: each.spendable_msat for each in edges}
    assert all(amount <= spendable[channel] for channel, amount in carried.items())
