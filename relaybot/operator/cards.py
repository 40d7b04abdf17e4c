"""Card payments by hand: what a card company's record says, told by the operator; and bonuses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from handlers import cards
from handlers.cards import CardPayment, DisputeState
from relaybot.config import Config
from relaybot.keyring import Keyring
from relaybot.nostr import nip19
from relaybot.operator.opening import Answer, decide, opened, opened_bot
from wallet.accounts import Owner
from wallet.book import transfers_of
from wallet.money import Msat

_PAYMENTS = """
SELECT id, pubkey, account, amount_msat, state, disputed_msat, written_off_msat, created_at,
       (SELECT COALESCE(SUM(amount_msat), 0) FROM lots WHERE deposit = card_deposits.id) AS left_msat
FROM card_deposits ORDER BY created_at DESC, id LIMIT :limit
"""
_LOTS = """
SELECT lots.id, lots.account, lots.deposit, state AS payment, lots.amount_msat, matures_at
FROM lots JOIN card_deposits ON card_deposits.id = lots.deposit
WHERE lots.amount_msat > 0 AND matures_at IS NOT NULL ORDER BY matures_at, lots.id LIMIT :limit
"""


async def list_payments(config: Config, limit: int) -> Sequence[Answer]:
    """Return the newest card payments, each with what is left of it in lots, wherever they are."""
    async with opened(config) as book:
        rows = await book.database.fetch(_PAYMENTS, limit=limit)
    return [{**row, "pubkey": nip19.encode_npub(row["pubkey"])} for row in rows]


async def list_lots(config: Config, limit: int) -> Sequence[Answer]:
    """Return what was earned from card money and is not sats yet, the first to mature first."""
    async with opened(config) as book:
        return [dict(row) for row in await book.database.fetch(_LOTS, limit=limit)]


async def credit(config: Config, keyring: Keyring, payment: CardPayment) -> Answer:
    """Credit a card payment, once."""
    async with opened_bot(config, keyring) as bot:
        taken = await decide(bot, partial(cards.plan_card_bought, bot, payment))
        booked = await transfers_of(bot.book.database, f"card/{payment.id}/bought")
    return {"id": payment.id, **taken, "to": [f"{row['credit']}: {row['amount_msat']} msat" for row in booked]}


async def dispute(
    config: Config, keyring: Keyring, payment_id: str, seen: DisputeState, amount: Msat | None = None
) -> Answer:
    """Say how a dispute of a card payment stands; what it takes or gives back is booked."""
    async with opened_bot(config, keyring) as bot:
        state = await cards.follow_dispute(bot, payment_id, seen, amount)
        row = await bot.book.row("card_deposits", payment_id)
    assert row is not None, f"{payment_id} was there"
    return {"id": payment_id, "state": state.value, "disputed_msat": row["disputed_msat"]}


async def write_off(config: Config, keyring: Keyring, payment_id: str) -> Answer:
    """Give up what is owed for a disputed card payment. Rejected if nothing is."""
    async with opened_bot(config, keyring) as bot:
        await decide(bot, partial(cards.plan_written_off, bot, payment_id))
        row = await bot.book.row("card_deposits", payment_id)
    assert row is not None, f"{payment_id} was there"
    return {"id": payment_id, "state": row["state"], "written_off_msat": row["written_off_msat"]}


async def settle(config: Config, keyring: Keyring, settlement_id: str, *, gross: int, fee: Msat, bank: int) -> Answer:
    """Book what the card company has paid out to the bank, once for each of its ids."""
    async with opened_bot(config, keyring) as bot:
        plan = partial(cards.plan_card_settled, settlement_id, gross_msat=gross, fee_msat=fee, bank_msat=bank)
        taken = await decide(bot, plan)
        booked = await transfers_of(bot.book.database, f"settlement/{settlement_id}/booked")
    moved = [f"{row['debit']} to {row['credit']}: {row['amount_msat']} msat, {row['reason']}" for row in booked]
    return {"id": settlement_id, **taken, "booked": moved}


async def give_bonus(config: Config, keyring: Keyring, to: Owner, amount: Msat, name: str) -> Answer:
    """Give promo money, once to each owner under each name."""
    async with opened_bot(config, keyring) as bot:
        taken = await decide(bot, partial(cards.plan_bonus_given, bot, to, amount, name))
        booked = await transfers_of(bot.book.database, f"bonus/{name}/{to}")
    return {"to": to, "name": name, **taken, "given_msat": sum(row["amount_msat"] for row in booked)}
