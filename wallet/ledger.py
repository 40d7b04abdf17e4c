"""The ledger's rules: what a Plan is, and how it is judged. Pure: nothing here stores or waits.

A Plan is everything one decision changes: transfers, and rows of the work they belong to,
under a key derived from its cause. `judge` decides on one Plan against the State its
predecessors left. It is applied whole, or it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from wallet.accounts import Account, ceiling_msat, floor_msat
from wallet.money import MAX_MSAT, Msat

Value = str | int | None
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money from one account to another; `reason` says why (a share's path, `hold`, `fee`)."""

    debit: Account
    credit: Account
    amount_msat: Msat
    reason: str

    def __post_init__(self) -> None:
        """Refuse what could never be booked."""
        assert type(self.amount_msat) is int, f"transfer of a {type(self.amount_msat).__name__}"
        assert 0 < self.amount_msat <= MAX_MSAT, f"transfer of {self.amount_msat} msat"
        assert self.debit != self.credit, f"transfer from {self.debit} to itself"


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row. Guard: there is none with this id."""

    table: str
    id: str
    values: Values


@dataclass(frozen=True, slots=True)
class Update:
    """New values for a row. Guard: it is there, and its columns are as `expect` says (`version`, `state`)."""

    table: str
    id: str
    values: Values
    expect: Values


@dataclass(frozen=True, slots=True)
class Put:
    """Values for a row whether it is there or not; `fresh` completes a new one. Guard: none."""

    table: str
    id: str
    values: Values
    fresh: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expect:
    """A guard alone: the row is as `columns` says, or is not there at all where they are None."""

    table: str
    id: str
    columns: Values | None


@dataclass(frozen=True, slots=True)
class Add:
    """More for a sum in a row, which is made if it is not there. Guard: the sum is not above `at_most` after it.

    Two that add at once both may: only the limit moves a decision, never another's addition.
    """

    table: str
    id: str
    column: str
    amount: int
    at_most: int | None = None


Change = Insert | Update | Put | Expect | Add


@dataclass(frozen=True, slots=True)
class Plan:
    """One decision, whole: applied under its `key` once, or not at all."""

    key: str  # <cause>/<step>, such as job/<event id>/hold
    transfers: tuple[Transfer, ...] = ()
    changes: tuple[Change, ...] = ()
    digest: str | None = None  # of a client's own idempotency key's content (attack A5)


@dataclass(frozen=True, slots=True)
class Journal:
    """A part of a Plan: what one business fact moves, and the rows it changes."""

    transfers: tuple[Transfer, ...] = ()
    changes: tuple[Change, ...] = ()

    def __add__(self, after: Journal) -> Journal:
        """Return both, one after the other."""
        return Journal(self.transfers + after.transfers, self.changes + after.changes)

    def plan(self, key: str, *changes: Change) -> Plan:
        """Return it as a Plan under `key`, with further changes."""
        return Plan(key, self.transfers, (*self.changes, *changes))


class Verdict(Enum):
    """What became of a Plan."""

    APPLIED = "applied"
    ALREADY = "already"  # the key is known: nothing was compared, nothing changed
    CONFLICT = "conflict"  # a guarded row has moved: read again, decide again
    REFUSED = "refused"  # the money is not there


@dataclass(frozen=True, slots=True)
class Answer:
    """A Verdict and, where it is no success, why."""

    verdict: Verdict
    reason: str = ""

    @property
    def done(self) -> bool:
        """Tell whether the Plan stands in the book, by this call or an earlier one."""
        return self.verdict in {Verdict.APPLIED, Verdict.ALREADY}


class Entry(NamedTuple):
    """A transfer as it is written: with its place in its Plan, and the balances it left."""

    plan: str
    place: int
    transfer: Transfer
    debit_after: int
    credit_after: int


RowKey = tuple[str, str]


@dataclass(slots=True)
class State:
    """What a batch of Plans is judged against, moved on by each Plan that is applied."""

    plans: dict[str, str | None] = field(default_factory=dict)  # key → digest
    balances: dict[Account, int] = field(default_factory=dict)
    rows: dict[RowKey, dict[str, Value] | None] = field(default_factory=dict)  # None: not there
    entries: list[Entry] = field(default_factory=list)
    changed: set[RowKey] = field(default_factory=set)
    applied: list[Plan] = field(default_factory=list)


def keys_of(plans: Iterable[Plan]) -> tuple[set[str], set[Account], dict[RowKey, set[str]]]:
    """Return the keys, accounts and rows that `plans` are judged by, and which columns of each row."""
    keys: set[str] = set()
    accounts: set[Account] = set()
    rows: dict[RowKey, set[str]] = {}
    for plan in plans:
        keys.add(plan.key)
        for transfer in plan.transfers:
            accounts.add(transfer.debit)
            accounts.add(transfer.credit)
        for change in plan.changes:
            columns = rows.setdefault((change.table, change.id), set())
            match change:
                case Update(expect=guarded) | Expect(columns=guarded):
                    columns.update(guarded or ())
                case Add(column=column):
                    columns.add(column)
                case Insert() | Put():  # pragma: no branch  (the type checker knows no other)
                    pass
    return keys, accounts, rows


def judge(state: State, plan: Plan) -> Answer:
    """Apply `plan` to `state` whole, or leave `state` as it is and say why."""
    if plan.key in state.plans:
        if plan.digest != state.plans[plan.key]:
            return Answer(Verdict.REFUSED, f"{plan.key} was used before with other content")
        return Answer(Verdict.ALREADY)
    rows = _changed_rows(state, plan.changes)
    if isinstance(rows, Answer):
        return rows
    balances: dict[Account, int] = {}
    entries: list[Entry] = []
    for number, transfer in enumerate(plan.transfers):
        entry = _book(state, balances, plan.key, number, transfer)
        if isinstance(entry, Answer):
            return entry
        entries.append(entry)
    state.plans[plan.key] = plan.digest
    state.balances |= balances
    state.rows |= rows
    state.changed |= rows.keys()
    state.entries += entries
    state.applied.append(plan)
    return Answer(Verdict.APPLIED)


def _book(state: State, balances: dict[Account, int], key: str, number: int, transfer: Transfer) -> Entry | Answer:
    debit, credit, amount = transfer.debit, transfer.credit, transfer.amount_msat
    debit_after = (balances[debit] if debit in balances else state.balances.get(debit, 0)) - amount
    floor = floor_msat(debit)
    if floor is not None and debit_after < floor:
        return Answer(Verdict.REFUSED, f"{debit} lacks {floor - debit_after} msat")
    credit_after = (balances[credit] if credit in balances else state.balances.get(credit, 0)) + amount
    ceiling = ceiling_msat(credit)
    if ceiling is not None and credit_after > ceiling:
        return Answer(Verdict.REFUSED, f"{credit} would be paid {credit_after - ceiling} msat too much")
    if debit_after < -MAX_MSAT or credit_after > MAX_MSAT:  # H4: what is added up must fit int64 too
        return Answer(Verdict.REFUSED, f"{key}/{number} leaves more than there is bitcoin on one account")
    balances[debit], balances[credit] = debit_after, credit_after
    return Entry(key, number, transfer, debit_after, credit_after)


def _changed_rows(state: State, changes: Iterable[Change]) -> dict[RowKey, dict[str, Value] | None] | Answer:
    rows: dict[RowKey, dict[str, Value] | None] = {}
    for change in changes:
        key = (change.table, change.id)
        row = rows[key] if key in rows else state.rows.get(key)
        broken = _broken_guard(change, row)
        if broken is not None:
            return Answer(Verdict.CONFLICT, f"{change.table} {change.id}: {broken}")
        if isinstance(change, Expect):
            continue
        before = row if row is not None else _fresh(change)
        version = before["version"]
        assert isinstance(version, int), f"{change.table} {change.id} has no version"
        values = {change.column: _sum(change, row)} if isinstance(change, Add) else change.values
        rows[key] = {**before, **_storable(values), "version": version + 1}
    return rows


def _sum(change: Add, row: Mapping[str, Value] | None) -> int:
    before = row.get(change.column, 0) if row is not None else 0
    assert isinstance(before, int), f"{change.table} {change.id}: {change.column} is no sum"
    return before + change.amount


def _storable(values: Values) -> Values:
    """Return `values` as every database can keep them: strangers are quoted in some, and PostgreSQL has no NUL."""
    texts = {name: value for name, value in values.items() if isinstance(value, str) and "\0" in value}
    return {**values, **{name: text.replace("\0", "\ufffd") for name, text in texts.items()}} if texts else values


def _fresh(change: Change) -> dict[str, Value]:
    extra = change.fresh if isinstance(change, Put) else {}
    return {"id": change.id, **_storable(extra), "version": 0}


def _broken_guard(change: Change, row: Mapping[str, Value] | None) -> str | None:
    match change:
        case Put():
            return None
        case Add(at_most=at_most):
            return "has reached its limit" if at_most is not None and _sum(change, row) > at_most else None
        case Insert():
            return "is there already" if row is not None else None
        case Expect(columns=None):
            return "is there" if row is not None else None
        case Update(expect=columns) | Expect(columns=columns):  # pragma: no branch  (the type checker knows no other)
            if row is None:
                return "is not there"
            moved = [name for name, value in (columns or {}).items() if row.get(name) != value]  # left out is NULL
            return f"{moved[0]} has moved" if moved else None
