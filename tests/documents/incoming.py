"""The acts of the story about bitcoin that comes in: on the chain, and from one of our users to another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from handlers.deposits import Deposits
from handlers.settlements import Settlements, cancel_paid, pay_internally
from tests.documents.cast import key_of
from wallet.accounts import user
from wallet.chain import Output, OutputState
from wallet.ledger import Plan, Transfer
from wallet.money import Msat

if TYPE_CHECKING:
    from tests.documents.play import _Story


async def play_deposits(story: _Story) -> None:
    """Eve deposits 50,000 sat on the chain, spends some, and the chain takes the deposit back."""
    await story._ask("eve", "topup 50000 onchain")
    address = await story._chain.new_address()
    story._chain.paid = [Output("ab" * 32, 0, address, Msat(50_000_000), OutputState.CONFIRMED, 100)]
    deposits = Deposits(story._bot)
    await deposits.look()
    await story._said()
    await story._note("deposit")
    spent = Transfer(user(key_of("eve").pubkey), user(key_of("heidi").pubkey), Msat(20_000_000), "internal")
    await story._bot.book.apply(Plan(f"dm/{'cd' * 32}", (spent,)))
    story._chain.paid = [replace(story._chain.paid[0], state=OutputState.UNCONFIRMED, height=None)]
    await deposits.look()
    await story._said()
    await story._note("deposit-reversed")
    rumor, wrap = story._wrapped("eve", "topup 30000")
    await story._hear("top-up of eve", wrap)
    story._node.settle(f"topup/{rumor.id}", 30_000_000)
    await Settlements(story._bot).follow()
    await story._said()
    await story._note("debt-paid")


async def play_internal_payment(story: _Story) -> None:
    """Heidi pays an invoice with which Grace tops up."""
    rumor, wrap = story._wrapped("grace", "topup 3000")
    await story._hear("top-up of grace", wrap)
    bolt11 = story._node.invoices[f"topup/{rumor.id}"].bolt11
    payment = await pay_internally(story._bot, key_of("heidi").pubkey, bolt11)
    assert payment is not None
    await story._bot.book.apply(payment.journal.plan(f"dm/{'ef' * 32}"))
    await cancel_paid(story._bot)
    await story._said()
    await story._note("internal")
