"""The ledger against dictionaries: whatever people, the operator and the card company do, in whatever order.

hypothesis draws the steps. Each is a line of `scenario.py`, which the product's own Plans
play on a real book, and one of `plainly.py`, which knows none of them. After each step
all balances and lots are the same, and the book is sound.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from relaybot.clock import SetClock
from tests.book.names import account
from tests.book.plainly import Plainly
from tests.book.scenario import Scenario
from tests.book.stores import NOW, PostgresStore, SqliteStore, Store, opened
from tests.postgres import new_book, unavailable
from wallet.audit import unsound
from wallet.book import Book
from wallet.ledger import Plan, Verdict

EXAMPLES = int(os.environ.get("LEDGER_CASES", "15"))
PEOPLE = ("alice", "bob")
NAMES = st.sampled_from(PEOPLE)
SATS = st.integers(1, 40)
SHARES = st.lists(st.tuples(st.sampled_from((*PEOPLE, "platform")), st.integers(0, 20_000)), min_size=1, max_size=4)


class Ledger(RuleBasedStateMachine):
    """One book, and the same in dictionaries."""

    postgres: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory(prefix="rb-machine-")
        path = Path(self.directory.name) / "book.db"
        store: Store = PostgresStore(new_book()) if self.postgres else SqliteStore(path)
        self.clock = SetClock(NOW)
        self.opening = opened(store, clock=self.clock)
        self.book: Book = self.run(self.opening.__aenter__())
        self.scenario, self.plain = Scenario(self.book), Plainly()
        self.plans: list[Plan] = []
        self.numbers = 0

    def teardown(self) -> None:
        self.run(self.opening.__aexit__(None, None, None))
        self.runner.close()
        self.directory.cleanup()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    # ---- playing

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def plan(self, line: str) -> Plan:
        """Return what the product makes of a line."""
        self.clock.advance(1)
        self.scenario._lines += 1
        plan: Plan = self.run(self.scenario._plan(line.split()))
        return plan

    def play(self, line: str) -> None:
        """Play a line on the book, which must take it, and compare."""
        plan = self.plan(line)
        answer = self.run(self.book.apply(plan))
        assert answer.verdict is Verdict.APPLIED, (line, answer)
        self.plans.append(plan)

    def compare(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        database = self.book.database
        rows = await database.fetch("SELECT id, balance_msat FROM accounts WHERE balance_msat <> 0")
        has = {account(name): msat for name, msat in self.plain.has.items() if msat}
        assert {row["id"]: row["balance_msat"] for row in rows} == has
        lots = await database.fetch("SELECT * FROM lots WHERE amount_msat > 0 OR taken_msat > 0")
        assert {row["id"]: (row["account"], row["deposit"], row["amount_msat"], row["taken_msat"]) for row in lots} == {
            lot_id: (account(lot.account), lot.deposit, lot.msat, lot.taken)
            for lot_id, lot in self.plain.lots.items()
            if lot.msat or lot.taken
        }
        assert await unsound(database) == []

    # ---- money in

    @initialize(promo=st.integers(0, 9), sats=st.integers(0, 9))
    def begins(self, promo: int, sats: int) -> None:
        """Let bob have paid for a job with money of every class: most of what can happen starts there."""
        self.bonus("bob", promo + 1)
        self.buys_by_card("bob", 30)
        self.top_up("bob", sats + 1)
        self.holds("bob", 25 + sats, promo + 1)
        self.captured("job2", [("alice", 7_000), ("bob", 2_000), ("platform", (promo + 1) * 1_000 + 1)])

    @rule(who=NAMES, sat=SATS)
    def top_up(self, who: str, sat: int) -> None:
        self.play(f"top-up {who} {sat} sat")
        self.plain.top_up(who, sat * 1_000)
        self.compare()

    @rule(who=NAMES, sat=SATS)
    def bonus(self, who: str, sat: int) -> None:
        self.play(f"bonus {who} {sat} sat")
        self.plain.bonus(who, sat * 1_000)
        self.compare()

    @rule(who=NAMES, sat=SATS)
    def buys_by_card(self, who: str, sat: int) -> None:
        number = self.number()
        self.play(f"card {who} {sat} sat as d{number}")
        self.plain.buy(who, sat * 1_000, f"d{number}", number)
        self.compare()

    # ---- jobs

    @rule(who=NAMES, sat=st.integers(1, 60), promo=st.integers(0, 20))
    def holds(self, who: str, sat: int, promo: int) -> None:
        job, msat = f"job{self.number()}", sat * 1_000
        mix = self.plain.draws(who, msat, promo * 1_000)
        line = f"hold {who} {msat} msat for {job} promo {promo}"
        if mix is None:
            has = self.plain.has[who]
            owes = self.plain.has[f"{who}:owed"]
            if has < msat and not owes:  # the floor is the last word
                assert self.run(self.book.apply(self.plan(line))).verdict is Verdict.REFUSED
            return
        self.play(line)
        self.run(self.scenario.remember(job, who))
        self.plain.hold(who, mix, job)
        self.compare()

    @precondition(lambda self: self.plain.jobs)
    @rule(data=st.data(), shares=SHARES)
    def captures(self, data: st.DataObject, shares: list[tuple[str, int]]) -> None:
        job = data.draw(st.sampled_from(sorted(self.plain.jobs)))
        held = self.plain.jobs[job]
        left, parts = sum(held.values()) - held["promo"], []
        platform = held["promo"]  # as every split is made: promo fits into the platform's own part
        for name, msat in shares:
            part = min(msat, left)
            parts.append((name, part))
            left -= part
        parts = [(name, msat) for name, msat in (*parts, ("platform", platform)) if msat]
        if parts:
            self.captured(job, parts)

    def captured(self, job: str, parts: list[tuple[str, int]]) -> None:
        """Charge a job, and try to release it in the same moment."""
        line = f"capture {job} {' '.join(f'{name} {msat}msat' for name, msat in parts)}"
        late = self.plan(f"release {job}")
        self.play(line)
        assert not self.run(self.book.apply(late)).done  # decided on the same reading, a moment later
        self.plain.capture(job, parts)
        self.compare()

    @precondition(lambda self: self.plain.jobs)
    @rule(data=st.data())
    def releases(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.plain.jobs)))
        self.play(f"release {job}")
        self.plain.release(job)
        self.compare()

    @precondition(lambda self: self.plain.cost)
    @rule(data=st.data())
    def refunds(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.plain.cost)))
        self.play(f"refund {job}")
        self.plain.refund(job)
        self.compare()

    # ---- the card company

    def some_card(self, data: st.DataObject, *states: str) -> str | None:
        cards = sorted(name for name, card in self.plain.cards.items() if card.state in states)
        return data.draw(st.sampled_from(cards)) if cards else None

    @precondition(lambda self: self.plain.cards)
    @rule(data=st.data(), share=st.integers(1, 40))
    def disputes(self, data: st.DataObject, share: int) -> None:
        deposit = self.some_card(data, "good", "disputed", "lost")
        if deposit is None:
            return
        card = self.plain.cards[deposit]
        sat = min(share * 2 + card.disputed // 1_000, card.msat // 1_000)  # all of it, more often than not
        if sat * 1_000 > card.disputed:
            self.play(f"dispute {deposit} {sat}")
            self.plain.dispute(deposit, sat * 1_000)
            self.compare()

    @precondition(lambda self: self.plain.cards)
    @rule(data=st.data())
    def loses(self, data: st.DataObject) -> None:
        deposit = self.some_card(data, "disputed")
        if deposit is not None:
            self.play(f"lose {deposit}")
            self.plain.lose(deposit)
            self.compare()

    @precondition(lambda self: self.plain.cards)
    @rule(data=st.data())
    def wins(self, data: st.DataObject) -> None:
        deposit = self.some_card(data, "disputed", "lost")
        if deposit is not None:
            self.play(f"win {deposit}")
            self.plain.win(deposit)
            self.compare()

    @precondition(lambda self: self.plain.cards)
    @rule(data=st.data(), still=st.integers(1, 40))
    def wins_a_part(self, data: st.DataObject, still: int) -> None:
        deposit = self.some_card(data, "disputed", "lost")
        if deposit is not None and still * 1_000 < self.plain.cards[deposit].disputed:
            self.play(f"win {deposit} {still}")
            self.plain.win(deposit, still * 1_000)
            self.compare()

    @rule(who=NAMES, sat=SATS)
    def owes(self, who: str, sat: int) -> None:
        """Somebody who has nothing owes for a referral, beside what they owe for card payments."""
        if not self.plain.has[who]:
            self.play(f"owes {who} {sat} sat")
            self.plain.owes(who, sat * 1_000)
            self.compare()

    @precondition(lambda self: self.plain.cards)
    @rule(data=st.data())
    def is_written_off(self, data: st.DataObject) -> None:
        deposit = self.some_card(data, "disputed", "lost")
        if deposit is not None and self.plain.loss_of(deposit):
            self.play(f"write-off {deposit}")
            self.plain.write_off(deposit)
            self.compare()

    @precondition(lambda self: self.plain.cards)
    @rule(data=st.data())
    def is_collected(self, data: st.DataObject) -> None:
        deposit = self.some_card(data, "disputed", "lost")
        if deposit is not None and any(self.plain.collectable(deposit)):
            self.play(f"collect {deposit}")
            self.plain.collect(deposit)
            self.compare()

    @precondition(lambda self: self.plain.due() is not None)
    @rule()
    def matures(self) -> None:
        lot = self.plain.due()
        assert lot is not None
        self.play("mature")
        self.plain.mature(lot)
        self.compare()

    # ---- what changes nothing

    @precondition(lambda self: self.plans)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        """A Plan that stands in the book is known by its key, whenever it comes again."""
        plan = data.draw(st.sampled_from(self.plans))
        assert self.run(self.book.apply(plan)).verdict is Verdict.ALREADY
        self.compare()

    @rule(who=NAMES, cls=st.sampled_from(("", ":card", ":promo", ":maturing")), more=st.integers(1, 9))
    def spends_too_much(self, who: str, cls: str, more: int) -> None:
        """No account of a person falls below zero, whatever a Plan says."""
        name = f"{who}{cls}"
        plan = self.plan(f"move {name} losses {self.plain.has[name] + more} msat")
        assert self.run(self.book.apply(plan)).verdict is Verdict.REFUSED
        self.compare()


class LedgerOnPostgres(Ledger):
    """The same on the other database."""

    postgres = True


@pytest.mark.parametrize(("machine", "examples"), [(Ledger, EXAMPLES), (LedgerOnPostgres, max(1, EXAMPLES // 5))])
def test_whatever_happens_the_book_and_the_dictionaries_say_the_same(machine: type[Ledger], examples: int) -> None:
    if machine.postgres and (why := unavailable()):
        pytest.skip(why)
    bounds = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=bounds)
