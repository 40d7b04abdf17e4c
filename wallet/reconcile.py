"""Do our books and the node's agree? Its movements against our legs, by payment hash and transaction.

What is compared and what is booked by rule stands in `feed.py`. Here both books are read:
the node's in pages, ours by one query for each of the two accounts. Booking by rule is a Plan
each, guarded by a row that all of them raise, so that two processes that look at once book
nothing twice.

Who looks again and again keeps a `Standing`: how far both books were read, and what was left
between them there. What is left later is that, and what came since; so a look costs what is
new, however long the books are. Legs of one account are in the order of their `seq`, for its
row is locked from before the number is given until the commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from relaybot.db.database import Reader
from relaybot.errors import Rejected
from wallet.accounts import CAPITAL, NODE_LIGHTNING, NODE_ONCHAIN, Account
from wallet.book import Book
from wallet.chain import Chain, ChainMove
from wallet.feed import (
    Difference,
    Feed,
    Sums,
    differences,
    left_between,
    left_by_rule,
    opening_journal,
    rule_journals,
)
from wallet.ledger import Change, Insert, Journal, Plan, Transfer, Update, Values, Verdict
from wallet.lightning import Lightning, Move
from wallet.money import Msat

PAGE = 1_000  # movements asked for at a time
COUNTER = "node/rules"  # the row of `cursors` that whatever is booked by rule raises
OPENED_CHANNELS, OPENED_COINS = "node/opening/channels", "node/opening/coins"  # what was there at our first look

_LEGS = """
SELECT plans.id AS plan, SUM(msat) AS msat, MAX(seq) AS seq FROM (
    SELECT plan, seq, amount_msat AS msat FROM entries WHERE debit = :number AND seq > :after
    UNION ALL SELECT plan, seq, -amount_msat AS msat FROM entries WHERE credit = :number AND seq > :after
) AS legs JOIN plans ON plans.number = legs.plan GROUP BY plans.id
"""


_KNOWN = "SELECT payment_hash FROM invoices UNION ALL SELECT id FROM attempts"

# Users' deposits that stand in the node's moves, which are never taken back, and not, or no more, in the book.
_NOT_BOOKED = "SELECT id, amount_msat FROM deposits WHERE state IN ('pending', 'lost', 'reversed')"


# Transactions of ours that are booked when they are deep enough: the node notes them when they are in a block.
_ON_THEIR_WAY = "SELECT txid FROM batches WHERE state = 'sent'"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The differences, and how much the rules have to book still, by key."""

    differences: tuple[Difference, ...]
    unbooked: dict[str, str]


@dataclass(slots=True)
class Standing:
    """How far both books were read by a process, and what was left between them there."""

    is_read: bool = False
    channel: Move | None = None  # the last rows of the node
    coin: ChainMove | None = None
    legs: dict[Account, tuple[int, int]] = field(default_factory=dict)  # account → its last leg's seq, its balance
    left: dict[str, Sums] = field(default_factory=dict)  # by key, what is booked by rule included
    by_rule: dict[str, int] = field(default_factory=dict)

    def forget(self) -> None:
        """Read both books from the beginning the next time."""
        self.is_read = False


class _Moved(Exception):
    """What was read before is not there any more, or not all of it was read."""


async def reconcile(
    reader: Reader, lightning: Lightning, chain: Chain | None = None, standing: Standing | None = None
) -> Reconciliation:
    """Compare every payment, and every transaction if there is a `chain`. Unavailable if the node does not answer.

    With a `standing` only what came since is read; its differences then tell how much is left, not both sums.
    """
    feed, booked = await _read(reader, lightning, chain, standing)
    for row in await reader.fetch(_NOT_BOOKED) if chain is not None else ():
        booked[row["id"].partition(":")[0]].onchain += row["amount_msat"]
    unbooked = {key: str(left) for key, left in left_by_rule(feed, booked).items()}
    on_their_way = {row["txid"] for row in await reader.fetch(_ON_THEIR_WAY)}
    found = tuple(one for one in differences(feed, booked) if one.key not in on_their_way)
    return Reconciliation(found, unbooked)


async def book_by_rule(book: Book, lightning: Lightning, chain: Chain, standing: Standing | None = None) -> list[str]:
    """Book what the node moved by itself (routed, pushed, channels); return the keys of the Plans.

    The first look books what the node holds already: it is the operator's. Unavailable if the
    node does not answer.
    """
    counter = await book.row("cursors", COUNTER)
    if counter is None:
        plan = await _opening(book, lightning, chain)
        return [plan.key] if (await book.apply(plan)).verdict is Verdict.APPLIED else []
    async with book.database.snapshot() as reader:
        feed, booked = await _read(reader, lightning, chain, standing)
    done: list[str] = []
    for key, journal in rule_journals(feed, booked):
        values: Values = {"value": counter["value"] + len(done) + 1}
        raised = Update("cursors", COUNTER, values, expect={"version": counter["version"] + len(done)})
        if (await book.apply(journal.plan(key, raised))).verdict is not Verdict.APPLIED:
            break  # another process looked at the same time: the next look finds what is left
        done.append(key)
    return done


