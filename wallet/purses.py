"""Reading what somebody has and what is held for a cause, by class, with the lots of the card money among it.

Balances and lots that are read here steer a decision; the decision's Plan guards them: each
lot by its version, each balance by its floor.
"""

from __future__ import annotations

from relaybot.db.database import Database, Reader
from wallet.accounts import CARD_RECEIVABLE, Account, Class, Owner, hold, of, owed, user
from wallet.deposits import CardDeposit, Debt
from wallet.lots import NOTHING, Escrow, Lot, Mix, Purse, card_account
from wallet.money import Msat

_LOTS = "SELECT * FROM lots WHERE account = :account AND amount_msat > 0 ORDER BY deposited_at, id"

_REPAID = """
SELECT COALESCE(SUM(CASE WHEN credit = :owed THEN amount_msat ELSE -amount_msat END), 0) AS repaid FROM transfers
WHERE ((credit = :owed AND debit = :sats) OR (credit = :sats AND debit = :card)) AND created_at >= :since
"""

_OF_DEPOSIT = (
    "SELECT * FROM lots WHERE deposit = :deposit AND account NOT LIKE 'hold/%'"
    " AND (amount_msat > 0 OR taken_msat > 0) ORDER BY id"
)
_NO_LOTS: tuple[Lot, ...] = ()


async def purse_of(database: Database, owner: Owner) -> Purse:
    """Return what `owner` has and owes."""
    accounts = {cls: of(owner, cls) for cls in Class}
    debts = owed(owner.removeprefix("user/"))  # a company owes nothing: who paid for it does
    balances = await _balances(database, [*accounts.values(), debts])
    mix, lots = _mix(balances, accounts), _NO_LOTS
    if mix.card:
        async with database.snapshot() as reader:
            mix = _mix(await _balances(reader, list(accounts.values())), accounts)
            lots = await lots_of(reader, card_account(owner))
    return Purse(owner, mix, lots, Msat(max(NOTHING, -balances.get(debts, 0))))


async def escrow_of(database: Database, cause: str, payer: Owner) -> Escrow:
    """Return what is held for `cause`."""
    accounts = {cls: hold(cause, cls) for cls in Class}
    held, lots = _mix(await _balances(database, list(accounts.values())), accounts), _NO_LOTS
    if held.card:
        async with database.snapshot() as reader:
            held = _mix(await _balances(reader, list(accounts.values())), accounts)
            lots = await lots_of(reader, accounts[Class.CARD])
    return Escrow(cause, payer, held, lots)


async def lots_of(reader: Reader, account: Account) -> tuple[Lot, ...]:
    """Return the lots of one account that are not used up, oldest deposit first."""
    return tuple(Lot.of_row(row) for row in await reader.fetch(_LOTS, account=account))


async def card_payment_of(database: Database, payment_id: str) -> tuple[CardDeposit, tuple[Lot, ...], Debt] | None:
    """Return a card payment, its lots outside of escrows, and what its payer owes; None if there is none of this id."""
    async with database.snapshot() as reader:
        row = (await reader.rows_by_id("card_deposits", [payment_id])).get(payment_id)
        if row is None:
            return None
        deposit = CardDeposit.of_row(row)
        lots = tuple(Lot.of_row(one) for one in await reader.fetch(_OF_DEPOSIT, deposit=payment_id))
        return deposit, lots, await debt_of(reader, deposit.pubkey, since=deposit.disputed_at)


async def debt_of(reader: Reader, pubkey: str, *, since: int = 0) -> Debt:
    """Return what a person owes us, and what they have paid on debts in sats, from the time `since` on."""
    balances = await _balances(reader, [owed(pubkey)])
    # What a won dispute has given back in sats comes from the card company, as nothing else does.
    rows = await reader.fetch(_REPAID, owed=owed(pubkey), sats=user(pubkey), card=CARD_RECEIVABLE, since=since)
    return Debt(Msat(max(NOTHING, -balances.get(owed(pubkey), 0))), Msat(rows[0]["repaid"]))


async def _balances(reader: Reader, accounts: list[Account]) -> dict[Account, Msat]:
    rows = await reader.rows_by_id("accounts", accounts)
    return {Account(account): Msat(row["balance_msat"]) for account, row in rows.items()}


def _mix(balances: dict[Account, Msat], accounts: dict[Class, Account]) -> Mix:
    return Mix(*(balances.get(accounts[cls], NOTHING) for cls in (Class.PROMO, Class.CARD, Class.SATS)))
