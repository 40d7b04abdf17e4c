"""What the node moved, against what we booked. Pure: rows of both books in, differences and journals out.

The node keeps a row for each part of a payment and for each output; a group is all rows
of one payment hash or one transaction. A group's sum must equal all we booked on `node/*`
under that key, the fee included, for a transaction's fee is what its rows leave over.
What carries no key of ours is booked by rule: payments routed for others, channels opened
and closed, funds pushed. What was there at our first look is the operator's, and is not
looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wallet.accounts import (
    CAPITAL,
    EXPENSE_LIGHTNING,
    EXPENSE_ONCHAIN,
    NODE_LIGHTNING,
    NODE_ONCHAIN,
    ROUTING_INCOME,
    Account,
)
from wallet.chain import ChainMove
from wallet.ledger import Journal, Transfer
from wallet.lightning import Move
from wallet.money import Msat, format_sat

# The tags of channel moves that belong to no payment of ours, and the account that bears them.
ROUTED = "routed"  # others' payments through our channels; their hash may be one of ours all the same
BY_RULE = {
    ROUTED: ROUTING_INCOME,
    "pushed": EXPENSE_LIGHTNING,
    "channel_open": CAPITAL,  # without a transaction: a simulated channel
}
OPENING = "opening"  # the key of what was there at our first look
WALLET, EXTERNAL = "wallet", "external"  # whose rows a transaction has; every other account is a channel


@dataclass(slots=True)
class Sums:
    """What came in less what went out, in the channels and in coins."""

    lightning: int = 0
    onchain: int = 0

    def less(self, other: Sums) -> Sums:
        """Return what is left without `other`."""
        return Sums(self.lightning - other.lightning, self.onchain - other.onchain)

    def __bool__(self) -> bool:
        return bool(self.lightning or self.onchain)

    def __str__(self) -> str:
        if self.onchain and self.lightning:
            return f"{self.lightning} msat in channels and {self.onchain} in coins"
        return f"{self.lightning or self.onchain} msat"


@dataclass(frozen=True, slots=True)
class Difference:
    """One payment hash or transaction on which the two books differ."""

    key: str
    node: Sums
    book: Sums

    @property
    def is_unasked(self) -> bool:
        """Tell whether coins came to the node that are nobody's deposit: anybody can send such to an address of its."""
        came = self.node.onchain > self.book.onchain >= 0
        return came and not self.node.lightning and not self.book.lightning

    def __str__(self) -> str:
        what = "transaction" if self.node.onchain or self.book.onchain else "payment"
        return f"{what} {self.key}: the node says {self.node}, the book {self.book}"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What the two books may differ on for now, and by how much. Nothing else may, but for a moment."""

    htlcs: frozenset[str] = frozenset()  # payment hashes with a part in a channel: the node notes it when it is out
    channels: frozenset[str] = frozenset()  # transactions of channels that are not open yet
    sent: Mapping[str, int] = field(default_factory=dict)  # payment hash → the most that may have left
    arrived: Mapping[str, int] = field(default_factory=dict)  # payment hash → what was paid to us, and not read yet
    behind: bool = False  # so much was paid to us that `arrived` has a part of it only
    unseen: Mapping[str, int] = field(default_factory=dict)  # transaction → what it pays our users, not taken in yet

    def explains(self, found: Difference) -> bool:
        """Tell whether a difference is no more than what is under way."""
        left = found.node.less(found.book)
        if found.key in self.channels:
            return True
        arrived = max(left.lightning, 0) if self.behind else self.arrived.get(found.key, 0)
        lightning = found.key in self.htlcs or -self.sent.get(found.key, 0) <= left.lightning <= arrived
        return lightning and 0 <= left.onchain <= self.unseen.get(found.key, 0)


@dataclass(slots=True)
class Feed:
    """The node's rows, summed up by key; rows up to the opening are left out."""

    channel_after: int = 0
    chain_after: int = 0
    groups: dict[str, Sums] = field(default_factory=dict)
    by_rule: dict[str, int] = field(default_factory=dict)  # key → the last index that counts in it

    def add_moves(self, moves: Iterable[Move]) -> None:
        """Take rows of the channels."""
        for move in moves:
            key = move.payment_hash
            if key is None or move.tag == ROUTED:
                key = move.tag
                if key in BY_RULE:
                    self.by_rule[key] = move.index
            self._sums(key).lightning += move.credit_msat - move.debit_msat

    def add_chain_moves(self, moves: Iterable[ChainMove]) -> None:
        """Take rows of the node's coins, and those of channels in transactions."""
        for move in moves:
            amount = move.credit_msat - move.debit_msat
            if move.account == WALLET:
                self._sums(move.txid).onchain += amount
            elif move.account != EXTERNAL:  # a channel's: the transaction opens or closes it
                self._sums(move.txid).lightning += amount
                self.by_rule[move.txid] = move.index

    def _sums(self, key: str) -> Sums:
        return self.groups.setdefault(key, Sums())

    def total(self) -> Sums:
        """Return everything together."""
        return Sums(
            sum(one.lightning for one in self.groups.values()), sum(one.onchain for one in self.groups.values())
        )


