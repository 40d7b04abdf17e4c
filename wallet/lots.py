"""What somebody has, by class, and from which card payment the card money among it stems. Pure.

A lot says: so much of the balance of this account is money of that deposit. Every card,
maturing and card escrow account is the sum of its lots, so that a dispute of one card
payment finds its money wherever it went. A lot is made once, and only ever gets smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wallet.accounts import Account, Class, Owner, of
from wallet.ledger import Insert, Update
from wallet.money import Msat

NOTHING = Msat(0)


@dataclass(frozen=True, slots=True)
class Mix:
    """An amount of money, by class."""

    promo: Msat = NOTHING
    card: Msat = NOTHING
    sats: Msat = NOTHING

    def __post_init__(self) -> None:
        """Refuse what no balance can be."""
        assert min(self.promo, self.card, self.sats) >= 0, f"less than nothing: {self}"

    @property
    def total(self) -> Msat:
        """Return all of it together."""
        return Msat(self.promo + self.card + self.sats)

    def by_class(self) -> Iterator[tuple[Class, Msat]]:
        """Yield each class of which there is some, in the order in which a job draws on them."""
        for cls, amount in ((Class.PROMO, self.promo), (Class.CARD, self.card), (Class.SATS, self.sats)):
            if amount:
                yield cls, amount

    def drawn(self, amount: int, *, promo_max: int) -> Mix:
        """Return what `amount` takes of it: promo up to `promo_max`, then card, then sats; less where there is less."""
        promo = min(self.promo, promo_max, amount)
        card = min(self.card, amount - promo)
        return Mix(Msat(promo), Msat(card), Msat(min(self.sats, amount - promo - card)))

    def less(self, other: Mix) -> Mix:
        """Return what is left of it without `other`."""
        return Mix(Msat(self.promo - other.promo), Msat(self.card - other.card), Msat(self.sats - other.sats))


@dataclass(frozen=True, slots=True)
class Lot:
    """So much money of one deposit on one account; `taken_msat` is what a dispute has taken of it."""

    id: str
    version: int
    account: Account
    deposit: str
    cause: str  # what made it: the deposit itself, or the job it was held for or earned with
    total_msat: Msat
    amount_msat: Msat  # what is left of it
    taken_msat: Msat
    matures_at: int | None
    deposited_at: int  # when the card payment was made: the oldest is spent first

    @classmethod
    def of_row(cls, row: Mapping[str, str | int | None]) -> Lot:
        """Return the lot that stands in a row of `lots`."""
        return cls(**{name: row[name] for name in cls.__slots__})  # type: ignore[arg-type]  # the table has these types


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a lot, on its way to another account."""

    deposit: str
    deposited_at: int
    amount_msat: Msat


@dataclass(frozen=True, slots=True)
class Purse:
    """What an owner has, as it was read: by class, with the lots of its card money; `owed_msat` blocks all spending."""

    owner: Owner
    has: Mix = Mix()
    lots: tuple[Lot, ...] = ()
    owed_msat: Msat = NOTHING

    def draw(self, price: Msat, *, promo_max: Msat) -> Mix | None:
        """Return what a job of this price takes of it; None if there is not enough, or something is owed."""
        mix = self.has.drawn(price, promo_max=promo_max)
        return mix if mix.total == price and not self.owed_msat else None


@dataclass(frozen=True, slots=True)
class Escrow:
    """What is held for one cause, as it was read: whose it is, by class, with the lots of its card money."""

    cause: str
    payer: Owner
    held: Mix
    lots: tuple[Lot, ...] = ()

    def account(self, cls: Class) -> Account:
        """Return the escrow's account of this class."""
        return Account(f"hold/{self.cause}/{cls.value}")


def made(lot_id: str, account: Account, piece: Piece, *, cause: str, matures_at: int | None = None) -> Insert:
    """Return the row of a new lot."""
    return Insert(
        "lots",
        lot_id,
        {
            "account": account,
            "deposit": piece.deposit,
            "cause": cause,
            "total_msat": piece.amount_msat,
            "amount_msat": piece.amount_msat,
            "taken_msat": 0,
            "matures_at": matures_at,
            "deposited_at": piece.deposited_at,
        },
    )


def taken_from(lots: Iterable[Lot], amount: Msat) -> tuple[tuple[Update, ...], tuple[Piece, ...]]:
    """Take `amount` out of `lots`, oldest deposit first: the rows it changes, and the pieces that move on.

    The rows are guarded by the version that was read. There must be enough.
    """
    changes: list[Update] = []
    pieces: dict[str, Piece] = {}
    left = amount
    for lot in sorted(lots, key=lambda lot: (lot.deposited_at, lot.deposit, lot.id)):
        part = min(lot.amount_msat, left)
        if part:
            rest = {"amount_msat": lot.amount_msat - part}
            changes.append(Update("lots", lot.id, rest, expect={"version": lot.version}))
            before = pieces[lot.deposit].amount_msat if lot.deposit in pieces else NOTHING
            pieces[lot.deposit] = Piece(lot.deposit, lot.deposited_at, Msat(before + part))
            left = Msat(left - part)
    assert left == 0, f"{left} msat of {amount} are in no lot"
    return tuple(changes), tuple(pieces.values())


def cut(pieces: Sequence[Piece], amounts: Sequence[Msat]) -> list[list[Piece]]:
    """Cut `pieces`, in their order, into heaps of these amounts; together they come to the same."""
    heaps: list[list[Piece]] = []
    waiting = list(reversed(pieces))
    for amount in amounts:
        heap: list[Piece] = []
        left = amount
        while left:
            piece = waiting.pop()
            part = Msat(min(piece.amount_msat, left))
            heap.append(Piece(piece.deposit, piece.deposited_at, part))
            if part < piece.amount_msat:
                waiting.append(Piece(piece.deposit, piece.deposited_at, Msat(piece.amount_msat - part)))
            left = Msat(left - part)
        heaps.append(heap)
    assert not waiting, f"{sum(piece.amount_msat for piece in waiting)} msat are in no heap"
    return heaps


def card_account(owner: Owner) -> Account:
    """Return the account of somebody's card money."""
    return of(owner, Class.CARD)
