"""Attacks on companies: G5 (card and promo through one), exits that are closed, bonuses in a circle, two at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.book.stores import Store
from tests.companies.office import NPUBS, PEOPLE, PRICE, Office, an_office, config, together
from wallet.accounts import CAPITAL, PROMOTIONS, REVENUE, Class, company, maturing, of, owed, user
from wallet.deposits import CardDeposit, Debt, plan_bought
from wallet.journals import plan_bonus
from wallet.ledger import Plan, Put, Transfer
from wallet.money import Msat, from_sat
from wallet.states import DepositState


async def _buys_by_card(office: Office, sat: int, buyer: str = "olga") -> None:
    account = of(company("acme"), Class.CARD)
    paid = CardDeposit("d1", 0, account, PEOPLE[buyer], from_sat(sat), DepositState.GOOD, Msat(0), 1)
    assert (await office.book.apply(plan_bought(paid, Debt(Msat(0))).plan("card/d1/bought"))).done


async def _closed(office: Office, name: str, state: str) -> None:
    row = Put("users", PEOPLE[name], {"withdrawals": state})
    count = (await office.book.database.fetch("SELECT COUNT(*) AS n FROM plans"))[0]["n"]
    assert (await office.book.apply(Plan(f"test/closed/{count}", changes=(row,)))).done


async def test_g5_a_companys_card_money_stays_card_money_with_all_who_ever_belonged_to_it(office: Office) -> None:
    await office.founded(0, "mia", "alice", "carol")
    await _buys_by_card(office, 24_000)
    first = await office.ask("mia")
    await office.say("olga", f"org remove {NPUBS['carol']}")  # before the node delivers
    await office.deliver(first)
    assert [await office.has(name) for name in ("alice", "carol")] == [0, 0]
    assert await office.has("alice", Class.CARD) == from_sat(2_000)
    assert await office.has("carol", Class.CARD) == from_sat(1_000)
    assert await office.book.balance(maturing(PEOPLE["carol"])) == 0
    await office.sound()


async def test_g5_a_companys_card_money_matures_with_others_and_never_leaves_with_its_owner(office: Office) -> None:
    await office.founded(0, "mia")
    await _buys_by_card(office, 24_000)
    await office.deliver(await office.ask("mia"))
    assert await office.book.balance(maturing(PEOPLE["alice"])) == from_sat(2_000)
    assert await office.has("alice") == 0
    assert "12,000 sat were bought by card" in await office.say("olga", "org dissolve confirm")
    assert await office.has("olga") == from_sat(1)
    await office.sound()


async def test_g5_what_was_paid_into_a_company_by_card_leaves_it_with_nobody(office: Office) -> None:
    await office.founded(0, "mia")
    await _buys_by_card(office, 24_000)
    await office.fund("mia", 1)
    await office.say("olga", f"org owner acme {NPUBS['mia']} confirm")
    assert "24,000 sat were bought by card" in await office.say("mia", "org dissolve confirm")
    assert [await office.has(name) for name in ("olga", "mia")] == [from_sat(1), from_sat(1)]
    assert await office.org(Class.CARD) == from_sat(24_000)
    await office.sound()


async def test_g5_promo_pays_the_platforms_part_only_whoever_owns_the_agent(store: Store, tmp_path: Path) -> None:
    agent = {"name": "Own", "kinds": [5050], "price": "12000 sat", "owner": "alice", "rest": "alice"}
    agent["shares"] = [{"to": "$platform", "percent": "10%"}]
    async with an_office(store, config(tmp_path, agents={"autodev": agent})) as office:
        await office.founded(0, "alice")
        gift = plan_bonus(company("acme"), from_sat(1_000_000), "bonus")
        assert (await office.book.apply(gift.plan("test/bonus"))).done
        assert await office.state(await office.ask("alice")) == ""
        await office.fund_company(10_800)
        await office.deliver(await office.ask("alice"))
        assert await office.has("alice") == from_sat(10_800)  # what was in sats before
        assert await office.book.balance(REVENUE[Class.PROMO]) == from_sat(1_200)
        await office.say("olga", "org dissolve confirm")
        assert await office.org(Class.PROMO) == 0
        assert await office.has("olga") == from_sat(1)
        await office.sound()


async def test_closed_withdrawals_of_the_owner_close_the_company_and_open_with_them(office: Office) -> None:
    await office.founded(50_000, "mia")
    await _closed(office, "olga", "closed")
    for said in ("dissolve", "dissolve confirm", f"owner {NPUBS['mia']} confirm"):
        assert "closed" in await office.say("olga", f"org {said}")
    assert (await office.org(), await office.has("olga")) == (from_sat(50_000), from_sat(1))
    assert await office.state(await office.ask("mia")) == "held"  # jobs stay open
    await _closed(office, "olga", "open")
    assert "owner of acme now" in await office.say("olga", f"org owner {NPUBS['mia']} confirm")
    await _closed(office, "olga", "closed")
    await office.fund("mia", 1)
    await office.release((await office.book.database.fetch("SELECT id FROM jobs"))[0]["id"])
    assert "50,000 sat are your balance" in await office.say("mia", "org dissolve confirm")


async def test_a_paused_service_pays_nothing_out_of_a_company(office: Office) -> None:
    await office.founded(50_000)
    paused = Put("pauses", "withdrawals", {"state": "paused", "reason": "a look at the books"})
    assert (await office.book.apply(Plan("test/paused", changes=(paused,)))).done
    assert "a look at the books" in await office.say("olga", "org dissolve confirm")
    assert await office.org() == from_sat(50_000)


async def test_the_company_of_somebody_who_owes_pays_nothing_and_cannot_be_left_behind(office: Office) -> None:
    await office.founded(50_000, "mia")
    debt = Transfer(owed(PEOPLE["olga"]), CAPITAL, from_sat(10), "deposit reversed")
    assert (await office.book.apply(Plan("test/debt", (debt,)))).done
    job = await office.ask("mia")
    assert await office.state(job) == ""
    assert any("its owner owes" in said for said in await office.heard("mia"))
    rows = await office.book.database.fetch("SELECT event FROM outbox WHERE event LIKE '%a private message says why%'")
    assert len(rows) == 1
    for said in ("dissolve confirm", f"owner {NPUBS['mia']} confirm"):
        assert "this account owes" in await office.say("olga", f"org {said}")
    await office.fund("olga", 10)
    assert await office.state(await office.ask("mia")) == "held"
    await office.sound()


async def test_no_circle_of_topping_up_and_leaving_gains_anything(office: Office) -> None:
    await office.fund("olga", 1)
    for number in range(3):
        await office.say("olga", f"org create acme-{number}")
        await office.fund_company(1_000_000, f"acme-{number}")
        await office.fund_company(100_000, f"acme-{number}")
        if number:  # what was spent of it stays spent, and its bonus earned
            await office.deliver(await office.ask("olga", f"acme-{number}"))
        await office.say("olga", f"org dissolve acme-{number} confirm")
    assert await office.book.balance(PROMOTIONS) >= 0
    assert await office.has("olga") <= from_sat(3 * 1_100_000 + 1)
    await office.sound()


async def test_a_company_ends_once_in_two_processes(office: Office, store: Store, tmp_path: Path) -> None:
    await office.founded(50_000)
    async with an_office(store, config(tmp_path), office.clock) as elsewhere:
        await together(*(one.say("olga", "org dissolve confirm") for one in (office, elsewhere, office)))
    assert (await office.org(), await office.has("olga")) == (0, from_sat(50_001))
    await office.sound()


async def test_a_company_ends_while_its_member_asks_for_a_job(office: Office, store: Store, tmp_path: Path) -> None:
    await office.founded(50_000, "mia")
    async with an_office(store, config(tmp_path), office.clock) as elsewhere:
        asked = office.request("mia")
        await together(elsewhere.say("olga", "org dissolve confirm"), office.decide_request(asked))
    state = await office.state(asked.id)
    assert state in {"", "held"}
    if state == "held":
        await office.release(asked.id)
        await office.say("olga", "org dissolve confirm")
    assert (await office.org(), await office.has("olga")) == (0, from_sat(50_001))
    await office.sound()


async def test_a_member_is_taken_out_while_they_ask(office: Office, store: Store, tmp_path: Path) -> None:
    await office.founded(50_000, "mia")
    async with an_office(store, config(tmp_path), office.clock) as elsewhere:
        asked = office.request("mia")
        await together(elsewhere.say("olga", f"org remove {NPUBS['mia']}"), office.decide_request(asked))
    assert await office.used("mia") == (PRICE if await office.state(asked.id) == "held" else 0)
    assert await office.state(await office.ask("mia")) == ""
    await office.sound()


@pytest.mark.parametrize("command", ["create acme2", "add {npub}", "limit 1", "budget {npub} none"])
async def test_a_message_that_is_seen_twice_is_done_once(office: Office, command: str) -> None:
    await office.founded(50_000, "mia")
    said, rumor = f"org {command.format(npub=NPUBS['max'])}", "0e" * 32
    first = await office.say("olga", said, rumor)
    assert await office.say("olga", said, rumor) == ""
    assert first
    assert await office.book.balance(user(PEOPLE["olga"])) == from_sat(1)
