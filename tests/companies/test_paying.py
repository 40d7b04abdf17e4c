"""A company pays for its members' jobs: within budgets, and above a limit only with its owner's word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from handlers import assignments, company_approvals, refunds
from handlers.bot import new_user
from relaybot.clock import SetClock
from relaybot.nostr import nip90
from tests.book.stores import Store
from tests.companies.office import KEYS, NOW, NPUBS, PEOPLE, PRICE, Office, an_office, config, together
from wallet.accounts import REVENUE, Class
from wallet.ledger import Plan, Put
from wallet.money import from_sat


async def test_a_members_job_is_charged_to_the_company_and_what_is_not_charged_goes_back(office: Office) -> None:
    await office.founded(100_000, "mia", budget="30000/month")
    assert await office.org(Class.PROMO) == from_sat(5_000)  # for so much at once
    job = await office.ask("mia")
    assert await office.state(job) == "held"
    assert (await office.org(Class.PROMO), await office.org()) == (0, from_sat(93_000))
    assert await office.used("mia") == PRICE
    await office.deliver(job)
    assert (await office.has("alice"), await office.has("carol")) == (from_sat(2_000), from_sat(1_000))
    assert await office.book.balance(REVENUE[Class.PROMO]) == from_sat(5_000)
    ended = await office.ask("mia")
    await office.release(ended)
    assert await office.used("mia") == PRICE
    assert await office.org() == from_sat(93_000)
    assert await office.has("mia") == 0
    await office.sound()


async def test_a_node_is_not_told_who_pays(office: Office) -> None:
    await office.founded(100_000, "mia")
    child = await office.assigned(await office.ask("mia"))
    assert nip90.parse_job_request(child, KEYS["carol"]).params == ()


async def test_a_budget_holds_for_jobs_at_once_and_for_what_is_held(
    office: Office, store: Store, tmp_path: Path
) -> None:
    await office.founded(1_000_000, "mia", "max", budget="30000/month")
    async with an_office(store, config(tmp_path), office.clock) as elsewhere:
        asked = [office.request("mia") for _ in range(10)]
        await together(*((office, elsewhere)[n % 2].decide_request(one) for n, one in enumerate(asked)))
        states = [await office.state(one.id) for one in asked]
    assert sorted(states) == [""] * 8 + ["held"] * 2
    assert await office.used("mia") == 2 * PRICE
    assert any(
        "the budget there is 30,000 sat a month: 6,000 sat are left" in said for said in await office.heard("mia")
    )
    assert await office.state(await office.ask("max")) == "held"  # a budget of their own
    await office.sound()


async def test_two_jobs_at_once_against_a_balance_that_covers_one(office: Office) -> None:
    await office.founded(12_000, "mia", "max")
    asked = [office.request("mia"), office.request("max"), office.request("olga")]
    await together(*map(office.decide_request, asked))
    assert sorted([await office.state(one.id) for one in asked]) == ["", "", "held"]
    assert await office.org() == 0
    await office.sound()


async def test_a_budget_is_of_a_month_and_a_job_of_the_last_one_gives_back_to_that(
    store: Store, tmp_path: Path
) -> None:
    clock = SetClock(NOW)
    async with an_office(store, config(tmp_path), clock) as office:
        await office.founded(100_000, "mia", budget="12000/month")
        november = await office.ask("mia")
        assert await office.state(await office.ask("mia")) == ""
        clock.advance(31 * 86_400)
        december = await office.ask("mia")
        assert await office.state(december) == "held"
        await office.release(november)
        assert [await office.used("mia", month=month) for month in (202611, 202612)] == [0, PRICE]
        await office.sound()


async def test_a_budget_can_be_changed_and_the_owner_has_none(office: Office) -> None:
    await office.founded(100_000, "mia", budget="1000/month")
    assert await office.state(await office.ask("mia")) == ""
    assert "12,000 sat a month" in await office.say("olga", f"org budget {NPUBS['mia']} 12000/month")
    assert await office.state(await office.ask("mia")) == "held"
    assert await office.state(await office.ask("mia")) == ""
    assert "no limit" in await office.say("olga", f"org budget {NPUBS['mia']} none")
    assert await office.state(await office.ask("mia")) == "held"
    assert [await office.state(await office.ask("olga")) for _ in range(2)] == ["held"] * 2
    await office.sound()


@pytest.mark.parametrize("who", ["mallory", "mia"])
async def test_who_has_not_joined_is_told_the_same_whether_there_is_a_company_or_not(office: Office, who: str) -> None:
    await office.founded(100_000)
    await office.say("olga", f"org add {NPUBS['mia']}")
    for org in ("acme", "nonsense", "Acme", "../acme", ""):
        assert await office.state(await office.ask(who, org)) == ""
    rows = await office.book.database.fetch("SELECT event FROM outbox WHERE event LIKE '%no member of a company%'")
    assert len(rows) == 5
    assert await office.org() == from_sat(100_000)


async def test_above_the_limit_a_job_waits_for_the_owners_word(office: Office) -> None:
    await office.founded(30_000, "mia", budget="100000/month")
    assert "wait for your word" in await office.say("olga", "org limit 11999")
    assert await office.state(await office.ask("olga")) == "held"  # an owner asks nobody
    job, other = await office.ask("mia"), await office.ask("mia")
    assert [await office.state(one) for one in (job, other)] == ["awaiting_approval"] * 2
    assert await office.org() == from_sat(18_000)  # nothing is held for them yet
    assert await office.used("mia") == 0
    assert any(f"org approve {job[:8]}" in said for said in await office.heard("olga"))
    assert f"job {job[:8]} of autodev over 12,000 sat" in await office.say("olga", "org show")
    assert "only the company's owner" in await office.say("mia", f"org approve {job[:8]}")
    assert "is approved" in await office.say("olga", f"org approve {job[:8]}")
    assert await office.state(job) == "held"
    assert await office.used("mia") == PRICE
    assert "its balance does not cover" in await office.say("olga", f"org approve acme {other}")
    assert "is refused" in await office.say("olga", f"org refuse {other[:12]}")
    assert "waits for nobody's word: it is released" in await office.say("olga", f"org approve {other}")
    assert "no job of the company" in await office.say("olga", "org approve 00000000")
    assert "digits of its id" in await office.say("olga", "org approve 12")
    await office.deliver(job)
    assert await office.org() == from_sat(6_000)
    await office.sound()


async def test_a_word_that_was_obeyed_before_a_crash_is_answered_as_obeyed_after_it(office: Office) -> None:
    await office.founded(30_000, "mia")
    await office.say("olga", "org limit 11999")
    job, other = await office.ask("mia"), await office.ask("mia")
    yes, no = "a" * 64, "b" * 64
    await company_approvals.approve_job(office.bot, job, by=yes)  # and the process is killed before it answers
    await company_approvals.refuse_job(office.bot, other, by=no)
    assert "is approved" in await office.say("olga", f"org approve {job}", yes)
    assert "is refused" in await office.say("olga", f"org refuse {other}", no)
    assert "waits for nobody's word: it is held" in await office.say("olga", f"org approve {job}")
    assert "waits for nobody's word: it is released" in await office.say("olga", f"org refuse {other}")
    assert [await office.state(one) for one in (job, other)] == ["held", "released"]
    await office.sound()


@pytest.mark.parametrize("who", ["olga", "mia"])
async def test_g5_who_could_withdraw_when_they_asked_their_own_agent_and_cannot_now_has_no_way_out_by_an_approval(
    office: Office, who: str
) -> None:
    await office.founded(30_000, "mia")
    await office.say("olga", "org limit 11999")
    own = {pubkey: replace(agent, author=KEYS[who].pubkey) for pubkey, agent in office.bot.agents.items()}
    office.bot.agents._own = own
    office.bot.agents.put({})
    job, other = await office.ask("mia"), await office.ask("mia")
    assert "is approved" in await office.say("olga", f"org approve {job}")
    row = Put("users", KEYS[who].pubkey, {"withdrawals": "closed"}, fresh=new_user(NOW))
    await office.book.apply(Plan("test/closed", changes=(row,)))
    assert "this agent is not for you, or not for who asks" in await office.say("olga", f"org approve {other}")
    assert [await office.state(one) for one in (job, other)] == ["held", "awaiting_approval"]
    await office.sound()


async def test_two_words_at_once_about_one_job_hold_once(office: Office, store: Store, tmp_path: Path) -> None:
    await office.founded(100_000, "mia")
    await office.say("olga", "org limit 1")
    job = await office.ask("mia")
    async with an_office(store, config(tmp_path), office.clock) as elsewhere:
        said = await together(
            office.say("olga", f"org approve {job}"),
            elsewhere.say("olga", f"org approve {job}"),
            office.say("olga", f"org refuse {job}"),
        )
    assert sum("is approved" in one or "is refused" in one for one in said) >= 1
    assert await office.state(job) in {"held", "released"}
    assert await office.used("mia") == (PRICE if await office.state(job) == "held" else 0)
    await office.sound()


async def test_a_job_that_nobody_approves_ends_and_so_does_one_of_a_member_who_has_left(office: Office) -> None:
    await office.founded(100_000, "mia")
    await office.say("olga", "org limit 1")
    job, left = await office.ask("mia"), await office.ask("mia")
    assert "belongs to acme no more" in await office.say("olga", f"org remove {NPUBS['mia']}")
    assert "no member" in await office.say("olga", f"org approve {left}")
    assert "let them end first" in await office.say("olga", "org dissolve confirm")
    office.clock.advance(office.bot.config.companies.approval_seconds - 1)
    await assignments.release_due(office.bot)
    assert await office.state(job) == "awaiting_approval"
    office.clock.advance(1)
    await assignments.release_due(office.bot)
    row = await office.job(job)
    assert (row["state"], row["reason"]) == ("released", "the company did not approve it in time")
    await office.sound()


async def test_an_approval_waits_no_longer_than_the_request_lives(office: Office) -> None:
    await office.founded(100_000, "mia")
    await office.say("olga", "org limit 1")
    job = await office.ask("mia", "acme", ["expiration", str(office.clock.now() + 60)])
    assert (await office.job(job))["due_at"] == office.clock.now() + 60


async def test_a_member_who_is_removed_has_what_is_under_way_and_nothing_new(office: Office) -> None:
    await office.founded(100_000, "mia")
    job, lost = await office.ask("mia"), await office.ask("mia")
    await office.say("olga", f"org remove {NPUBS['mia']}")
    assert await office.state(await office.ask("mia")) == ""
    await office.deliver(job)
    await office.release(lost)
    assert await office.has("alice") == from_sat(2_000)
    assert await office.org() == from_sat(93_000)
    assert await office.has("mia") == 0
    await office.sound()


async def test_a_job_that_is_paid_back_goes_to_the_company_and_off_the_budget(office: Office) -> None:
    await office.founded(12_000, "mia", budget="12000/month")
    job = await office.ask("mia")
    await office.deliver(job)
    refund = await refunds.plan_refunded(office.bot, job)
    assert (await office.book.apply(refund)).done
    assert (await office.org(), await office.has("mia"), await office.used("mia")) == (PRICE, 0, 0)
    assert any("the balance of acme" in said for said in await office.heard("mia"))
    assert await office.state(await office.ask("mia")) == "held"
    await office.sound()


async def test_a_members_own_money_and_their_companys_stay_apart(office: Office) -> None:
    await office.founded(100_000, "mia")
    await office.fund("mia", 12_000)
    assert await office.state(await office.ask("mia", None)) == "held"
    assert (await office.has("mia"), await office.org()) == (0, from_sat(100_000))
    assert "0 sat" in await office.say("mia", "balance")
    job = await office.ask("mia")
    told = await office.say("mia", "balance")
    assert "held for job" in told
    assert job[:8] not in told


async def test_a_job_by_private_message_names_the_company_first(office: Office) -> None:
    await office.founded(100_000, "mia")
    assert "is asked" in await office.say("mia", "job autodev org=acme Fix issue 42")
    [row] = await office.book.database.fetch("SELECT event FROM inbox")
    assert '["param","org","acme"]' in row["event"]
    assert '["i","Fix issue 42","text"]' in row["event"]
    assert PEOPLE["mia"] in row["event"]
