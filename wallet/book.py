"""The book: the one writer of money and work. Group commit in front of the pure judge.

Plans that arrive together share one transaction: their rows are read, each Plan is
judged in memory against what its predecessors left, the survivors are written, and the
callers hear after the commit. A crash before the commit leaves nothing; after it, the
Plan's key answers `already`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from relaybot.clock import Clock
from relaybot.db.database import Database, Found, Reader, Row, Write
from relaybot.errors import Unavailable
from wallet.accounts import Account
from wallet.entries import Numbers, looks_of, state_of, writes_of
from wallet.ledger import Add, Answer, Expect, Insert, Plan, Verdict, judge

BATCH_MAX = 512  # Plans per commit: more would only make the first of them wait
DECISIONS_MAX = 5  # how often a decision is made again because a guarded row has moved

Decide = Callable[[], Awaitable[Plan | None]]
Waiting = tuple[Plan, asyncio.Future[Answer]]


class Book:
    """Apply Plans, and read what they left. `run` must be running for `apply` to answer."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock
        self._waiting: list[Waiting] = []
        self._arrived = asyncio.Event()
        self._watchers: dict[str, list[asyncio.Event]] = defaultdict(list)
        self._numbers = Numbers()
        self.written: Counter[tuple[str, str]] = Counter()  # rows this process wrote: table, and the state they got

    async def apply(self, plan: Plan) -> Answer:
        """Apply `plan` whole and durably, or say why not. Unavailable: the database refused, nothing changed."""
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((plan, done))
        self._arrived.set()
        return await done

    async def decide(self, decide: Decide) -> Answer:
        """Decide and apply; decide again while a guarded row or balance keeps moving, five times at most.

        `decide` reads and returns a Plan, or None when there is nothing left to do.
        """
        answer = Answer(Verdict.ALREADY)
        for _ in range(DECISIONS_MAX):
            plan = await decide()
            if plan is None:
                return Answer(Verdict.ALREADY)
            answer = await self.apply(plan)
            if answer.done:
                return answer
        return answer

    def watch(self, *tables: str) -> asyncio.Event:
        """Return an event that is set after each commit that changed a row of one of `tables`."""
        event = asyncio.Event()
        for table in tables:
            self._watchers[table].append(event)
        return event

    async def run(self) -> None:
        """Commit what arrives, for ever; a commit under way is finished before a cancellation goes on."""
        while True:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await _finished(asyncio.ensure_future(self._commit(batch)))
            self._arrived.clear()
            await self._arrived.wait()

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        plans = [plan for plan, _ in batch]
        commit, self._numbers = _Commit(plans, self._numbers, self._clock), Numbers()
        try:
            await self.database.change(looks_of(plans, commit.numbers), commit.decide)
        except Unavailable as error:
            for _, done in batch:
                if not done.done():
                    done.set_exception(Unavailable(*error.args))
        except Exception as error:  # noqa: BLE001  a Plan that cannot be written is a fault of ours: its caller hears it
            await self._commit_alone(batch, error)
        else:
            self._numbers = commit.numbers_left
            for (_, done), answer in zip(batch, commit.answers, strict=True):
                if not done.done():
                    done.set_result(answer)
            self.written.update(_written(batch, commit.answers))
            for table in sorted(commit.changed):  # one order, whatever a set makes of it
                for event in self._watchers[table]:
                    event.set()

    async def _commit_alone(self, batch: Sequence[Waiting], error: Exception) -> None:
        """Commit one by one what failed together, so that a faulty Plan fails its own caller only."""
        if len(batch) > 1:
            for one in batch:
                await self._commit([one])
        elif not batch[0][1].done():
            batch[0][1].set_exception(error)

    async def balance(self, account: Account) -> int:
        """Return the balance of `account` in msat; 0 if nothing was ever booked on it."""
        rows = await self.database.fetch("SELECT balance_msat FROM accounts WHERE id = :id", id=account)
        return int(rows[0]["balance_msat"]) if rows else 0

    async def row(self, table: str, row_id: str) -> Row | None:
        """Return one row of the work, or None."""
        rows = await self.database.fetch(f"SELECT * FROM {table} WHERE id = :id", id=row_id)  # noqa: S608  our own table names
        return rows[0] if rows else None


def _written(batch: Sequence[Waiting], answers: Sequence[Answer]) -> Iterator[tuple[str, str]]:
    """Yield the table of each row that was written, and its new state; `new` or `changed` if it was given none."""
    for (plan, _), answer in zip(batch, answers, strict=True):
        if answer.verdict is Verdict.APPLIED:
            for change in plan.changes:
                if not isinstance(change, Expect | Add):
                    state = change.values.get("state")
                    yield change.table, str(state or ("new" if isinstance(change, Insert) else "changed"))


