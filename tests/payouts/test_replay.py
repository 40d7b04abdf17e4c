"""A restored book beside a node that has paid since: each payment finds its payout, once, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.simulator.network import SimulatedNetwork
from tests.book.stores import KINDS, store_of
from tests.payouts.desk import Desk, Life, person
from tests.payouts.test_watch import Post
from wallet.audit import unsound
from wallet.book import invariants, loose_ends
from wallet.cln_chain import CoreLightningChain
from wallet.ledger import Put
from wallet.lightning import PaymentState
from wallet.money import Msat, from_sat
from wallet.reconcile import book_by_rule
from wallet.switches import PAUSED, RESTORE, RESTORED

WAY = 1_100  # msat of the way to a wallet, for 1,000 sat


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, tmp_path: Path, network: SimulatedNetwork, clock: SetClock) -> Desk:
    path = tmp_path / "book.sqlite3"
    return Desk(path, network, clock, store=store_of(request.param, path))


@pytest.fixture
async def post(life: Life, desk: Desk) -> Post:
    """A watch on the book."""
    chain = CoreLightningChain(desk.network.sockets["service"])
    await book_by_rule(life.book, life.node, chain)
    post = Post(life)
    post.watch = post.watch_on(life.node, chain)
    return post


async def restored(life: Life, state: str = PAUSED) -> None:
    """Close what goes out, as a restore does; or open it."""
    await life.apply((), (Put("pauses", RESTORED, {"state": state, "paused_by": RESTORE, "since": 1}),))


async def node_pays(life: Life, label: str, sat: int = 1_000) -> str:
    """Let the node have paid somebody after the backup, as the service called it; return the payment hash."""
    bolt11 = life.desk.network.people.invoice("wallet", from_sat(sat))
    report = await life.node.pay(bolt11, maxfee_msat=Msat(20_000), label=label)
    assert report.state is PaymentState.SETTLED
    rows = life.desk.network._store.rows("SELECT payment_hash FROM invoices WHERE bolt11 = ?", (bolt11,))
    return str(rows[0]["payment_hash"])


async def sound(life: Life) -> None:
    assert await life.differences() == []
    database = life.book.database
    assert [*await unsound(database), *await invariants(database), *await loose_ends(database)] == []


async def test_a_payment_finds_the_payout_that_was_open_in_the_backup(life: Life, post: Post) -> None:
    payout_id = await life.open("alice", 2_000)
    amount = (await life.payout("alice"))["amount_msat"]
    payment_hash = await node_pays(life, f"payout/{payout_id}", amount // 1_000)
    assert await life.differences() != []
    await restored(life)
    assert await post.looks(2) == {RESTORED: RESTORE}
    payout = await life.payout("alice")
    assert (payout["state"], payout["paid_msat"], payout["attempt"]) == ("paid", amount, payment_hash)
    assert await life.balance("alice") == 2_000_000 - amount - payout["fee_msat"]
    await sound(life)
    assert await post.looks(2) == {RESTORED: RESTORE}  # and nothing of it again
    await sound(life)


async def test_a_payment_takes_the_place_of_what_was_only_prepared(life: Life, post: Post) -> None:
    payout_id = await life.open("alice", 2_000)
    await life.step()  # prepared, and then the backup was made
    await restored(life)
    await node_pays(life, f"payout/{payout_id}", (await life.payout())["amount_msat"] // 1_000)
    await post.looks(1)
    assert [one["state"] for one in await life.attempts()] == ["failed", "paid"]
    assert (await life.payout())["state"] == "paid"
    await sound(life)


async def test_a_payout_that_was_opened_after_the_backup_is_made_anew_out_of_the_balance(
    life: Life, post: Post
) -> None:
    await life.earn("carol", 3_000, target="")
    await restored(life)
    await node_pays(life, f"payout/{person('carol')}/2")
    assert await post.looks(1) == {RESTORED: RESTORE}
    assert await life.balance("carol") == 2_000_000 - WAY
    payout = await life.payout("carol")
    assert (payout["id"], payout["state"]) == (f"{person('carol')}/2", "paid")
    await sound(life)
    await restored(life, "open")
    await life.target("carol", "carol@wallets.test")
    await life.go_on()
    assert (await life.payout("carol"))["id"] == f"{person('carol')}/3"  # its name is its own
    await sound(life)


@pytest.mark.parametrize(
    "label", ["payout/{dave}/1", "payout/{nobody}/1", f"payout/{'ab' * 32}", "by hand", "payout/../1"]
)
async def test_what_no_payout_or_balance_covers_stays_a_difference(life: Life, post: Post, label: str) -> None:
    await life.earn("dave", 900, target="")
    await restored(life)
    payment_hash = await node_pays(life, label.format(dave=person("dave"), nobody=person("nobody")))
    await post.looks(1)
    assert "reconciliation" in (await post.looks(1)).values()
    assert await life.balance("dave") == 900_000
    assert [payment_hash in one for one in await life.differences()] == [True]


async def test_without_a_restore_nothing_is_booked_by_a_label(life: Life, post: Post) -> None:
    await life.earn("carol", 3_000, target="")
    await node_pays(life, f"payout/{person('carol')}/1")
    await post.looks(2)
    assert await life.balance("carol") == 3_000_000
    assert len(await life.differences()) == 1


async def test_a_node_that_does_not_answer_leaves_it_to_the_next_look(life: Life, post: Post) -> None:
    await life.earn("carol", 3_000, target="")
    await restored(life)
    payment_hash = await node_pays(life, f"payout/{person('carol')}/1")
    life.node.fails_look_ups = 1
    with pytest.raises(Exception, match="no answer"):
        await post.looks(1)
    assert await life.balance("carol") == 3_000_000
    await post.looks(1)
    assert (await life.attempts("carol"))[0]["id"] == payment_hash
    await sound(life)
