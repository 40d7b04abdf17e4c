"""Deposits on the chain: when one counts, what it moves, and what happens if the chain takes it back. Pure.

A deposit is one output that pays an address of one of our users. It is credited when it lies
deep enough for all that would fall with it: what its block pays us, and what younger and
older blocks have brought that one reorganisation could take back with it. So nobody gets the
few confirmations of many small outputs for a large sum. It is watched until nothing can undo it any more:
if the chain is as long as it was and the deposit is in no block of it, the credit is
reversed; what is spent already is owed. Should it come back, it counts again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wallet.accounts import FEES, NODE_ONCHAIN, Account
from wallet.deposits import plan_deposit_reversed
from wallet.ledger import Journal, Transfer, Value
from wallet.money import Msat
from wallet.states import CoinState, CoinStep


@dataclass(frozen=True, slots=True)
class DepositRules:
    """The operator's rules (`onchain:`)."""

    confirmations: tuple[tuple[Msat, int], ...]  # from which sum on how many; rising, the first from 0
    minimum_msat: Msat  # less is not credited: to spend it later costs more than it brings
    fee_msat: Msat  # taken off each deposit
    watch_blocks: int  # so deep nothing is undone any more
    dust_msat: int = 0  # less is booked, and nobody is told: whoever sprays it would make us write

    def needed(self, sum_msat: int) -> int:
        """Return how many confirmations `sum_msat` alone needs."""
        return max(count for least, count in self.confirmations if sum_msat >= least)

    @property
    def deepest(self) -> int:
        """Return how many confirmations are enough for any sum."""
        return self.confirmations[-1][1]


@dataclass(slots=True)
class Received:
    """What one block pays to our users, and how much of it is credited already."""

    msat: int = 0
    credited_msat: int = 0


def confirmations(blocks: Mapping[int, Received], *, tip: int, rules: DepositRules) -> dict[int, int]:
    """Return how many confirmations each block, by its height, needs before what it pays is credited.

    A reorganisation of fewer blocks than a sum needs must never be able to take that sum back.
    So whatever is credited, or is about to be, and lies less deep than a step's count must stay
    below that step's sum; the older comes first.
    """
    counts: dict[int, int] = {}
    shallow = {height for height in blocks if tip - height + 1 < rules.deepest}
    at_risk = {height: blocks[height].credited_msat for height in shallow}
    for height in sorted(blocks):
        others = [(at, msat) for at, msat in at_risk.items() if at != height]
        counts[height] = max(
            count
            for least, count in rules.confirmations
            if blocks[height].msat + sum(msat for at, msat in others if tip - at + 1 < count) >= least
        )
        if height in shallow and tip - height + 1 >= counts[height]:
            at_risk[height] = blocks[height].msat
    return counts


@dataclass(frozen=True, slots=True)
class Deposit:
    """One deposit, as it stands in the table `deposits`."""

    id: str  # <txid>:<vout>
    version: int
    owner: str
    address: str
    amount_msat: Msat
    fee_msat: Msat  # of the last time it was credited
    state: CoinState
    height: int  # of the block it was last seen in
    needs: int  # confirmations
    created_at: int
    company: str = ""  # that is credited instead of its owner

    @classmethod
    def of_row(cls, row: Mapping[str, Value]) -> Deposit:
        """Return the deposit of a row."""
        found = cls(**{name: row[name] for name in cls.__slots__})  # type: ignore[arg-type]  # the table has these types
        return replace(found, state=CoinState(row["state"]))

    @property
    def cause(self) -> str:
        """Return the cause of what it moves: it names the transaction, which the node's books know, too."""
        txid, _, vout = self.id.partition(":")
        return f"deposit/{txid}/{vout}"

    def depth(self, tip: int) -> int:
        """Return how many blocks confirm it, its own included, if the chain ends at `tip`."""
        return max(0, tip - self.height + 1)


def next_step(deposit: Deposit, *, in_chain: bool, tip: int, is_whole: bool, rules: DepositRules) -> CoinStep | None:
    """Return what happens to a deposit now; None if nothing does.

    `is_whole` says that the chain is as long as it ever was: while a reorganisation is
    under way, blocks are only missing.
    """
    step: CoinStep | None = None
    match deposit.state:
        case CoinState.PENDING if in_chain:
            if deposit.depth(tip) >= deposit.needs:
                step = CoinStep.CREDIT if deposit.amount_msat >= rules.minimum_msat else CoinStep.KEEP
        case CoinState.PENDING:
            step = CoinStep.LOSE if is_whole else None
        case CoinState.CREDITED | CoinState.KEPT if in_chain:
            step = CoinStep.BURY if deposit.depth(tip) > rules.watch_blocks else None
        case CoinState.CREDITED | CoinState.KEPT:
            step = CoinStep.REVERSE if is_whole else None
        case CoinState.LOST | CoinState.REVERSED:
            step = CoinStep.RETURN if in_chain else None
        case CoinState.BURIED:  # pragma: no branch  (the type checker knows no other)
            pass
    return step


def plan_fee(fee_msat: Msat) -> Journal:
    """Book what is taken off a deposit."""
    return Journal(_moves(NODE_ONCHAIN, FEES, fee_msat, "deposit fee"))


def plan_kept(deposit: Deposit) -> Journal:
    """Book a deposit below the minimum: it is nobody's balance."""
    return Journal(_moves(NODE_ONCHAIN, FEES, deposit.amount_msat, "below the minimum"))


def plan_reversed(deposit: Deposit, *, has_msat: Msat) -> Journal:
    """Take a credited deposit back, its fee included: what is left of it, and what is spent as a debt."""
    arrived = Msat(deposit.amount_msat - deposit.fee_msat)
    return plan_fee_reversed(deposit) + plan_deposit_reversed(NODE_ONCHAIN, deposit.owner, arrived, has_msat)


def plan_fee_reversed(deposit: Deposit) -> Journal:
    """Give back what was taken off a deposit that the chain has taken back."""
    return Journal(_moves(FEES, NODE_ONCHAIN, deposit.fee_msat, "deposit reversed"))


def plan_unkept(deposit: Deposit) -> Journal:
    """Take back what was booked of a deposit below the minimum."""
    return Journal(_moves(FEES, NODE_ONCHAIN, deposit.amount_msat, "deposit reversed"))


def _moves(debit: Account, credit: Account, amount: Msat, reason: str) -> tuple[Transfer, ...]:
    return (Transfer(debit, credit, amount, reason),) if amount else ()