async def _finished(commit: asyncio.Future[None]) -> None:
    """Wait for a commit; one that is under way is finished first, however often we are cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not commit.done():
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError as asked:
            cancelled = asked
    if cancelled is not None:
        raise cancelled


async def transfers_of(reader: Reader, plan: str) -> Sequence[Row]:
    """Return what the Plan with this key moved, in its order."""
    return await reader.fetch("SELECT * FROM transfers WHERE plan = :plan ORDER BY seq", plan=plan)


def on_accounts(*names: str) -> str:
    """Return the condition that a transfer is on one of the accounts that `names` are bound to, by their indexes."""
    bound = ", ".join(f":{name}" for name in names)
    seqs = "SELECT seq FROM entries JOIN accounts ON accounts.number = {side} WHERE accounts.id IN ({bound})"
    return f"seq IN ({' UNION '.join(seqs.format(side=side, bound=bound) for side in ('debit', 'credit'))})"


@contextlib.asynccontextmanager
async def running(book: Book) -> AsyncIterator[Book]:
    """Keep `book` committing while the block runs: for commands and tests; the service has its own TaskGroup."""
    task = asyncio.create_task(book.run())
    try:
        yield book
    finally:
        task.cancel()
        await asyncio.wait({task})  # a cancellation of our own goes on: it is not the task's
        if not task.cancelled():
            task.result()


class _Commit:
    """Plans that share a commit: judged against what the database found, as often as it asks."""

    def __init__(self, plans: Sequence[Plan], numbers: Numbers, clock: Clock) -> None:
        self._plans = plans
        self._clock = clock
        self.numbers = self.numbers_left = numbers
        self.answers: list[Answer] = []
        self.changed: set[str] = set()  # tables of the work

    def decide(self, found: Found) -> list[Write]:
        """Judge each Plan against what its predecessors left, and return what all of them together write."""
        state = state_of(found)
        self.answers = [judge(state, plan) for plan in self._plans]
        self.changed = {table for table, _ in state.changed}
        writes, self.numbers_left = writes_of(state, found, self.numbers, self._clock.now())
        return writes


async def invariants(reader: Reader) -> list[str]:
    """Return every broken invariant of the book, in words; an empty list is a sound book."""
    broken = []
    total = (await reader.fetch("SELECT COALESCE(SUM(balance_msat), 0) AS total FROM accounts"))[0]["total"]
    if total != 0:
        broken.append(f"all balances sum to {total} msat, not 0")
    broken += [
        f"{row['id']} is below its floor: {row['balance_msat']} msat"
        for row in await reader.fetch("SELECT * FROM accounts WHERE balance_msat < floor_msat")
    ]
    broken += [
        f"{row['id']} says {row['balance_msat']} msat, its transfers say {row['booked']}"
        for row in await reader.fetch(_BOOKED)
    ]
    broken += [
        f"{row['id']} still holds {row['balance_msat']} msat, but its work is finished"
        for row in await reader.fetch(_FINISHED_HOLDS)
    ]
    return broken


async def loose_ends(reader: Reader) -> list[str]:
    """Return, in words, where the work and the money held for it do not fit: every hold belongs to work that ends."""
    loose = [
        f"{row['id']} holds {row['balance_msat']} msat for no work under way"
        for row in await reader.fetch(_LOOSE_HOLDS)
    ]
    loose += [
        f"job {row['id']} is {row['state']} at {row['price_msat']} msat, but {row['held_msat']} msat are held for it"
        for row in await reader.fetch(_HALF_HELD)
    ]
    loose += [
        f"{row['what']} {row['id']} is {row['state']}, but nothing will end it" for row in await reader.fetch(_ENDLESS)
    ]
    return loose


_BOOKED = """
SELECT accounts.id, balance_msat, COALESCE(SUM(entry.amount), 0) AS booked
FROM accounts LEFT JOIN (
    SELECT credit AS account, amount_msat AS amount FROM entries
    UNION ALL SELECT debit, -amount_msat FROM entries
) AS entry ON entry.account = accounts.number
GROUP BY accounts.id, balance_msat HAVING balance_msat <> COALESCE(SUM(entry.amount), 0)
"""

_FINISHED_HOLDS = """
SELECT accounts.id, balance_msat FROM jobs
JOIN accounts ON accounts.id IN ('hold/job/' || jobs.id || '/sats', 'hold/job/' || jobs.id || '/card',
                                 'hold/job/' || jobs.id || '/promo')
WHERE jobs.state IN ('captured', 'released', 'awaiting_payment', 'awaiting_approval') AND balance_msat <> 0
UNION ALL
SELECT accounts.id, balance_msat FROM payouts
JOIN accounts ON accounts.id = 'hold/payout/' || payouts.id || '/sats'
WHERE payouts.next_at IS NULL AND balance_msat <> 0
"""

_LOOSE_HOLDS = """
SELECT id, balance_msat FROM accounts WHERE id LIKE 'hold/%' AND balance_msat <> 0 AND id NOT IN (
    SELECT 'hold/job/' || jobs.id || '/' || class.name
    FROM jobs CROSS JOIN (SELECT 'sats' AS name UNION ALL SELECT 'card' UNION ALL SELECT 'promo') AS class
    WHERE jobs.state IN ('held', 'assigned', 'working')
    UNION ALL
    SELECT 'hold/payout/' || payouts.id || '/sats' FROM payouts WHERE payouts.next_at IS NOT NULL
)
"""

_HALF_HELD = """
SELECT jobs.id, jobs.state, price_msat, COALESCE(SUM(balance_msat), 0) AS held_msat FROM jobs
LEFT JOIN accounts ON accounts.id IN ('hold/job/' || jobs.id || '/sats', 'hold/job/' || jobs.id || '/card',
                                      'hold/job/' || jobs.id || '/promo')
WHERE jobs.state IN ('held', 'assigned', 'working')
GROUP BY jobs.id, jobs.state, price_msat HAVING price_msat <> COALESCE(SUM(balance_msat), 0)
"""

_ENDLESS = """
SELECT 'job' AS what, id, state FROM jobs
WHERE due_at IS NULL AND state IN ('awaiting_payment', 'awaiting_approval', 'held', 'assigned', 'working')
UNION ALL
SELECT 'payout', id, state FROM payouts WHERE next_at IS NULL AND state IN ('open', 'paying', 'waiting')
"""
