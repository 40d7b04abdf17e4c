"""Referrals: both sides, once, in no circle, early; within limits, out of sats, and taken back with a refund."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers import refunds
from handlers.credits import require_no_debt
from tests.book.stores import Store
from tests.companies.office import NPUBS, PEOPLE, PRICE, Office, an_office, config, together
from wallet.accounts import NODE_LIGHTNING, PROMOTIONS, REVENUE, Class, company, of, owed, person, user
from wallet.deposits import CardDeposit, Debt, plan_bought
from wallet.journals import plan_bonus
from wallet.ledger import Plan, Transfer, Verdict
from wallet.money import Msat, from_sat
from wallet.states import DepositState

REFERRAL = from_sat(120)


async def _a_paid_job(office: Office, name: str = "mia", org: str | None = None) -> str:
    job = await office.ask(name, org)
    await office.deliver(job)
    return job


async def _refunded(office: Office, job: str) -> None:
    answer = await office.book.decide(lambda: refunds.plan_refunded(office.bot, job))
    assert answer.done


async def test_both_sides_are_paid_and_the_worked_example_stays_exact(office: Office) -> None:
    await office.fund("mia", 12_000)
    assert "Thank you" in await office.say("mia", f"refer {NPUBS['frank']}")
    assert "Thank you" in await office.say("alice", f"refer {NPUBS['eve']}")
    await _a_paid_job(office)
    assert [await office.has(name) for name in ("alice", "carol", "frank", "eve", "mia")] == [
        from_sat(sat) for sat in (2_000, 1_000, 120, 120, 0)
    ]
    assert await office.book.balance(REVENUE[Class.SATS]) == from_sat(8_760)
    assert await _earned(office, "frank") == REFERRAL
    await office.sound()


async def test_a_referrer_is_named_once_early_and_not_oneself(office: Office) -> None:
    assert "circle" in await office.say("mia", f"refer {NPUBS['mia']}")
    await office.fund("mia", 1)
    office.clock.advance(7 * 86_400)
    assert "Thank you" in await office.say("mia", f"refer {NPUBS['frank']}")
    assert "already" in await office.say("mia", f"refer {NPUBS['eve']}")
    await office.fund("max", 1)
    office.clock.advance(7 * 86_400 + 1)
    assert "within 7 days" in await office.say("max", f"refer {NPUBS['frank']}")
    assert "Thank you" in await office.say("eve", f"refer {NPUBS['frank']}")  # never funded


async def test_a_circle_is_not_closed_by_several_at_once_in_two_processes(
    office: Office, store: Store, tmp_path: Path
) -> None:
    ring = ["mia", "max", "eve", "frank"]
    async with an_office(store, config(tmp_path), office.clock) as elsewhere:
        said = await together(
            *(
                (office, elsewhere)[n % 2].say(name, f"refer {NPUBS[ring[(n + 1) % len(ring)]]}")
                for n, name in enumerate(ring)
            )
        )
    assert sum("Thank you" in one for one in said) == 3
    assert sum("circle" in one for one in said) == 1


@pytest.mark.parametrize("limit", [{"charge_max": "100 sat"}, {"charge_max": "200 sat"}])
async def test_a_charge_brings_a_referrer_no_more_than_its_limit_however_they_earned_it(
    store: Store, tmp_path: Path, limit: dict[str, str]
) -> None:
    async with an_office(store, config(tmp_path, referrals=limit)) as office:
        await office.fund("mia", 12_000)
        for name in ("mia", "alice"):  # the same referrer on both sides
            await office.say(name, f"refer {NPUBS['frank']}")
        await _a_paid_job(office)
        most = from_sat(int(limit["charge_max"].split()[0]))
        assert await office.has("frank") == most
        assert await office.book.balance(REVENUE[Class.SATS]) == from_sat(9_000) - most
        await office.sound()


async def test_a_months_limit_holds_for_charges_at_once_in_two_processes(store: Store, tmp_path: Path) -> None:
    settings = config(tmp_path, referrals={"month_max": "400 sat", "charge_max": "400 sat"})
    async with an_office(store, settings) as office, an_office(store, settings, office.clock) as elsewhere:
        await office.fund("mia", 72_000)
        await office.say("mia", f"refer {NPUBS['frank']}")
        children = [await office.assigned(await office.ask("mia", None)) for _ in range(6)]
        await together(*((office, elsewhere)[n % 2].result(child) for n, child in enumerate(children)))
        assert await office.has("frank") == await _earned(office, "frank") == from_sat(400)
        office.clock.advance(31 * 86_400)
        await office.fund("mia", 12_000)
        await _a_paid_job(office)
        assert await office.has("frank") == from_sat(520)
        assert await _earned(office, "frank", 202612) == REFERRAL
        await office.sound()


async def test_referrals_are_paid_out_of_sats_only(office: Office) -> None:
    await office.say("mia", f"refer {NPUBS['frank']}")
    gift = plan_bonus(person(PEOPLE["mia"]), from_sat(20_000), "bonus")
    assert (await office.book.apply(gift.plan("test/bonus"))).done
    await office.fund("mia", 3_240)  # two contributors, and two referrers: promo pays the platform's own part
    await _a_paid_job(office)
    assert (await office.has("frank"), await office.has("frank", Class.PROMO)) == (REFERRAL, 0)
    paid = CardDeposit("d1", 0, user(PEOPLE["mia"], Class.CARD), PEOPLE["mia"], PRICE, DepositState.GOOD, Msat(0), 1)
    assert (await office.book.apply(plan_bought(paid, Debt(Msat(0))).plan("card/d1/bought"))).done
    assert (await office.book.apply(Plan("test/no-promo", (_all_promo(await office.has("mia", Class.PROMO)),)))).done
    await _a_paid_job(office)  # by card alone
    assert await office.has("frank") == await _earned(office, "frank") == REFERRAL
    await office.sound()


def _all_promo(msat: int) -> Transfer:
    return Transfer(user(PEOPLE["mia"], Class.PROMO), PROMOTIONS, Msat(msat), "bonus taken back")


async def test_a_refund_takes_referrals_back_and_what_is_spent_is_owed(office: Office) -> None:
    await office.fund("mia", 24_000)
    await office.say("mia", f"refer {NPUBS['frank']}")
    await office.say("alice", f"refer {NPUBS['eve']}")
    kept, job = await _a_paid_job(office), await _a_paid_job(office)
    await _spent(office, "eve", from_sat(200))
    revenue = await office.book.balance(REVENUE[Class.SATS])
    owes_nothing = await require_no_debt(office.bot, PEOPLE["eve"])
    await _refunded(office, job)
    await _refunded(office, job)
    late = Plan("test/leaves", changes=(owes_nothing,))
    assert (await office.book.apply(late)).verdict is Verdict.CONFLICT, "what was about to leave is decided again"
    assert await office.has("mia") == PRICE
    assert (await office.has("frank"), await office.has("eve")) == (REFERRAL, 0)
    assert await office.book.balance(owed(PEOPLE["eve"])) == -from_sat(80)
    assert await office.book.balance(REVENUE[Class.SATS]) == revenue - PRICE + 2 * REFERRAL
    assert (await office.has("alice"), await office.has("carol")) == (from_sat(4_000), from_sat(2_000))
    assert await _earned(office, "frank") == await _earned(office, "eve") == REFERRAL
    await _refunded(office, kept)
    assert await office.book.balance(owed(PEOPLE["eve"])) == -from_sat(200)
    assert await _earned(office, "frank") == 0
    await office.sound()


async def test_a_customer_who_referred_the_contributor_gives_back_out_of_the_refund(office: Office) -> None:
    await office.fund("mia", 12_000)
    await office.say("alice", f"refer {NPUBS['mia']}")
    job = await _a_paid_job(office)
    await _spent(office, "mia", REFERRAL)
    await _refunded(office, job)
    assert await office.has("mia") == PRICE - REFERRAL
    assert await office.book.balance(owed(PEOPLE["mia"])) == 0
    await office.sound()


async def test_a_company_was_referred_by_whoever_referred_its_founder_and_nobody_earns_with_their_own(
    office: Office,
) -> None:
    await office.say("olga", f"refer {NPUBS['frank']}")
    await office.say("mia", f"refer {NPUBS['eve']}")  # a member's referrer has brought no money
    await office.founded(100_000, "mia")
    await _a_paid_job(office, "mia", "acme")
    assert (await office.has("frank"), await office.has("eve")) == (REFERRAL, 0)
    await office.say("olga", f"org add {NPUBS['frank']}")
    await office.say("frank", "org accept acme")
    await _a_paid_job(office, "mia", "acme")
    assert await office.has("frank") == REFERRAL  # it is his own company now
    assert "window" not in await office.say("olga", f"org owner {NPUBS['mia']} confirm")
    await _a_paid_job(office, "mia", "acme")
    assert await office.has("eve") == 0  # who founded it counts, in whosever hands it is
    await office.sound()


async def test_to_fund_a_company_is_to_be_funded(office: Office) -> None:
    await office.founded(1)
    office.clock.advance(8 * 86_400)
    assert "within 7 days" in await office.say("olga", f"refer {NPUBS['frank']}")
    assert await office.book.balance(of(company("acme"))) == from_sat(1)


async def _earned(office: Office, name: str, month: int = 202611) -> int:
    row = await office.book.row("tallies", f"referral/{PEOPLE[name]}/{month}")
    return int(row["msat"]) if row is not None else 0


async def _spent(office: Office, name: str, msat: int) -> None:
    spent = Transfer(user(PEOPLE[name]), NODE_LIGHTNING, Msat(msat), "payout")
    assert (await office.book.apply(Plan(f"test/spent/{name}/{msat}", (spent,)))).done