def left_between(feed: Feed, booked: Mapping[str, Sums]) -> dict[str, Sums]:
    """Return everything that the node has and the book has not, by key, rules and opening included."""
    left = {
        key: feed.groups.get(key, Sums()).less(booked.get(key, Sums())) for key in feed.groups.keys() | booked.keys()
    }
    return {key: sums for key, sums in left.items() if sums}


def differences(feed: Feed, booked: Mapping[str, Sums]) -> tuple[Difference, ...]:
    """Return what differs and no rule books."""
    found = []
    for key in sorted(feed.groups.keys() | booked.keys()):
        if key == OPENING or key in feed.by_rule:
            continue
        node, book = feed.groups.get(key, Sums()), booked.get(key, Sums())
        if node.less(book):
            found.append(Difference(key, node, book))
    return tuple(found)


def sum_of(found: Sequence[Difference]) -> Sums:
    """Return how much more the node has than the book on all of these together."""
    lefts = [one.node.less(one.book) for one in found]
    return Sums(sum(left.lightning for left in lefts), sum(left.onchain for left in lefts))


def who_has_more(found: Sequence[Difference]) -> str:
    """Return in words which side has how much more, and on what."""
    total = sum_of(found)
    sides = [
        f"{where} the node has {format_sat(Msat(abs(msat)))} {'more' if msat > 0 else 'less'} than the book"
        for where, msat in (("in channels", total.lightning), ("in coins", total.onchain))
        if msat
    ]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{', '.join(sides) or 'in sum they agree'}; {found[0]}{more}"


def left_by_rule(feed: Feed, booked: Mapping[str, Sums]) -> dict[str, Sums]:
    """Return what the rules have to book still, by key."""
    left = {key: feed.groups.get(key, Sums()).less(booked.get(key, Sums())) for key in sorted(feed.by_rule)}
    return {key: sums for key, sums in left.items() if sums}


def rule_journals(feed: Feed, booked: Mapping[str, Sums]) -> list[tuple[str, Journal]]:
    """Return what the rules have to book still, each with the key of its Plan."""
    found = []
    for key, left in left_by_rule(feed, booked).items():
        if key in BY_RULE:
            journal = Journal(_moves(NODE_LIGHTNING, BY_RULE[key], left.lightning, key))
            found.append((f"node/{key}/{feed.by_rule[key]}", journal))
        else:
            found.append((f"channel/{key}/{feed.by_rule[key]}", _channel(left)))
    return found


def opening_journal(total: Sums) -> Journal:
    """Book what the node holds at our first look: it is the operator's."""
    return Journal(
        (
            *_moves(NODE_LIGHTNING, CAPITAL, total.lightning, OPENING),
            *_moves(NODE_ONCHAIN, CAPITAL, total.onchain, OPENING),
        )
    )


def _channel(left: Sums) -> Journal:
    """Coins became a channel's, or a channel's balance coins; what a transaction's rows leave over is its fee."""
    moved = min(abs(left.lightning), abs(left.onchain)) if left.lightning * left.onchain < 0 else 0
    sign = 1 if left.lightning > 0 else -1
    return Journal(
        (
            *_moves(NODE_LIGHTNING, NODE_ONCHAIN, sign * moved, "channel"),
            *_moves(NODE_LIGHTNING, EXPENSE_ONCHAIN, left.lightning - sign * moved, "channel fee"),
            *_moves(NODE_ONCHAIN, EXPENSE_ONCHAIN, left.onchain + sign * moved, "channel fee"),
        )
    )


def _moves(node: Account, other: Account, amount: int, reason: str) -> tuple[Transfer, ...]:
    """Book `amount` as come to `node`; below zero, as gone."""
    if amount > 0:
        return (Transfer(node, other, Msat(amount), reason),)
    return (Transfer(other, node, Msat(-amount), reason),) if amount else ()
