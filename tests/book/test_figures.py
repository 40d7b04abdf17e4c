"""What the book says in figures, on every database: what is owed by class, what is open and since when."""

from __future__ import annotations

from relaybot.figures import NAMES, Figure
from tests.book.stores import NOW, blank, mark, payment, person, sats_of, top_up
from wallet.accounts import CARD_RECEIVABLE, NODE_LIGHTNING, REVENUE, Class, Owner, hold, maturing, of, owed, user
from wallet.book import Book
from wallet.figures import figures_of_book
from wallet.ledger import Insert, Plan, Value
from wallet.money import from_sat

STUCK_SECONDS = 600


async def figures(book: Book, now: int = NOW) -> dict[str, int]:
    """Return every figure by its name and its labels' values: `owed_msat user sats`."""
    found = await figures_of_book(book, now=now, stuck_seconds=STUCK_SECONDS, heartbeat_seconds=900)
    assert {one.name for one in found} <= NAMES.keys()
    return {" ".join((one.name, *one.labels.values())): one.value for one in found}


async def put(book: Book, table: str, row_id: str, **values: Value) -> None:
    row = {**await blank(book.database, table), **values}
    assert (await book.apply(Plan(f"test/{table}/{row_id}", changes=(Insert(table, row_id, row),)))).done


async def test_what_is_owed_stands_by_holder_and_class_and_so_does_what_the_operator_has(book: Book) -> None:
    bob, alice = person("bob"), person("alice")
    await book.apply(top_up("bob", 12_000))
    await book.apply(top_up("alice", 500))
    moves = (
        (sats_of("bob"), hold("job/" + "0a" * 32), 3_000),
        (CARD_RECEIVABLE, user(bob, Class.CARD), 700),
        (CARD_RECEIVABLE, of(Owner("org/acme"), Class.CARD), 50),
        (CARD_RECEIVABLE, maturing(alice), 40),
        (sats_of("alice"), REVENUE[Class.SATS], 30),
        (owed(alice), NODE_LIGHTNING, 20),
    )
    for number, (debit, credit, sat) in enumerate(moves):
        await book.apply(payment(f"test/{number}", debit=debit, credit=credit, msat=from_sat(sat)))
    found = await figures(book)
    assert found["owed_msat user sats"] == from_sat(12_000 + 500 - 3_000 - 30)
    assert found["owed_msat hold sats"] == from_sat(3_000)
    assert found["owed_msat user card"] == from_sat(700)
    assert found["owed_msat org card"] == from_sat(50)
    assert found["owed_msat user maturing"] == from_sat(40)
    assert found["owed_msat user promo"] == 0
    assert found["debts_msat"] == from_sat(20)
    assert found["account_msat platform/revenue/sats"] == from_sat(30)
    assert found["account_msat node/lightning"] == -from_sat(12_500 - 20)
    of_all = [value for name, value in found.items() if name.startswith(("owed_msat", "account_msat"))]
    assert sum(of_all) == found["debts_msat"]  # every msat is in one of them


async def test_open_work_is_counted_with_the_age_of_its_oldest_and_finished_work_is_not(book: Book) -> None:
    kinds = {"kind": "payout", "rail": "lightning"}
    await put(book, "jobs", "1", state="held", due_at=NOW, created_at=NOW - 30)
    await put(book, "jobs", "2", state="held", due_at=NOW, created_at=NOW - 90)
    await put(book, "jobs", "3", state="captured", due_at=None, created_at=NOW - 900)
    await put(book, "payouts", "1", state="waiting", next_at=NOW, amount_msat=7, created_at=NOW - 8, **kinds)
    await put(book, "payouts", "2", state="paid", next_at=None, amount_msat=9, created_at=NOW - 9, **kinds)
    await put(book, "inbox", "1", state="new", received_at=NOW - 5)
    await put(book, "batches", "1", state="sent")
    await put(book, "batches", "2", state="buried")
    await put(book, "deposits", "1", state="pending", amount_msat=4_000)
    await put(book, "workers", "1", status="idle", beat_at=NOW - 10, beat_until=NOW + 10)
    await put(book, "workers", "2", status="idle", beat_at=NOW - 901, beat_until=NOW + 10)
    found = await figures(book)
    assert (found["jobs held"], found["jobs_oldest held"]) == (2, NOW - 90)
    assert "jobs captured" not in found
    assert found["payouts payout lightning waiting"] == 1
    assert found["payouts_msat payout lightning waiting"] == 7
    assert found["payouts_oldest payout lightning waiting"] == NOW - 8
    assert not any(name.endswith("paid") and name.startswith("payouts") for name in found)
    assert (found["inbox_waiting"], found["inbox_oldest"]) == (1, NOW - 5)
    assert found["outbox_waiting"] == 0
    assert "outbox_oldest" not in found
    assert (found["batches sent"], found["deposits_pending_msat"], found["workers_alive idle"]) == (1, 4_000, 1)
    assert "batches buried" not in found


async def test_a_payment_is_stuck_when_it_was_sent_long_ago_and_its_end_is_not_known(book: Book) -> None:
    for name, state, sent_at in (("old", "sent", NOW - STUCK_SECONDS), ("new", "sent", NOW), ("failed", "failed", 1)):
        await put(book, "attempts", name, state=state, sent_at=sent_at)
        await put(book, "payouts", name, state="paying", attempt=name, next_at=NOW)
    assert (await figures(book))["payments_stuck"] == 1
    assert (await figures(book, NOW + STUCK_SECONDS))["payments_stuck"] == 2


async def test_what_this_process_wrote_is_counted_by_the_state_it_got_and_a_refused_plan_is_not(book: Book) -> None:
    await put(book, "payouts", "1", state="open")
    await book.apply(mark("test/mark"))
    await book.apply(mark("test/mark"))  # the same Plan again
    again = Insert("payouts", "1", {**await blank(book.database, "payouts"), "state": "paid"})
    await book.apply(Plan("test/again", changes=(again,)))  # the row is there
    found = await figures(book)
    assert (found["rows_total payouts open"], found["rows_total cursors changed"]) == (1, 1)
    assert "rows_total payouts paid" not in found


async def test_every_switch_says_whether_it_is_thrown(book: Book) -> None:
    found = await figures(book)
    assert {name for name in found if name.startswith("paused")} == {
        f"paused {scope}" for scope in ("payouts", "withdrawals", "lightning", "onchain", "restored")
    }
    assert not any(value for name, value in found.items() if name.startswith("paused"))


def test_a_figure_without_labels_is_one_value() -> None:
    assert Figure("node_up", 1).labels == {}
