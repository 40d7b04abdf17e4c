"""Money by class, holds, lots and disputes once more, as plainly as it can be said: in dictionaries.

`Plainly.play` takes the lines of `scenario.py` that a book has taken, and does to its
dictionaries what docs/ledger.md says in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

CLASSES = ("promo", "card", "sats")


@dataclass(slots=True)
class PlainLot:
    """So much of an account stems from that card payment."""

    account: str
    deposit: str
    msat: int
    taken: int = 0
    earned: bool = False


@dataclass(slots=True)
class Card:
    """A card payment."""

    payer: str
    place: int  # in time
    msat: int
    state: str = "good"
    disputed: int = 0
    written_off: int = 0


@dataclass(slots=True)
class Plainly:
    """What everybody has, by the names of the stories: `bob`, `bob:card`, `hold:job1`, `receivable`."""

    has: Counter[str] = field(default_factory=Counter)
    lots: dict[str, PlainLot] = field(default_factory=dict)  # by their ids
    cards: dict[str, Card] = field(default_factory=dict)
    jobs: dict[str, dict[str, int]] = field(default_factory=dict)  # what each still holds, by class
    cost: dict[str, dict[str, int]] = field(default_factory=dict)  # what a captured one has cost
    cost_lots: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    payers: dict[str, str] = field(default_factory=dict)
    debts: dict[str, list[tuple[str, int]]] = field(
        default_factory=dict
    )  # whose, for which card payment, the oldest first
    repaid: Counter[str] = field(default_factory=Counter)  # in sats, by card payment
    versions: Counter[str] = field(default_factory=Counter)  # of card payments' rows

    # ---- money in

    def top_up(self, who: str, msat: int) -> None:
        """Sats arrive, and pay a debt first."""
        self._move("node", who, msat)
        clears = min(msat, -self.has[f"{who}:owed"])
        self._move(who, f"{who}:owed", clears)
        self._repays(who, clears, sats=clears)

    def owes(self, who: str, msat: int) -> None:
        """A referral of theirs is taken back, when they have nothing."""
        self._move(f"{who}:owed", "platform", msat)
        self._indebted(who, "", msat)

    def bonus(self, who: str, msat: int) -> None:
        """Promo is given."""
        self._move("promotions", f"{who}:promo", msat)

    def buy(self, who: str, msat: int, deposit: str, place: int) -> None:
        """Card money is bought, and pays a debt first."""
        self.cards[deposit] = Card(who, place, msat)
        self.versions[deposit] = 1
        self._move("receivable", f"{who}:card", msat)
        clears = min(msat, -self.has[f"{who}:owed"])
        self._move(f"{who}:card", f"{who}:owed", clears)
        self._repays(who, clears)
        self._lot(f"card/{deposit}", f"{who}:card", deposit, msat - clears)

    # ---- jobs

    def draws(self, who: str, price: int, promo_most: int) -> dict[str, int] | None:
        """What a job takes: promo, then card, then sats; nothing from who owes or has too little."""
        promo = min(self.has[f"{who}:promo"], promo_most, price)
        card = min(self.has[f"{who}:card"], price - promo)
        sats = min(self.has[who], price - promo - card)
        fits = promo + card + sats == price and not self.has[f"{who}:owed"]
        return {"promo": promo, "card": card, "sats": sats} if fits else None

    def hold(self, who: str, mix: dict[str, int], job: str) -> None:
        """Money goes into the escrow, class by class, the oldest card payment first."""
        self.jobs[job], self.payers[job] = dict(mix), who
        for cls, msat in mix.items():
            self._move(_of(who, cls), _of(f"hold:{job}", cls), msat)
        for number, (deposit, msat) in enumerate(self._takes(f"{who}:card", mix["card"])):
            self._lot(f"job/{job}/hold/{number}", f"hold:{job}:card", deposit, msat)

    def release(self, job: str) -> None:
        """Everything goes back."""
        self._back(job, self.jobs.pop(job), "release")

    def capture(self, job: str, parts: list[tuple[str, int]]) -> None:
        """Promo pays the platform, card the platform first and then everybody pro rata, sats the rest."""
        held, payer = self.jobs.pop(job), self.payers[job]
        charge = sum(msat for _, msat in parts)
        platform = sum(msat for name, msat in parts if name == "platform")
        used = {"promo": min(held["promo"], platform, charge)}
        used["card"] = min(held["card"], charge - used["promo"])
        used["sats"] = charge - used["promo"] - used["card"]
        promo_left, card_left = used["promo"], min(used["card"], platform - used["promo"])
        spread = _spread(parts, used["card"] - card_left)
        pieces = self._takes(f"hold:{job}:card", held["card"])
        ours: list[tuple[str, int]] = []
        heaps: list[tuple[str, int]] = []
        for name, msat in parts:
            if name == "platform":
                promo = min(promo_left, msat)
                card = min(card_left, msat - promo)
                promo_left, card_left = promo_left - promo, card_left - card
                self._move(f"hold:{job}:promo", "platform:promo", promo)
                self._move(f"hold:{job}:card", "platform:card", card)
                ours.append(("platform:card", card))
            else:
                card = min(spread[name], msat)
                spread[name] -= card
                to = f"{name}:{'card' if name == payer else 'maturing'}"
                self._move(f"hold:{job}:card", to, card)
                heaps.append((to, card))
                promo = 0
            self._move(f"hold:{job}", name, msat - promo - card)
        number = 0
        for account, msat in (*ours, *heaps):
            for deposit, part in _cut(pieces, msat):
                if account != "platform:card":
                    lot = f"job/{job}/capture/{number}"
                    self._lot(lot, account, deposit, part, earned=account.endswith(":maturing"))
                    number += 1
        self.cost[job] = used
        unused = {cls: held[cls] - used[cls] for cls in CLASSES}
        self._given_back(job, unused, pieces, "unused")
        self.cost_lots[job] = self._cost_of(job)

    def refund(self, job: str) -> None:
        """The platform gives back what the job has cost, each class as it was."""
        used = self.cost.pop(job)
        for cls in CLASSES:
            self._move(_of("platform", cls), _of(self.payers[job], cls), used[cls])
        for number, (deposit, msat) in enumerate(self.cost_lots[job]):
            self._lot(f"job/{job}/refund/{number}", f"{self.payers[job]}:card", deposit, msat)

    def _cost_of(self, job: str) -> list[tuple[str, int]]:
        held: Counter[str] = Counter()
        for lot_id, lot in self._made.items():
            if lot_id.startswith(f"job/{job}/hold/"):
                held[lot[0]] += lot[1]
            elif lot_id.startswith(f"job/{job}/unused/"):
                held[lot[0]] -= lot[1]
        return [(deposit, msat) for deposit, msat in sorted(held.items(), key=self._age) if msat]

    def _back(self, job: str, held: dict[str, int], step: str) -> None:
        self._given_back(job, held, self._takes(f"hold:{job}:card", held["card"]), step)

    def _given_back(self, job: str, mix: dict[str, int], pieces: list[tuple[str, int]], step: str) -> None:
        for cls in CLASSES:
            self._move(_of(f"hold:{job}", cls), _of(self.payers[job], cls), mix[cls])
        for number, (deposit, msat) in enumerate(pieces):
            self._lot(f"job/{job}/{step}/{number}", f"{self.payers[job]}:card", deposit, msat)

    # ---- disputes

    def dispute(self, deposit: str, msat: int) -> None:
        """The card company takes it, or more of it: from card money, then from what matures; the rest is owed."""
        card = self.cards[deposit]
        left = self._takes_back(deposit, msat - card.disputed, lambda: "receivable")
        card.state, card.disputed = "disputed", msat
        self._move(f"{card.payer}:owed", "receivable", left)
        self._indebted(card.payer, deposit, left)
        self.versions[deposit] += 1

    def lose(self, deposit: str) -> None:
        """It stays taken."""
        self.cards[deposit].state = "lost"
        self.versions[deposit] += 1

    def loss_of(self, deposit: str) -> int:
        """What could be written off."""
        card = self.cards[deposit]
        return min(-self.has[f"{card.payer}:owed"], card.disputed - self._taken(deposit) - card.written_off)

    def write_off(self, deposit: str) -> None:
        """What is owed for it is lost."""
        card, loss = self.cards[deposit], self.loss_of(deposit)
        self._move("losses", f"{card.payer}:owed", loss)
        self._settles(deposit, loss)
        card.state, card.written_off = "lost", card.written_off + loss
        self.versions[deposit] += 1

    def collectable(self, deposit: str) -> tuple[int, int]:
        """How much of a debt, and of what was written off, its lots can pay now."""
        card = self.cards[deposit]
        may_take = card.disputed - self._taken(deposit)
        there = sum(lot.msat for lot in self.lots.values() if lot.deposit == deposit and "hold:" not in lot.account)
        debt = min(-self.has[f"{card.payer}:owed"], may_take, there)
        return debt, min(card.written_off, may_take - debt, there - debt)

    def collect(self, deposit: str) -> None:
        """What has come back pays the debt, then the loss."""
        card = self.cards[deposit]
        debt, loss = self.collectable(deposit)
        self._takes_back(deposit, debt, lambda: f"{card.payer}:owed")
        self._settles(deposit, debt)
        self._takes_back(deposit, loss, lambda: "losses")
        card.written_off -= loss
        self.versions[deposit] += loss > 0

    def win(self, deposit: str, still: int = 0) -> None:
        """What is not disputed any more goes back: off the debt, off the loss, in sats, as card money; then to lots."""
        card = self.cards[deposit]
        payer, back = card.payer, card.disputed - still
        left = min(back, card.disputed - self._taken(deposit))
        for lot in sorted(self._lots_of(deposit), key=lambda one: one[:2], reverse=True):
            part = min(lot[2].taken, back - left)
            self._move("receivable", lot[2].account, part)
            lot[2].msat, lot[2].taken, back = lot[2].msat + part, lot[2].taken - part, back - part
        debt = min(left, -self.has[f"{payer}:owed"])
        self._move("receivable", f"{payer}:owed", debt)
        self._settles(deposit, debt)
        loss = min(left - debt, card.written_off)
        self._move("receivable", "losses", loss)
        sats = min(left - debt - loss, self.repaid[deposit])
        self._move("receivable", payer, sats)
        self.repaid[deposit] -= sats
        rest = left - debt - loss - sats
        self._move("receivable", f"{payer}:card", rest)
        self._lot(f"card/{deposit}/won/{self.versions[deposit]}", f"{payer}:card", deposit, rest)
        card.state, card.written_off = card.state if still else "good", card.written_off - loss if still else 0
        card.disputed = still
        self.versions[deposit] += 1

    # ---- earnings mature

    def due(self) -> str | None:
        """The first lot that the node's funds cover."""
        funds = -self.has["node"]
        owed = sum(msat for name, msat in self.has.items() if ":" not in name and name not in OURS)
        owed += sum(msat for name, msat in self.has.items() if name.startswith("hold:") and name.count(":") == 1)
        for lot_id, lot in sorted(self.lots.items()):
            ready = lot.earned and self.cards[lot.deposit].state != "disputed"
            if ready and 0 < lot.msat <= funds - owed:
                return lot_id
        return None

    def mature(self, lot_id: str) -> None:
        """It becomes sats."""
        lot = self.lots[lot_id]
        self._move(lot.account, lot.account.split(":")[0], lot.msat)
        lot.msat = 0

    # ---- the small print

    _made: dict[str, tuple[str, int]] = field(default_factory=dict)

    def _move(self, debit: str, credit: str, msat: int) -> None:
        assert msat >= 0, (debit, credit, msat)
        self.has[debit] -= msat
        self.has[credit] += msat

    def _indebted(self, who: str, deposit: str, msat: int) -> None:
        self.debts.setdefault(who, []).append((deposit, msat))

    def _settles(self, deposit: str, msat: int) -> None:
        """What belongs to one card payment pays its debt; beyond that it stands in for sats, which pay the others."""
        who, own, others = self.cards[deposit].payer, msat, list[tuple[str, int]]()
        for name, left in self.debts.get(who, []):
            part = min(left, own) if name == deposit else 0
            own -= part
            others.append((name, left - part))
        self.debts[who] = others
        sats = min(own, self.repaid[deposit])
        self.repaid[deposit] -= sats
        self._repays(who, own, sats=sats)

    def _repays(self, who: str, msat: int, *, sats: int = 0) -> None:
        """The oldest debt is paid first; the first `sats` of it are sats."""
        while msat:
            deposit, left = self.debts[who].pop(0)
            part = min(left, msat)
            in_sats = min(part, sats)
            self.repaid[deposit] += in_sats
            msat, sats = msat - part, sats - in_sats
            if part < left:
                self.debts[who].insert(0, (deposit, left - part))

    def _lots_of(self, deposit: str) -> list[tuple[bool, str, PlainLot]]:
        return [(lot.earned, lot_id, lot) for lot_id, lot in self.lots.items() if lot.deposit == deposit]

    def _lot(self, lot_id: str, account: str, deposit: str, msat: int, *, earned: bool = False) -> None:
        if msat:
            self.lots[lot_id] = PlainLot(account, deposit, msat, earned=earned)
            self._made[lot_id] = deposit, msat

    def _age(self, one: tuple[str, int]) -> tuple[int, str]:
        return self.cards[one[0]].place, one[0]

    def _takes(self, account: str, msat: int) -> list[tuple[str, int]]:
        """Take so much out of an account's lots, the oldest payment first; return how much of each payment."""
        mine = [(self.cards[lot.deposit].place, lot_id) for lot_id, lot in self.lots.items() if lot.account == account]
        taken: Counter[str] = Counter()
        for _, lot_id in sorted(mine):
            lot = self.lots[lot_id]
            part = min(lot.msat, msat)
            lot.msat, msat = lot.msat - part, msat - part
            taken[lot.deposit] += part
        assert not msat, f"{account} lacks {msat} in its lots"
        return [(deposit, part) for deposit, part in sorted(taken.items(), key=self._age) if part]

    def _takes_back(self, deposit: str, msat: int, to: Callable[[], str]) -> int:
        """Take so much of one payment's lots, card money before what matures; return what is missing."""
        mine = [(lot.earned, lot_id) for lot_id, lot in self.lots.items() if lot.deposit == deposit]
        for _, lot_id in sorted(mine):
            lot = self.lots[lot_id]
            part = 0 if lot.account.startswith("hold:") else min(lot.msat, msat)
            self._move(lot.account, to(), part)
            lot.msat, lot.taken, msat = lot.msat - part, lot.taken + part, msat - part
        return msat

    def _taken(self, deposit: str) -> int:
        return sum(lot.taken for lot in self.lots.values() if lot.deposit == deposit)


OURS = frozenset({"node", "receivable", "platform", "promotions", "losses"})


def _of(who: str, cls: str) -> str:
    return who if cls == "sats" else f"{who}:{cls}"


def _spread(parts: list[tuple[str, int]], card: int) -> Counter[str]:
    """Spread card money over who earns, pro rata; a msat that rounding leaves goes to who lost most, then by key."""
    from tests.book.stores import person  # noqa: PLC0415  keys decide between equals

    earned: Counter[str] = Counter()
    for name, msat in parts:
        if name != "platform":
            earned[name] += msat
    whole = sum(earned.values())
    if not card:
        return Counter()
    found = Counter({name: msat * card // whole for name, msat in earned.items()})
    lost_most = sorted(earned, key=lambda name: (-(earned[name] * card % whole), person(name)))
    for name in lost_most[: card - sum(found.values())]:
        found[name] += 1
    return found


def _cut(pieces: list[tuple[str, int]], msat: int) -> list[tuple[str, int]]:
    """Cut so much off the front of `pieces`."""
    found = []
    while msat:
        deposit, there = pieces.pop(0)
        part = min(there, msat)
        found.append((deposit, part))
        msat -= part
        if part < there:
            pieces.insert(0, (deposit, there - part))
    return found
