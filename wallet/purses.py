"""Reading what somebody has and what is held for a cause, by class, with the lots of the card money among it.

Balances and lots that are read here steer a decision; the decision's Plan guards them: each
lot by its version, each balance by its floor.
"""

from __future__ import annotations

from relaybot.db.database import Database, Reader
from wallet.accounts import CARD_RECEIVABLE, Account, Class, Owner, hold, of, owed, user
from wallet.book import on_accounts
from wallet.debts import debts_of
from wallet.deposits import CardDeposit, Debt
from wallet.lots import NOTHING, Escrow, Lot, Mix, Purse, card_account
from wallet.money import Msat

_LOTS = "SELECT * FROM lots WHERE account = :account AND amount_msat > 0 ORDER BY deposited_at, id"

_OF_DEBTS = f"""
SELECT seq, debit, credit, amount_msat, reason FROM transfers WHERE {on_accounts("owed")}
UNION ALL SELECT seq, debit, credit, amount_msat, reason FROM transfers
WHERE seq IN (SELECT seq FROM entries JOIN accounts ON accounts.number = credit WHERE accounts.id = :sats)
AND debit = :card ORDER BY seq
"""  # noqa: S608  our own names; sats from the card company are what a won dispute gave back, as nothing else is

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
        return deposit, lots, await debt_of(reader, deposit.pubkey, deposit=payment_id)


async def debt_of(reader: Reader, pubkey: str, *, deposit: str = "") -> Debt:
    """Return what a person owes us; for a card payment of theirs also how much of it for that, and what they paid."""
    balances = await _balances(reader, [owed(pubkey)])
    owes = Msat(max(NOTHING, -balances.get(owed(pubkey), 0)))
    if not deposit or owed(pubkey) not in balances:
        return Debt(owes)
    rows = await reader.fetch(_OF_DEBTS, owed=owed(pubkey), sats=user(pubkey), card=CARD_RECEIVABLE)
    debts = debts_of(pubkey, rows)
    return Debt(owes, Msat(debts.owed_for(deposit)), Msat(debts.in_sats[deposit]))


async def _balances(reader: Reader, accounts: list[Account]) -> dict[Account, Msat]:
    rows = await reader.rows_by_id("accounts", accounts)
    return {Account(account): Msat(row["balance_msat"]) for account, row in rows.items()}


def _mix(balances: dict[Account, Msat], accounts: dict[Class, Account]) -> Mix:
    return Mix(*(balances.get(accounts[cls], NOTHING) for cls in (Class.PROMO, Class.CARD, Class.SATS)))
