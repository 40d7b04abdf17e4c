"""The attacks on the ledger and its storage, of the project's list: A1 to A3, A5 to A8, B1, B4, B5, H2, H4."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from operator import itemgetter
from pathlib import Path

import pytest

from relaybot.clock import SetClock
from relaybot.db.sqlite import SqliteDatabase
from relaybot.errors import Rejected, Unavailable
from relaybot.probe import no_probe
from tests.book.doomed import die_at, fill_the_disk, process, spend, spend_for_ever, tell, the_story
from tests.book.names import owner_of
from tests.book.stores import NOW, SqliteStore, Store, broken, contents, mark, opened, payment, sats_of, top_up
from wallet.accounts import NODE_LIGHTNING, hold
from wallet.book import Book
from wallet.charges import plan_hold, plan_release
from wallet.ledger import Plan, Put, Transfer, Update, Verdict
from wallet.lots import Escrow, Mix, Purse
from wallet.money import MAX_MSAT, Msat, checked, parse_amount, parse_msat

ALICE, BOB = sats_of("alice"), sats_of("bob")


# Group A, races


async def test_a1_forty_parallel_spends_of_100_sat_against_1000_sat_exactly_ten_succeed(book: Book) -> None:
    await book.apply(top_up("bob", 1_000))
    spends = [payment(f"spend/{number}", debit=BOB, credit=ALICE, msat=100_000) for number in range(40)]
    answers = await asyncio.gather(*(book.apply(plan) for plan in spends))
    assert Counter(answer.verdict for answer in answers) == {Verdict.APPLIED: 10, Verdict.REFUSED: 30}
    assert (await book.balance(BOB), await book.balance(ALICE)) == (0, 1_000_000)
    assert await broken(book) == []


async def test_a1_read_then_decide_spends_no_more_either(book: Book) -> None:
    await book.apply(top_up("bob", 1_000))

    async def spend_if_there_is_enough(number: int) -> bool:
        async def decide() -> Plan | None:
            enough = await book.balance(BOB) >= 100_000
            return payment(f"spend/{number}", debit=BOB, credit=ALICE, msat=100_000) if enough else None

        return (await book.decide(decide)).verdict is Verdict.APPLIED

    assert sum(await asyncio.gather(*(spend_if_there_is_enough(number) for number in range(40)))) == 10
    assert await book.balance(BOB) == 0


def test_a1_also_from_two_processes_on_one_database(store: Store) -> None:
    asyncio.run(tell(store, [top_up("bob", 1_000)], no_probe, every_statement=False))
    with process(spend, store, "left", 40) as (_, left), process(spend, store, "right", 40) as (_, right):
        assert (left.recv(), right.recv()) == ("ready", "ready")
        left.send("go")
        right.send("go")
        assert left.recv() + right.recv() == 10
    asyncio.run(_expect(store, bob=0, alice=1_000_000))


async def _expect(store: Store, **balances: int) -> None:
    async with opened(store) as book:
        assert {name: await book.balance(sats_of(name)) for name in balances} == balances
        assert await broken(book) == []


async def _only_one_of(plans: list[Plan], store: Store) -> None:
    """Apply `plans` at once, from two connections of their own: one is applied, all others find the row moved."""
    async with opened(store) as book, opened(store) as elsewhere:
        turns = zip(plans, cycle((book, elsewhere)), strict=False)
        answers = await asyncio.gather(*(each.apply(plan) for plan, each in turns))
        assert Counter(answer.verdict for answer in answers) == {Verdict.APPLIED: 1, Verdict.CONFLICT: len(plans) - 1}
        assert await broken(book) == []


async def test_a2_one_invoice_paid_by_twenty_users_at_once_is_paid_once(store: Store) -> None:
    payers = [f"payer {number}" for number in range(20)]
    async with opened(store) as book:
        await book.apply(mark("invoice", "invoice", 0))
        await asyncio.gather(*(book.apply(top_up(name, 1)) for name in payers))
    paid = Update("cursors", "invoice", {"value": 1}, expect={"value": 0})
    await _only_one_of(
        [Plan(f"pay/{name}", (Transfer(sats_of(name), ALICE, Msat(1_000), "payment"),), (paid,)) for name in payers],
        store,
    )
    await _expect(store, alice=1_000)


async def test_a3_the_row_that_is_pending_is_the_lock_however_long_the_node_hangs(store: Store) -> None:
    async with opened(store) as book:
        await book.apply(top_up("bob", 1_000))
        await book.apply(mark("payout", "payout", 0))
    tries = [
        Plan(
            f"payment/{number}/sent",
            (Transfer(BOB, hold(f"payout/{number}"), Msat(100_000), "hold"),),
            (Update("cursors", "payout", {"value": number + 1}, expect={"version": 1}),),
        )
        for number in range(10)
    ]
    await _only_one_of(tries, store)
    async with opened(store) as book:  # a day later: no clock ends it
        again = [replace(plan, key=f"again/{plan.key}") for plan in tries]
        assert [(await book.apply(plan)).verdict for plan in again] == [Verdict.CONFLICT] * 10
    await _expect(store, bob=900_000)


async def test_a6_a_withdraw_links_single_use_is_consumed_in_the_step_that_makes_the_hold(store: Store) -> None:
    async with opened(store) as book:
        await book.apply(top_up("bob", 1_000))
        await book.apply(mark("link", "link", 1))
    use = Update("cursors", "link", {"value": 0}, expect={"value": 1})
    held = [(Transfer(BOB, hold(f"payout/{number}"), Msat(100_000), "hold"),) for number in range(40)]
    await _only_one_of([Plan(f"use/{number}", transfers, (use,)) for number, transfers in enumerate(held)], store)
    await _expect(store, bob=900_000)


async def test_a5_the_same_request_again_gets_the_first_answer_and_other_content_is_refused(book: Book) -> None:
    await book.apply(top_up("bob", 1_000))

    def request(sat: int, digest: str) -> Plan:
        return Plan("client/key-1", (Transfer(BOB, ALICE, Msat(sat * 1_000), "spend"),), digest=digest)

    assert (await book.apply(request(100, "of 100"))).verdict is Verdict.APPLIED
    for _ in range(3):
        assert (await book.apply(request(100, "of 100"))).verdict is Verdict.ALREADY
    other = await book.apply(request(900, "of 900"))
    assert (other.verdict, other.reason) == (Verdict.REFUSED, "client/key-1 was used before with other content")
    assert await book.balance(BOB) == 900_000


async def test_a5_of_two_different_requests_under_one_key_at_once_one_is_refused(store: Store) -> None:
    async with opened(store) as book, opened(store) as elsewhere:
        await book.apply(top_up("bob", 1_000))
        requests = [
            each.apply(Plan("client/key-1", (Transfer(BOB, ALICE, Msat(1), "spend"),), digest=f"body {number}"))
            for number, each in enumerate((book, elsewhere, book, elsewhere))
        ]
        verdicts = Counter(answer.verdict for answer in await asyncio.gather(*requests))
        assert verdicts == {Verdict.APPLIED: 1, Verdict.REFUSED: 3}
        assert await book.balance(ALICE) == 1


async def test_a7_a_refund_and_a_spend_of_the_same_hold_together(book: Book) -> None:
    await book.apply(top_up("bob", 1_000))
    mix, bob = Mix(sats=Msat(1_000_000)), owner_of("bob")
    await book.apply(plan_hold("job/1", Purse(bob), mix).plan("job/1/hold"))
    refund = plan_release(Escrow("job/1", bob, mix)).plan("job/1/release")
    capture = payment("job/1/capture", debit=hold("job/1"), credit=ALICE, msat=1_000_000)
    answers = await asyncio.gather(*(book.apply(plan) for plan in (refund, capture, refund, capture)))
    assert [answer.done for answer in answers] == [True, False, True, False]
    assert (await book.balance(BOB), await book.balance(ALICE)) == (1_000_000, 0)


async def test_a8_two_jobs_at_once_against_a_balance_that_covers_one(book: Book) -> None:
    await book.apply(top_up("bob", 1_000))
    holds = [payment(f"job/{number}/hold", debit=BOB, credit=hold(f"job/{number}"), msat=700_000) for number in (1, 2)]
    answers = await asyncio.gather(*(book.apply(plan) for plan in holds))
    assert [answer.done for answer in answers] == [True, False]
    assert answers[1].reason == f"{BOB} lacks 400000 msat"


# Group B, internal payments


async def test_b1_paying_oneself_nets_zero(book: Book) -> None:
    await book.apply(top_up("bob", 1_000))
    to_oneself = (Transfer(BOB, hold("job/1"), Msat(5), "hold"), Transfer(hold("job/1"), BOB, Msat(5), "share"))
    assert (await book.apply(Plan("job/1", to_oneself))).done
    assert await book.balance(BOB) == 1_000_000


def _killed_at(store: Store, plans: list[Plan], border: int, *, every_statement: bool) -> None:
    with process(die_at, store, plans, border, every_statement) as (dying, _):
        dying.join()
        assert dying.exitcode == -signal.SIGKILL


def _borders(store: Store, plans: list[Plan], *, every_statement: bool) -> list[str]:
    borders: list[str] = []
    verdicts = asyncio.run(tell(store, plans, borders.append, every_statement=every_statement))
    assert verdicts == ["applied"] * len(plans)
    return borders


async def _whole_or_nothing(store: Store, plans: list[Plan]) -> int:
    """Return how many of `plans` stand in the book; they are the first ones, and whole."""
    async with opened(store) as book:
        assert await broken(book) == []
        found = await contents(book.database)
        known = [plan for plan in plans if plan.key in {row["id"] for row in found["plans"]}]
        assert known == plans[: len(known)]
        assert Counter(row["plan"] for row in found["transfers"]) == {plan.key: len(plan.transfers) for plan in known}
        assert sum(row["version"] for row in found["cursors"]) == sum(len(plan.changes) for plan in known)
        return len(known)


def test_b4_a_crash_between_debit_and_credit(new_store: Callable[[], Store]) -> None:
    story = [*the_story()[:1], Plan("pay", the_story()[1].transfers, (Put("cursors", "job", {"value": 1}),))]
    borders = _borders(new_store(), story, every_statement=True)
    assert {"decide:before", "decide:after", "commit:before", "commit:after"} <= set(borders)
    second = borders.index("commit:after") + 1
    for number in range(second, len(borders)):
        store = new_store()
        _killed_at(store, story, number, every_statement=True)
        done = asyncio.run(_whole_or_nothing(store, story))
        paid = "commit:after" in borders[second : number + 1]
        assert done == 1 + paid, borders[number]
        asyncio.run(_expect(store, bob=0 if paid else 12_000_000))


@pytest.mark.parametrize(
    "text", ["0", "-1", "-1000", str(2**63), str(2**63 - 1), "1.5", "0.001", "1e3", "1E3", "NaN", "inf", "", "1 000"]
)
async def test_b5_an_amount_that_is_none_never_reaches_the_book(book: Book, text: str) -> None:
    await book.apply(top_up("bob", 1_000))
    for read in (parse_msat, lambda text: parse_amount(f"{text} sat"), lambda text: parse_amount(f"{text} msat")):
        with pytest.raises((Rejected, AssertionError)):
            await book.apply(Plan("spend", (Transfer(BOB, ALICE, read(text), "spend"),)))
    assert await book.balance(BOB) == 1_000_000


async def test_b5_an_amount_that_is_not_divisible_by_1000_msat_is_booked_to_the_msat(book: Book) -> None:
    await book.apply(top_up("bob", 1))
    assert (await book.apply(payment("a", debit=BOB, credit=ALICE, msat=333))).done
    assert (await book.balance(BOB), await book.balance(ALICE)) == (667, 333)


# Group H, the ledger and its storage


def _story_ends_the_same_if_killed_at(
    whole: Store, store: Store, borders: list[str], number: int, *, every_statement: bool
) -> None:
    story = the_story()
    _killed_at(store, story, number, every_statement=every_statement)
    done = asyncio.run(_whole_or_nothing(store, story))
    assert done == borders[: number + 1].count("commit:after")
    verdicts = asyncio.run(tell(store, story, no_probe, every_statement=False))
    assert verdicts == ["already"] * done + ["applied"] * (len(story) - done)
    assert asyncio.run(_contents(store)) == asyncio.run(_contents(whole))


def test_h2_kill_before_and_after_every_commit_then_the_story_ends_the_same(new_store: Callable[[], Store]) -> None:
    whole = new_store()
    borders = _borders(whole, the_story(), every_statement=False)
    assert borders == ["commit:before", "commit:after"] * len(the_story())
    for number in range(len(borders)):
        _story_ends_the_same_if_killed_at(whole, new_store(), borders, number, every_statement=False)


def test_h2_kill_at_every_step_of_a_capture_then_the_story_ends_the_same(new_store: Callable[[], Store]) -> None:
    whole = new_store()
    borders = _borders(whole, the_story(), every_statement=True)
    ends = [number for number, border in enumerate(borders) if border == "commit:after"]
    for number in range(ends[1] + 1, ends[2] + 1):  # the third plan is the capture
        _story_ends_the_same_if_killed_at(whole, new_store(), borders, number, every_statement=True)


async def _contents(store: Store) -> dict[str, list[dict[str, object]]]:
    """Return everything, the transfers in their order; their numbers may have gaps where a commit was cut off."""
    async with opened(store) as book:
        found = await contents(book.database)
        found["transfers"].sort(key=itemgetter("seq"))
        for row in found["transfers"]:
            del row["seq"]
        return found


def test_h2_what_was_confirmed_is_there_after_a_kill_under_load(store: Store) -> None:
    asyncio.run(tell(store, [top_up("bob", 10**6)], no_probe, every_statement=False))
    confirmed: list[str] = []
    for kills in range(5):
        with process(spend_for_ever, store) as (spending, told):
            confirmed += [told.recv() for _ in range(100 * (kills + 1))]
            spending.kill()
            confirmed += _rest(told)
    asyncio.run(_all_are_there(store, confirmed))


def _rest(told: object) -> list[str]:
    rest: list[str] = []
    try:
        while True:
            rest.append(told.recv())  # type: ignore[attr-defined]  # a Connection
    except EOFError:
        return rest


async def _all_are_there(store: Store, confirmed: list[str]) -> None:
    async with opened(store) as book:
        found = {row["id"] for row in await book.database.fetch("SELECT id FROM plans")}
        assert set(confirmed) <= found
        assert await book.balance(BOB) + await book.balance(ALICE) == 10**9
        assert await broken(book) == []


async def test_h2_a_disk_that_is_full_in_the_middle_of_a_commit(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "book.db")
    async with opened(store) as book:
        database = book.database
        assert isinstance(database, SqliteDatabase)
        await book.apply(top_up("bob", 1_000))
        before = await contents(database)
        _limit(database, pages=1)
        big = [Plan(f"big/{n}", (Transfer(BOB, ALICE, Msat(1), "x" * 20_000),)) for n in range(3)]
        answers = await asyncio.gather(*(book.apply(plan) for plan in [mark("small"), *big]), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["database: database or disk is full"] * 4
        assert {type(answer) for answer in answers} == {Unavailable}
        assert await contents(database) == before
        assert await broken(book) == []
        _limit(database, pages=10**6)
        retried = await asyncio.gather(*(book.apply(plan) for plan in [mark("small"), *big]))
        assert {answer.verdict for answer in retried} == {Verdict.APPLIED}
        assert await broken(book) == []


def _limit(database: SqliteDatabase, pages: int) -> None:
    """Let the file grow to `pages`; SQLite takes no fewer than it has."""
    database._writer.connection.execute(f"PRAGMA max_page_count = {pages}")


def test_h2_a_file_that_may_not_grow_any_more(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "book.db")
    with process(fill_the_disk, store) as (_, told):
        applied, error, afterwards = told.recv()
    assert len(applied) > 1
    assert error.startswith("database: ")
    assert afterwards == ["applied", "already"]
    asyncio.run(_expect(store, bob=len(applied) + 1))


async def test_h2_a_clock_that_jumps_changes_no_balance_and_no_order(store: Store) -> None:
    clock = SetClock(NOW)
    async with opened(store, clock=clock) as book:
        for plan, jump in zip(the_story(), (10**9, -(10**9), -(10**9), 5), strict=True):
            clock.advance(jump)
            assert (await book.apply(plan)).done
            assert (await book.apply(plan)).verdict is Verdict.ALREADY
        rows = await book.database.fetch("SELECT plan, created_at FROM transfers ORDER BY seq")
        times = [NOW + 10**9, NOW, NOW - 10**9, NOW - 10**9 + 5]
        assert {row["plan"]: row["created_at"] for row in rows} == dict(
            zip([plan.key for plan in the_story()], times, strict=True)
        )
        assert list(dict.fromkeys(row["plan"] for row in rows)) == [plan.key for plan in the_story()]
        assert await broken(book) == []


async def test_h4_int64_limits_hold_for_what_is_added_up_in_the_book(book: Book) -> None:
    all_bitcoin = payment("all", debit=NODE_LIGHTNING, credit=BOB, msat=MAX_MSAT)
    assert (await book.apply(all_bitcoin)).done
    more = [payment(f"more/{n}", debit=NODE_LIGHTNING, credit=BOB, msat=MAX_MSAT) for n in range(6)]
    answers = await asyncio.gather(
        *(book.apply(plan) for plan in [*more, payment("1", debit=BOB, credit=ALICE, msat=1)])
    )
    assert [answer.verdict for answer in answers] == [Verdict.REFUSED] * 6 + [Verdict.APPLIED]
    assert await book.balance(BOB) == MAX_MSAT - 1
    assert await broken(book) == []


def test_h4_int64_limits_hold_for_what_is_multiplied() -> None:
    for sat in (MAX_MSAT, 2**63 // 1_000 + 1, 2**53):
        with pytest.raises(Rejected, match="out of range"):
            checked(sat * 1_000)
        with pytest.raises(Rejected, match="out of range"):
            parse_amount(f"{sat} sat")
