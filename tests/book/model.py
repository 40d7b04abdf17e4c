"""The ledger once more, as plainly as it can be said, and random Plans to compare the two by."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.book.stores import sats_of
from wallet.accounts import NODE_LIGHTNING, REVENUE, Account, Class, hold
from wallet.ledger import Add, Change, Expect, Insert, Plan, Put, Transfer, Update, Value, Values, Verdict
from wallet.money import MAX_MSAT, Msat

ACCOUNTS = (NODE_LIGHTNING, REVENUE[Class.SATS], sats_of("alice"), sats_of("bob"), hold("job/1"))
FLOORED = ACCOUNTS[2:]


class Model:
    """Dictionaries, and copies to go back to."""

    def __init__(self) -> None:
        self.keys: dict[str, str | None] = {}
        self.balances: dict[Account, int] = {}
        self.rows: dict[str, dict[str, Value]] = {}

    def apply(self, plan: Plan) -> Verdict:
        """Do all of `plan` on copies, and keep them only if nothing stood in the way."""
        if plan.key in self.keys:
            return Verdict.ALREADY if self.keys[plan.key] == plan.digest else Verdict.REFUSED
        balances, rows = dict(self.balances), {row_id: dict(row) for row_id, row in self.rows.items()}
        if not all(_changed(rows, change) for change in plan.changes):
            return Verdict.CONFLICT
        if not all(_moved(balances, transfer) for transfer in plan.transfers):
            return Verdict.REFUSED
        self.keys[plan.key], self.balances, self.rows = plan.digest, balances, rows
        return Verdict.APPLIED


def _changed(rows: dict[str, dict[str, Value]], change: Change) -> bool:
    row = rows.get(change.id)
    if isinstance(change, Insert) and row is not None:
        return False
    if isinstance(change, Update) and (row is None or any(row[name] != change.expect[name] for name in change.expect)):
        return False
    if isinstance(change, Expect):
        wanted = change.columns
        return row is None if wanted is None else row is not None and all(row[name] == wanted[name] for name in wanted)
    values = change.values if not isinstance(change, Add) else _added(row, change)
    if values is None:
        return False
    if row is None:
        row = rows[change.id] = {"id": change.id, "version": 0, **(change.fresh if isinstance(change, Put) else {})}
    row.update(values)
    row["version"] = int(row["version"] or 0) + 1
    return True


def _added(row: dict[str, Value] | None, change: Add) -> Values | None:
    total = int((row or {}).get(change.column) or 0) + change.amount
    return None if change.at_most is not None and total > change.at_most else {change.column: total}


def _moved(balances: dict[Account, int], transfer: Transfer) -> bool:
    balances[transfer.debit] = balances.get(transfer.debit, 0) - transfer.amount_msat
    if transfer.debit in FLOORED and balances[transfer.debit] < 0:
        return False
    balances[transfer.credit] = balances.get(transfer.credit, 0) + transfer.amount_msat
    return max(balances[transfer.credit], -balances[transfer.debit]) <= MAX_MSAT


# Random Plans: few accounts, rows and keys, so that they meet
_PAIRS = st.lists(st.sampled_from(ACCOUNTS), min_size=2, max_size=2, unique=True)
_AMOUNTS = st.integers(1, 30) | st.integers(1, 30) | st.sampled_from([MAX_MSAT, MAX_MSAT - 1])
_TRANSFERS = st.builds(lambda pair, amount: Transfer(pair[0], pair[1], Msat(amount), "random"), _PAIRS, _AMOUNTS)
_IDS = st.sampled_from(["c1", "c2", "c3"])
_VALUES = st.fixed_dictionaries({"value": st.integers(0, 3)})
_EXPECTED = st.fixed_dictionaries({}, optional={"version": st.integers(1, 3), "value": st.integers(0, 3)})
_CURSORS = st.just("cursors")
_CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(Insert, _CURSORS, _IDS, _VALUES),
    st.builds(Update, _CURSORS, _IDS, _VALUES, _EXPECTED),
    st.builds(Put, _CURSORS, _IDS, _VALUES),
    st.builds(Put, _CURSORS, _IDS, st.just({}), fresh=_VALUES),
    st.builds(Add, _CURSORS, _IDS, st.just("value"), st.integers(-2, 3), st.none() | st.integers(0, 5)),
    st.builds(Expect, _CURSORS, _IDS, st.none() | _EXPECTED),
)
_KEYS = st.builds(lambda number: f"plan/{number}", st.integers(1, 12))
PLANS: st.SearchStrategy[Plan] = st.builds(
    Plan,
    _KEYS,
    st.lists(_TRANSFERS, max_size=4).map(tuple),
    st.lists(_CHANGES, max_size=3).map(tuple),
    st.sampled_from([None, None, None, "a", "b"]),
)
BATCHES = st.lists(PLANS, max_size=25)
