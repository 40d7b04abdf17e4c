"""Do our books and the node's agree? Its movements against our legs, by payment hash and transaction.

What is compared and what is booked by rule stands in `feed.py`. Here both books are read:
the node's in pages, ours by one query. Booking by rule is a Plan each, guarded by a row that
all of them raise, so that two processes that look at once book nothing twice.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from relaybot.db.database import Reader
from relaybot.errors import Rejected
from wallet.accounts import CAPITAL, NODE_LIGHTNING, NODE_ONCHAIN
from wallet.book import Book, on_accounts
from wallet.chain import Chain
from wallet.feed import Difference, Feed, Sums, differences, left_by_rule, opening_journal, rule_journals
from wallet.ledger import Change, Insert, Journal, Plan, Transfer, Update, Values, Verdict
from wallet.lightning import Lightning
from wallet.money import Msat

PAGE = 1_000  # movements asked for at a time
COUNTER = "node/rules"  # the row of `cursors` that whatever is booked by rule raises
OPENED_CHANNELS, OPENED_COINS = "node/opening/channels", "node/opening/coins"  # what was there at our first look

_LEGS = f"""
SELECT plan,
    SUM(CASE WHEN debit = :lightning THEN amount_msat WHEN credit = :lightning THEN -amount_msat ELSE 0 END)
        AS channels,
    SUM(CASE WHEN debit = :onchain THEN amount_msat WHEN credit = :onchain THEN -amount_msat ELSE 0 END) AS coins
FROM transfers WHERE {on_accounts("lightning", "onchain")} GROUP BY plan
"""  # noqa: S608  our own names


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


async def reconcile(reader: Reader, lightning: Lightning, chain: Chain | None = None) -> Reconciliation:
    """Compare every payment, and every transaction if there is a `chain`. Unavailable if the node does not answer."""
    feed = await _feed(reader, lightning, chain)
    booked = await _booked(reader, coins=chain is not None)
    unbooked = {key: str(left) for key, left in left_by_rule(feed, booked).items()}
    on_their_way = {row["txid"] for row in await reader.fetch(_ON_THEIR_WAY)}
    found = tuple(one for one in differences(feed, booked) if one.key not in on_their_way)
    return Reconciliation(found, unbooked)


async def book_by_rule(book: Book, lightning: Lightning, chain: Chain) -> list[str]:
    """Book what the node moved by itself (routed, pushed, channels); return the keys of the Plans.

    The first look books what the node holds already: it is the operator's. Unavailable if the
    node does not answer.
    """
    counter = await book.row("cursors", COUNTER)
    if counter is None:
        plan = await _opening(book, lightning, chain)
        return [plan.key] if (await book.apply(plan)).verdict is Verdict.APPLIED else []
    async with book.database.snapshot() as reader:
        feed, booked = await _feed(reader, lightning, chain), await _booked(reader, coins=True)
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
    last_channel, last_coin = await _read_all(feed, lightning, chain)
    async with book.database.snapshot() as reader:  # after the node: what came meanwhile has an invoice by now
        is_first = not await _booked(reader, coins=True) and not await _known(reader, feed)
    for row_id, value in ((COUNTER, 0), (OPENED_CHANNELS, last_channel), (OPENED_COINS, last_coin)):
        changes.append(Insert("cursors", row_id, {"value": value if is_first else 0}))
    journal = opening_journal(feed.total()) if is_first else Journal()
    return journal.plan("node/opening", *changes)


async def _known(reader: Reader, feed: Feed) -> bool:
    """Tell whether the node moved for an invoice of ours, or an attempt to pay, that is not booked yet."""
    found = await reader.fetch(_KNOWN)
    return any(row["payment_hash"] in feed.groups for row in found)


async def _feed(reader: Reader, lightning: Lightning, chain: Chain | None) -> Feed:
    rows = await reader.rows_by_id("cursors", [OPENED_CHANNELS, OPENED_COINS])
    after = {row_id: int(row["value"]) for row_id, row in rows.items()}
    feed = Feed(after.get(OPENED_CHANNELS, 0), after.get(OPENED_COINS, 0))
    await _read_all(feed, lightning, chain)
    return feed


async def _read_all(feed: Feed, lightning: Lightning, chain: Chain | None) -> tuple[int, int]:
    channel, coin = feed.channel_after, feed.chain_after
    while moves := await lightning.moves(after_index=channel, limit=PAGE):
        feed.add_moves(moves)
        channel = moves[-1].index
    while chain is not None and (rows := await chain.chain_moves(after_index=coin, limit=PAGE)):
        feed.add_chain_moves(rows)
        coin = rows[-1].index
    return channel, coin


async def _booked(reader: Reader, *, coins: bool) -> dict[str, Sums]:
    booked: dict[str, Sums] = defaultdict(Sums)
    for row in await reader.fetch(_LEGS, lightning=NODE_LIGHTNING, onchain=NODE_ONCHAIN):
        sums = booked[_key_of(row["plan"])]
        sums.lightning += row["channels"]
        sums.onchain += row["coins"] if coins else 0
    for row in await reader.fetch(_NOT_BOOKED) if coins else ():
        booked[row["id"].partition(":")[0]].onchain += row["amount_msat"]
    return dict(booked)


def _key_of(plan: str) -> str:
    """Return the payment hash or transaction in a Plan's key: `invoice/<hash>/settled`, `channel/<txid>/7`."""
    return plan.split("/")[1]
