"""Attack H1 in the book: whatever is captured among whomever, the shares are the charge, on each database."""

from __future__ import annotations

from random import Random

from splits.compute import compute
from tests.book.names import owner_of
from tests.book.scenario import Scenario
from tests.book.stores import broken, person, sats_of
from tests.splits.written import agent, resolved
from wallet.accounts import hold
from wallet.book import Book
from wallet.charges import Terms, plan_capture, plan_hold
from wallet.lots import Escrow, Mix, Purse
from wallet.money import Msat

BOB = sats_of("bob")


async def test_h1_whatever_is_captured_among_whomever_the_shares_are_the_charge_to_the_msat(book: Book) -> None:
    chance = Random(1)
    charged = 0
    await Scenario(book).play("top-up bob 100000 sat")
    for number in range(25):
        people = [f"p{n}" for n in range(chance.choice((1, 6, 7, 20)))]
        price = chance.choice((1, 6, 7, 999, 1_234_567))
        split = resolved(
            agent(*({"to": person(name), "percent": f"{90 // len(people)}%"} for name in people), price=f"{price} msat")
        )
        parts = compute(split, charge_msat=price, usage={}, worker=None, referrers={}, payer_referrer=None, now=0)
        cause, bob = f"job/{number}", owner_of("bob")
        mix = Mix(sats=Msat(price))
        assert (await book.apply(plan_hold(cause, Purse(bob), mix).plan(f"{cause}/hold"))).done
        captured = plan_capture(Escrow(cause, bob, mix), parts, Terms(0, frozenset()))
        assert (await book.apply(captured.plan(f"{cause}/capture"))).done
        assert await book.balance(hold(cause)) == 0
        charged += price
    earned = await book.database.fetch(
        "SELECT SUM(balance_msat) AS msat FROM accounts WHERE id LIKE :users AND id <> :bob OR id LIKE 'platform/%'",
        users="user/%",
        bob=BOB,
    )
    assert earned[0]["msat"] == charged
    assert await broken(book) == []