async def own_difference(book: Book, lightning: Lightning, chain: Chain, key: str) -> Plan:
    """Return the Plan that books a difference as the operator's own doing.

    Rejected if the books do not differ there.
    """
    async with book.database.snapshot() as reader:
        found = await reconcile(reader, lightning, chain)
    difference = next((one for one in found.differences if one.key == key), None)
    if difference is None:
        raise Rejected("invalid", "the books do not differ on this payment or transaction", found=key[:80])
    left = difference.node.less(difference.book)
    transfers = [
        Transfer(*((account, CAPITAL) if amount > 0 else (CAPITAL, account)), Msat(abs(amount)), "the operator's own")
        for account, amount in ((NODE_LIGHTNING, left.lightning), (NODE_ONCHAIN, left.onchain))
        if amount
    ]
    return Plan(f"own/{key}/{difference.node.lightning}/{difference.node.onchain}", tuple(transfers))


async def _opening(book: Book, lightning: Lightning, chain: Chain) -> Plan:
    """Return the first look: everything so far is the operator's, unless money of our users' has moved already."""
    feed, changes = Feed(), list[Change]()
    channel, coin = await _channel_rows(feed, lightning, None), await _coin_rows(feed, chain, None)
    async with book.database.snapshot() as reader:  # after the node: what came meanwhile has an invoice by now
        is_first = not (await _booked(reader, {}, coins=True))[0] and not await _known(reader, feed)
    lasts = ((OPENED_CHANNELS, channel.index if channel else 0), (OPENED_COINS, coin.index if coin else 0))
    for row_id, value in ((COUNTER, 0), *lasts):
        changes.append(Insert("cursors", row_id, {"value": value if is_first else 0}))
    journal = opening_journal(feed.total()) if is_first else Journal()
    return journal.plan("node/opening", *changes)


async def _known(reader: Reader, feed: Feed) -> bool:
    """Tell whether the node moved for an invoice of ours, or an attempt to pay, that is not booked yet."""
    found = await reader.fetch(_KNOWN)
    return any(row["payment_hash"] in feed.groups for row in found)


async def _read(
    reader: Reader, lightning: Lightning, chain: Chain | None, standing: Standing | None
) -> tuple[Feed, defaultdict[str, Sums]]:
    """Return the node's sums and the book's legs; of what a `standing` covers only what was left, as the node's."""
    if standing is not None and standing.is_read:
        try:
            return await _read_on(reader, lightning, chain, standing)
        except _Moved:
            standing.forget()
    return await _read_on(reader, lightning, chain, Standing() if standing is None else standing)


async def _read_on(
    reader: Reader, lightning: Lightning, chain: Chain | None, standing: Standing
) -> tuple[Feed, defaultdict[str, Sums]]:
    before = standing if standing.is_read else Standing()
    opened = await reader.rows_by_id("cursors", [OPENED_CHANNELS, OPENED_COINS])
    first = {row_id: int(row["value"]) for row_id, row in opened.items()}
    groups = {key: Sums(one.lightning, one.onchain) for key, one in before.left.items()}
    feed = Feed(first.get(OPENED_CHANNELS, 0), first.get(OPENED_COINS, 0), groups, dict(before.by_rule))
    booked, legs = await _booked(reader, before.legs, coins=chain is not None)
    standing.channel = await _channel_rows(feed, lightning, before.channel)
    standing.coin = None if chain is None else await _coin_rows(feed, chain, before.coin)
    standing.legs, standing.left, standing.by_rule = legs, left_between(feed, booked), feed.by_rule
    standing.is_read = True
    return feed, booked


async def _channel_rows(feed: Feed, lightning: Lightning, last: Move | None) -> Move | None:
    """Add the rows after `last`, and return the last one. _Moved if the node does not know `last` any more."""
    after = feed.channel_after if last is None else last.index
    if last is not None and await lightning.moves(after_index=after - 1, limit=1) != [last]:
        raise _Moved
    while moves := await lightning.moves(after_index=after, limit=PAGE):
        feed.add_moves(moves)
        last, after = moves[-1], moves[-1].index
    return last


async def _coin_rows(feed: Feed, chain: Chain, last: ChainMove | None) -> ChainMove | None:
    """Do so for the node's coins."""
    after = feed.chain_after if last is None else last.index
    if last is not None and await chain.chain_moves(after_index=after - 1, limit=1) != [last]:
        raise _Moved
    while rows := await chain.chain_moves(after_index=after, limit=PAGE):
        feed.add_chain_moves(rows)
        last, after = rows[-1], rows[-1].index
    return last


async def _booked(
    reader: Reader, before: Mapping[Account, tuple[int, int]], *, coins: bool
) -> tuple[defaultdict[str, Sums], dict[Account, tuple[int, int]]]:
    """Return what was booked on the node's accounts since, and how far that goes.

    _Moved if it does not add up to the balances: then it was not all.
    """
    booked: defaultdict[str, Sums] = defaultdict(Sums)
    legs: dict[Account, tuple[int, int]] = {}
    accounts = (NODE_LIGHTNING, NODE_ONCHAIN) if coins else (NODE_LIGHTNING,)
    for account, row in (await reader.rows_by_id("accounts", accounts)).items():
        seq, balance = before.get(Account(account), (0, 0))
        for leg in await reader.fetch(_LEGS, number=row["number"], after=seq):
            sums, msat = booked[_key_of(leg["plan"])], int(leg["msat"])
            seq, balance = max(seq, leg["seq"]), balance - msat
            if account == NODE_LIGHTNING:
                sums.lightning += msat
            else:
                sums.onchain += msat
        if before and balance != row["balance_msat"]:
            raise _Moved
        legs[Account(account)] = seq, row["balance_msat"]
    return booked, legs


def _key_of(plan: str) -> str:
    """Return the payment hash or transaction in a Plan's key: `invoice/<hash>/settled`, `channel/<txid>/7`."""
    return plan.split("/")[1]
