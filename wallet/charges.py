"""The money of one job: hold, capture, release, refund. Pure; each returns the journal of one Plan.

A hold is an ordinary transfer into an escrow named after its cause, one for each class of
money. Capture and release are transfers out of it and leave it empty: the invariant of a
finished job.

Which money pays for what. A charge takes promo, then card, then sats, whatever more was
held. Promo pays the platform's part only. Card pays the platform's part first, so that
contributors get sats as far as possible; what is left of it is spread over all
contributors in proportion to their parts, and matures for as long as the card payment can
be disputed. What the payer earns of its own card money stays card money. Referrers are
paid only where sats suffice for everybody (`referrers_are_paid`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splits.compute import Part
from wallet.accounts import REVENUE, Account, Class, hold, maturing, of, owed, user
from wallet.ledger import Change, Journal, Transfer
from wallet.lots import Escrow, Lot, Mix, Piece, Purse, card_account, cut, made, taken_from
from wallet.money import Msat

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a capture needs to know beside the money: when card earnings mature, and whose stay card money."""

    matures_at: int
    own: frozenset[str]  # hex pubkeys: the payer, and whoever belongs to the payer's company


def plan_hold(cause: str, purse: Purse, mix: Mix) -> Journal:
    """Move `mix` from the payer's balances into the escrow of `cause`."""
    transfers = tuple(
        Transfer(of(purse.owner, cls), hold(cause, cls), amount, "hold") for cls, amount in mix.by_class()
    )
    changes, pieces = taken_from(purse.lots, mix.card)
    held = (
        made(f"{cause}/hold/{number}", hold(cause, Class.CARD), piece, cause=cause)
        for number, piece in enumerate(pieces)
    )
    return Journal(transfers, (*changes, *held))


def plan_release(escrow: Escrow) -> Journal:
    """Give everything in the escrow back, each class to where it came from; nothing, if nothing was held."""
    changes, pieces = taken_from(escrow.lots, escrow.held.card)
    return Journal(_given_back(escrow, escrow.held, "release"), (*changes, *_card_back(escrow, pieces, "release")))


def referrers_are_paid(held: Mix, parts: Sequence[Part]) -> bool:
    """Tell whether sats are left for referrers after all contributors.

    They are not where card money goes beyond the platform's part: then the charge is split
    without referrers, and their parts fall to the rest.
    """
    return _Classes(held, parts).card_spread == 0


def plan_capture(escrow: Escrow, parts: Sequence[Part], terms: Terms) -> Journal:
    """Pay every part out of the escrow, and give back what the charge did not need.

    The reason of each transfer is `role:path`, so that every sum can be explained from
    the split that is stored with the job.
    """
    classes = _Classes(escrow.held, parts)
    transfers: list[Transfer] = []
    card_parts: list[tuple[Account, Msat]] = []
    for part, mix in classes.shares():
        for cls, amount in mix.by_class():
            account = _earned(part.to, cls, terms)
            transfers.append(Transfer(escrow.account(cls), account, amount, f"{part.role}:{part.path}"))
            if cls is Class.CARD:
                card_parts.append((account, amount))
    unused = escrow.held.less(classes.used)
    changes = _moved_lots(escrow, card_parts, unused.card, terms)
    return Journal((*transfers, *_given_back(escrow, unused, "unused")), changes)


def plan_refund(escrow: Escrow, charged: Mix, pieces: Sequence[Piece]) -> Journal:
    """Pay a finished job back out of the platform's revenue; contributors keep theirs.

    `charged` is what it cost, by class, and `pieces` the card money among it. What was
    paid in one class comes back in that class.
    """
    transfers = tuple(
        Transfer(REVENUE[cls], of(escrow.payer, cls), amount, "refund") for cls, amount in charged.by_class()
    )
    return Journal(transfers, _card_back(escrow, pieces, "refund"))


def plan_referrals_back(paid: Mapping[str, int], has: Mapping[str, int]) -> Journal:
    """Take back what referrers were `paid` for a job that is paid back: out of what each `has`; the rest is owed."""
    transfers: list[Transfer] = []
    for pubkey, amount in sorted(paid.items()):
        back = min(amount, has[pubkey])
        for account, msat in ((user(pubkey), back), (owed(pubkey), amount - back)):
            if msat:
                transfers.append(Transfer(account, REVENUE[Class.SATS], Msat(msat), "referral taken back"))
    return Journal(tuple(transfers))


