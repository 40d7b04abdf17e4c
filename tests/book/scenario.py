"""Ledger tests in words: a story of lines, played on a real book, line by line.

    top-up bob 12000 sat
    hold bob 12000 sat for job1
    capture job1 alice 2000 carol 1000 platform 9000     (what is not named goes back to the payer)
    release job1
    move alice node 500 sat                              (any other journal)
    expect bob 0 alice 1500 hold:job1 0

`/` ends a line too. A line may begin with `refused`: the book must say no. `again` plays
the last one once more: the book must say that it knows it. Amounts are sats, or msat
where it says so (`1500msat`); an account is a name, `hold:<job>`, `platform`, `fees` or
`node`. The plans are the product's own, and after every line the invariants must hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from splits.compute import Part
from tests.book.stores import person, sats_of
from wallet.accounts import FEES, NODE_LIGHTNING, REVENUE, Account, Class, hold
from wallet.book import Book, invariants
from wallet.charges import plan_capture, plan_hold, plan_release
from wallet.ledger import Plan, Transfer, Verdict
from wallet.money import Msat, format_sat, parse_amount

OURS = {"node": NODE_LIGHTNING, "platform": REVENUE[Class.SATS], "fees": FEES}


class Scenario:
    """One story on one book."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._held: dict[str, tuple[str, Msat]] = {}  # job → payer, amount
        self._lines = 0
        self._last = Plan("")

    async def play(self, story: str) -> None:
        """Play every line; AssertionError names the line that went otherwise."""
        for line in (part.strip() for part in re.split(r"[/\n]", story)):
            if line:
                self._lines += 1
                await self._play(line, line.split())
                assert not (broken := await invariants(self._book.database)), f"{line}: {broken}"

    async def _play(self, line: str, words: Sequence[str]) -> None:
        match words:
            case ["expect", *pairs]:
                for name, amount in _pairs(pairs):
                    balance = await self._book.balance(_account(name))
                    assert balance == amount, f"{line}: {name} has {format_sat(balance)}"
            case ["refused", *rest]:
                await self._apply(line, self._plan(rest), Verdict.REFUSED)
            case ["again"]:
                await self._apply(line, self._last, Verdict.ALREADY)
            case _:
                self._last = self._plan(words)
                await self._apply(line, self._last, Verdict.APPLIED)

    async def _apply(self, line: str, plan: Plan, expected: Verdict) -> None:
        answer = await self._book.apply(plan)
        assert answer.verdict is expected, f"{line}: {answer}"

    def _plan(self, words: Sequence[str]) -> Plan:
        match words:
            case ["top-up", name, amount, unit]:
                return self._move("topup", NODE_LIGHTNING, _account(name), parse_amount(f"{amount} {unit}"))
            case ["move", debit, credit, amount, unit]:
                return self._move("move", _account(debit), _account(credit), parse_amount(f"{amount} {unit}"))
            case ["hold", name, amount, unit, "for", job]:
                price = parse_amount(f"{amount} {unit}")
                self._held[job] = (person(name), price)
                return Plan(f"job/{job}/hold", plan_hold(f"job/{job}", payer=person(name), price_msat=price))
            case ["capture", job, *pairs]:
                payer, held = self._held[job]
                parts = [_part(name, amount) for name, amount in _pairs(pairs)]
                transfers = plan_capture(f"job/{job}", payer=payer, held_msat=held, parts=parts)
                return Plan(f"job/{job}/capture", transfers)
            case ["release", job]:
                payer, held = self._held[job]
                return Plan(f"job/{job}/release", plan_release(f"job/{job}", payer=payer, held_msat=held))
            case _:
                raise AssertionError(f"nobody understands: {' '.join(words)}")

    def _move(self, cause: str, debit: Account, credit: Account, amount: Msat) -> Plan:
        return Plan(f"{cause}/{self._lines}", (Transfer(debit, credit, amount, cause),))


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, Msat]]:
    for name, amount in zip(words[::2], words[1::2], strict=True):
        sign, digits = (-1, amount[1:]) if amount.startswith("-") else (1, amount)
        yield name, Msat(sign * parse_amount(f"{digits} sat" if digits.isdigit() else digits))


def _account(name: str) -> Account:
    return hold(f"job/{name.removeprefix('hold:')}") if name.startswith("hold:") else OURS.get(name) or sats_of(name)


def _part(name: str, amount: Msat) -> Part:
    return Part(f"shares.{name}", "compute", None if name == "platform" else person(name), amount)
