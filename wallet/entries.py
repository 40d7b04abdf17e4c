"""What Plans rest on and what they leave, as rows: what must be read before, what is written after.

Names are long and entries are many, so an entry holds the numbers of its Plan and its two
accounts. A process reserves numbers a block at a time, in a commit that needs them; what a
commit gave is never given again, even where nobody knows whether it came about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from relaybot.db.database import Found, Look, Row, Write
from wallet.accounts import Account, floor_msat
from wallet.ledger import Entry, Plan, State, Value, keys_of

NUMBERS_RESERVED = (
    10_000  # at a time, beyond what is needed at once; those that a process leaves unused are a gap, and there are 2^63
)
_RESERVED = "book"  # the row of `numbers`
_PLAN_COLUMNS = ("number", "id", "digest", "applied_at")
_ACCOUNT_COLUMNS = ("number", "id", "balance_msat", "floor_msat")
_ENTRY_COLUMNS = ("plan", "place", "debit", "credit", "amount_msat", "debit_after", "credit_after", "reason")


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers that are reserved for us and not given yet."""

    next: int = 0
    behind: int = 0  # the first that is not ours

    def suffice_for(self, looks: Mapping[str, Look]) -> bool:
        """Tell whether there is one for each Plan and account that may be new."""
        return self.next + _most(looks) <= self.behind


def looks_of(plans: Sequence[Plan], numbers: Numbers) -> dict[str, Look]:
    """Return what must be read before `plans` are judged, in one order for all: none waits for another in a ring."""
    keys, accounts, rows = keys_of(plans)
    ids: dict[str, set[str]] = {"plans": keys}
    columns: dict[str, set[str]] = {"plans": {"digest"}}
    if accounts:
        ids["accounts"], columns["accounts"] = set(accounts), {"number", "balance_msat"}
    for (table, row_id), names in rows.items():
        ids.setdefault(table, set()).add(row_id)
        columns.setdefault(table, {"version"}).update(names)
    looks = {table: Look(sorted(ids[table]), sorted(columns[table])) for table in sorted(ids)}
    if not numbers.suffice_for(looks):
        looks["numbers"] = Look([_RESERVED], ["version", "next"])  # the last that is locked, whatever else is
    return looks


def _most(looks: Mapping[str, Look]) -> int:
    return sum(len(looks[table].ids) for table in ("plans", "accounts") if table in looks)


def state_of(found: Found) -> State:
    """Return what was read as what Plans are judged against."""
    state = State()
    for table, rows in found.items():
        if table == "plans":
            state.plans = {key: row["digest"] for key, row in rows.items()}
        elif table == "accounts":
            state.balances = {Account(account): row["balance_msat"] for account, row in rows.items()}
        elif table != "numbers":
            state.rows |= {(table, row_id): dict(row) for row_id, row in rows.items()}
    return state


def writes_of(state: State, found: Found, numbers: Numbers, now: int) -> tuple[list[Write], Numbers]:
    """Return what `state` adds to what was `found`, rows in the order of their ids, and the numbers that are left."""
    if not state.applied:
        return [], numbers
    known = found.get("accounts", {})
    moved = {account for entry in state.entries for account in (entry.transfer.debit, entry.transfer.credit)}
    opened = sorted(moved - known.keys())
    keys = sorted(plan.key for plan in state.applied)
    writes = []
    if "numbers" in found:
        numbers, reserved = _reserve(found["numbers"][_RESERVED], len(keys) + len(opened))
        writes.append(reserved)
    given = count(numbers.next)
    plan_number = dict(zip(keys, given, strict=False))
    account_number = {account: row["number"] for account, row in known.items()} | dict(zip(opened, given, strict=False))
    writes += [
        Write("plans", _PLAN_COLUMNS, [(plan_number[key], key, state.plans[key], now) for key in keys], new=True),
        Write(
            "accounts", _ACCOUNT_COLUMNS, [_account_row(account_number, state, account) for account in opened], new=True
        ),
        Write(
            "accounts",
            ("id", "balance_msat"),
            [(account, state.balances[Account(account)]) for account in sorted(moved & known.keys())],
            new=False,
        ),
        Write(
            "entries",
            _ENTRY_COLUMNS,
            [_entry_row(plan_number, account_number, entry) for entry in state.entries],
            new=True,
        ),
        *_work_of(state, found),
    ]
    return [write for write in writes if write.rows], Numbers(next(given), numbers.behind)


def _reserve(row: Row, needed: int) -> tuple[Numbers, Write]:
    """Return the numbers that are ours from now on, and the write that makes them so."""
    numbers = Numbers(row["next"], row["next"] + needed + NUMBERS_RESERVED)
    values = (_RESERVED, row["version"] + 1, numbers.behind)
    return numbers, Write("numbers", ("id", "version", "next"), [values], new=False)


def _account_row(number: Mapping[str, int], state: State, account: Account) -> tuple[Value, ...]:
    """Return the values of `_ACCOUNT_COLUMNS`."""
    return number[account], account, state.balances[account], floor_msat(account)


def _entry_row(plan_number: Mapping[str, int], account_number: Mapping[str, int], entry: Entry) -> tuple[Value, ...]:
    """Return the values of `_ENTRY_COLUMNS`."""
    moved = entry.transfer
    return (
        plan_number[entry.plan],
        entry.place,
        account_number[moved.debit],
        account_number[moved.credit],
        moved.amount_msat,
        entry.debit_after,
        entry.credit_after,
        moved.reason,
    )


def _work_of(state: State, found: Found) -> list[Write]:
    """Return the rows of the work, those that have the same columns together."""
    changed: dict[tuple[str, tuple[str, ...], bool], list[tuple[Value, ...]]] = defaultdict(list)
    for table, row_id in sorted(state.changed):
        row, before = state.rows[table, row_id], found[table].get(row_id)
        assert row is not None, f"{table} {row_id} was changed into nothing"
        columns = tuple(name for name in row if before is None or name not in before or before[name] != row[name])
        columns = columns if before is None else ("id", *columns)
        changed[table, columns, before is None].append(tuple([row[name] for name in columns]))
    return [Write(table, columns, rows, new) for (table, columns, new), rows in changed.items()]
