"""Ledger tests in words: a story of lines, played on a real book, line by line.

    top-up bob 12000 sat
    card bob 5000 sat as d1                              (a card payment; `for acme`: it buys for a company)
    bonus bob 500 sat
    hold bob 12000 sat for job1                          (`promo 7660`: the platform's part at least)
    capture job1 alice 2000 carol 1000 platform 9000     (what is not named goes back to the payer)
    release job1 / refund job1
    move alice node 500 sat                              (any other transfer)
    expect bob 0 alice:maturing 1500 hold:job1 0

`/` ends a line too. A line may begin with `refused`: the book must say no. `again` plays
the last one once more: the book must say that it knows it. Amounts are sats, or msat
where it says so (`1500msat`). An account is a name, with its class unless it is sats
(`bob:card`, `hold:job1:promo`), or one of ours. The plans are the product's own, and
after every line the invariants must hold. What is no job stands in `facts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from splits.compute import Part
from tests.book.facts import Facts
from tests.book.names import account, owner_of
from tests.book.stores import NOW, person
from wallet.audit import unsound
from wallet.book import Book
from wallet.charges import Terms, charged_of, plan_capture, plan_hold, plan_refund, plan_release
from wallet.ledger import Plan, Transfer, Verdict
from wallet.lots import Escrow, Lot, Mix
from wallet.money import Msat, format_sat, parse_amount
from wallet.purses import escrow_of, purse_of

MATURES_AT = NOW + 120 * 86_400


class Scenario:
    """One story on one book."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._escrows: dict[str, Escrow] = {}  # by job, as they were read when it was held
        self._facts = Facts(book)
        self._lines = 0
        self._last = Plan("")

    async def play(self, story: str) -> None:
        """Play every line; AssertionError names the line that went otherwise."""
        for line in (part.strip() for part in re.split(r"[/\n]", story)):
            if line:
                self._lines += 1
                await self._play(line, line.split())
                assert not (broken := await unsound(self._book.database)), f"{line}: {broken}"

    async def _play(self, line: str, words: Sequence[str]) -> None:
        match words:
            case ["expect", *pairs]:
                for name, amount in _pairs(pairs):
                    balance = await self._book.balance(account(name))
                    assert balance == amount, f"{line}: {name} has {format_sat(balance)}"
            case ["refused", *rest]:
                await self._apply(line, await self._plan(rest), Verdict.REFUSED)
            case ["again"]:
                await self._apply(line, self._last, Verdict.ALREADY)
            case _:
                self._last = await self._plan(words)
                await self._apply(line, self._last, Verdict.APPLIED)
                if words[0] == "hold":
                    await self.remember(words[5], words[1])

    async def remember(self, job: str, payer: str) -> None:
        """Take note of what is held for a job now."""
        self._escrows[job] = await escrow_of(self._book.database, f"job/{job}", owner_of(payer))

    async def _apply(self, line: str, plan: Plan, expected: Verdict) -> None:
        answer = await self._book.apply(plan)
        assert answer.verdict is expected, f"{line}: {answer}"

    async def _plan(self, words: Sequence[str]) -> Plan:  # noqa: PLR0911  each sort of line has its own
        match words:
            case ["move", debit, credit, amount, unit]:
                moved = Transfer(account(debit), account(credit), parse_amount(f"{amount} {unit}"), "move")
                return Plan(f"move/{self._lines}", (moved,))
            case ["hold", name, amount, unit, "for", job]:
                return await self._hold(name, parse_amount(f"{amount} {unit}"), job, promo_max=Msat(0))
            case ["hold", name, amount, unit, "for", job, "promo", most]:
                return await self._hold(name, parse_amount(f"{amount} {unit}"), job, promo_max=_sats(most))
            case ["capture", job, *pairs]:
                parts = [_part(name, amount) for name, amount in _pairs(pairs)]
                escrow = self._escrows[job]
                own = {person(name) for name in self._facts.members(escrow.payer)} | {escrow.payer.split("/")[1]}
                return plan_capture(escrow, parts, Terms(MATURES_AT, frozenset(own))).plan(f"job/{job}/capture")
            case ["release", job]:
                return plan_release(self._escrows[job]).plan(f"job/{job}/release")
            case ["refund", job]:
                return await self._refund(job)
            case _:
                return await self._facts.plan(words, self._lines)

    async def _hold(self, name: str, price: Msat, job: str, *, promo_max: Msat) -> Plan:
        purse = await purse_of(self._book.database, owner_of(name))
        mix = purse.draw(price, promo_max=promo_max) or Mix(sats=price)
        return plan_hold(f"job/{job}", purse, mix).plan(f"job/{job}/hold")

    async def _refund(self, job: str) -> Plan:
        cause = f"job/{job}"
        rows = await self._book.database.fetch("SELECT * FROM transfers WHERE plan = :plan", plan=f"{cause}/capture")
        lots = await self._book.database.fetch("SELECT * FROM lots WHERE cause = :cause", cause=cause)
        escrow = self._escrows[job]
        charged, pieces = charged_of(escrow, rows, [Lot.of_row(row) for row in lots])
        return plan_refund(escrow, charged, pieces).plan(f"{cause}/refund")


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, Msat]]:
    for name, amount in zip(words[::2], words[1::2], strict=True):
        sign, digits = (-1, amount[1:]) if amount.startswith("-") else (1, amount)
        yield name, Msat(sign * _sats(digits))


def _sats(amount: str) -> Msat:
    return parse_amount(f"{amount} sat" if amount.isdigit() else amount)


def _part(name: str, amount: Msat) -> Part:
    to, role = (None, "platform") if name == "platform" else (person(name), "compute")
    return Part(f"shares.{name}", role, to, amount)