def charged_of(escrow: Escrow, booked: Iterable[Row], lots: Iterable[Lot]) -> tuple[Mix, tuple[Piece, ...]]:
    """Return what a finished job has cost, by class, and the card money among it.

    `booked` are the transfers of its capture, `lots` all lots that the job made.
    """
    costs: Counter[Class] = Counter()
    for row in booked:
        if ":" in row["reason"]:  # a part; what was not used says so
            costs += Counter({cls: row["amount_msat"] for cls in Class if row["debit"] == escrow.account(cls)})
    card: dict[str, Piece] = {}
    for lot in sorted(lots, key=lambda lot: (lot.deposited_at, lot.deposit)):
        held = lot.total_msat if lot.account == escrow.account(Class.CARD) else 0
        back = lot.total_msat if lot.id.startswith(f"{escrow.cause}/unused/") else 0
        before = card[lot.deposit].amount_msat if lot.deposit in card else 0
        card[lot.deposit] = Piece(lot.deposit, lot.deposited_at, Msat(before + held - back))
    mix = Mix(*(Msat(costs[cls]) for cls in (Class.PROMO, Class.CARD, Class.SATS)))
    return mix, tuple(piece for piece in card.values() if piece.amount_msat)


class _Classes:
    """Which class of money pays which part of a charge."""

    def __init__(self, held: Mix, parts: Sequence[Part]) -> None:
        charged = sum(part.amount_msat for part in parts)
        assert 0 <= charged <= held.total, f"{charged} msat charged of {held.total} held"
        platform = sum(part.amount_msat for part in parts if part.to is None)
        self._parts = parts
        self.used = held.drawn(charged, promo_max=platform)
        assert self.used.total == charged, f"{charged} msat charged, but {held} pays for {self.used.total} of it"
        self._platform_left = Counter(
            {Class.PROMO: self.used.promo, Class.CARD: min(self.used.card, platform - self.used.promo)}
        )
        self.card_spread = self.used.card - self._platform_left[Class.CARD]

    def shares(self) -> list[tuple[Part, Mix]]:
        """Return each part with the money it is paid in; parts of nothing are left out."""
        card = self._card_of_contributors()
        found = []
        for part in self._parts:
            if part.to is None:
                mix = self._of_platform(part.amount_msat)
            else:
                in_card = min(card[part.to], part.amount_msat)
                card[part.to] -= in_card
                mix = Mix(card=Msat(in_card), sats=Msat(part.amount_msat - in_card))
            if part.amount_msat:
                found.append((part, mix))
        return found

    def _of_platform(self, amount: int) -> Mix:
        left = self._platform_left
        promo = min(left[Class.PROMO], amount)
        card = min(left[Class.CARD], amount - promo)
        left.subtract({Class.PROMO: promo, Class.CARD: card})
        return Mix(Msat(promo), Msat(card), Msat(amount - promo - card))

    def _card_of_contributors(self) -> Counter[str]:
        """Spread the card money over the contributors, in proportion to what each earns in all parts together.

        What rounding leaves goes, a msat each, to those who lost most by it: nobody's place in the list counts.
        """
        earned: Counter[str] = Counter()
        for part in self._parts:
            if part.to is not None:
                earned[part.to] += part.amount_msat
        whole = sum(earned.values())
        if not self.card_spread:
            return Counter()
        card = Counter({person: amount * self.card_spread // whole for person, amount in earned.items()})
        by_loss = sorted(earned, key=lambda person: (-(earned[person] * self.card_spread % whole), person))
        for person in by_loss[: self.card_spread - sum(card.values())]:
            card[person] += 1
        return card


def _earned(to: str | None, cls: Class, terms: Terms) -> Account:
    if to is None:
        return REVENUE[cls]
    if cls is Class.SATS or to in terms.own:
        return user(to, cls)
    assert cls is Class.CARD, f"{cls} for {to}"
    return maturing(to)


def _given_back(escrow: Escrow, mix: Mix, reason: str) -> tuple[Transfer, ...]:
    return tuple(Transfer(escrow.account(cls), of(escrow.payer, cls), amount, reason) for cls, amount in mix.by_class())


def _moved_lots(
    escrow: Escrow, card_parts: Sequence[tuple[Account, Msat]], unused: Msat, terms: Terms
) -> tuple[Change, ...]:
    """Return how the lots of the escrow move on with its card money, the oldest deposit first to the platform."""
    changes, pieces = taken_from(escrow.lots, escrow.held.card)
    ours_first = sorted(card_parts, key=lambda one: one[0] != REVENUE[Class.CARD])
    *heaps, back = cut(pieces, [*(amount for _, amount in ours_first), unused])
    earned = [
        (account, piece)
        for (account, _), heap in zip(ours_first, heaps, strict=True)
        if account != REVENUE[Class.CARD]
        for piece in heap
    ]
    new = (
        made(
            f"{escrow.cause}/capture/{number}",
            account,
            piece,
            cause=escrow.cause,
            matures_at=terms.matures_at if account.endswith("/maturing") else None,
        )
        for number, (account, piece) in enumerate(earned)
    )
    return (*changes, *new, *_card_back(escrow, back, "unused"))


def _card_back(escrow: Escrow, pieces: Sequence[Piece], step: str) -> tuple[Change, ...]:
    return tuple(
        made(f"{escrow.cause}/{step}/{number}", card_account(escrow.payer), piece, cause=escrow.cause)
        for number, piece in enumerate(pieces)
    )
