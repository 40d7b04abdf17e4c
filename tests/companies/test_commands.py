"""What people say to companies: its owner all, a member what is their own, a stranger nothing."""

from __future__ import annotations

import pytest

from handlers.company_words import statement_parts
from tests.companies.office import NOW, NPUBS, PEOPLE, Office
from wallet.accounts import NODE_LIGHTNING, PROMOTIONS, Account, Class
from wallet.company_pages import StatementRow, belongings_of, company_shown, jobs_of, member_shown, statement_of
from wallet.ledger import Insert, Plan, Values
from wallet.money import Msat, from_sat
from wallet.statements import Entry

DM_RELAYS: Values = {"relays": '["wss://mia.example"]', "stated_at": 1, "event": "e"}


async def test_a_company_is_made_by_a_user_once(office: Office) -> None:
    assert "top up first" in await office.say("olga", "org create acme")
    await office.fund("olga", 1)
    assert "nothing to do with any company" in await office.say("olga", "org")
    assert "acme is your company" in await office.say("olga", "org create acme Acme Ltd.")
    assert await office.say("olga", "org") == "acme (Acme Ltd.): owner"
    await office.fund("mallory", 1)
    assert "this id is taken" in await office.say("mallory", "org create acme")
    for number in range(2):
        await office.say("olga", f"org create more-{number}")
    assert "at most 3" in await office.say("olga", "org create more-3")


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("org create", "what the company shall be called"),
        ("org create Acme", "a company's id"),
        ("org create acme2 <b>", "a company's name"),
        ("org nonsense", "after org, one of create, show"),
        ("org add", "say who"),
        ("org add nobody", "not an npub"),
        ("org add {mia} lots", "a budget is such as 5000/month"),
        ("org add {mia} 5000/day", "a budget is such as 5000/month"),
        ("org add {mia} 1/month now", "say who"),
        ("org add {olga}", "belong to the company already"),
        ("org budget {mia} 1/month", "do not belong"),
        ("org budget {mia}", "whose budget"),
        ("org remove", "who shall belong to it no more"),
        ("org remove {mia}", "do not belong"),
        ("org limit", "above how many sats"),
        ("org limit many", "whole number"),
        ("org approve", "digits of its id"),
        ("org topup", "how many sats"),
        ("org topup 5000 card", "by lightning, or onchain"),
        ("org topup 99000000", "a top-up is 1 sat to 10,000,000 sat"),
        ("org statement yesterday", "a month is such as"),
        ("org statement 2026-11 x", "too many words"),
        ("org owner", "who shall be the owner"),
        ("org owner {mia} now", "who shall be the owner"),
        ("org owner {mia} confirm", "do not belong"),
        ("org dissolve now", "too many words"),
        ("org show other", "no member of a company"),
        ("org accept", "do not belong"),
    ],
)
async def test_what_is_said_is_answered_with_what_to_do(office: Office, said: str, answered: str) -> None:
    await office.founded(0)
    answer = await office.say("olga", said.format(**NPUBS))
    assert answered in answer
    assert "Usage: org" in answer


async def test_nothing_is_charged_or_shown_before_somebody_has_joined(office: Office) -> None:
    await office.founded(100_000)
    await office.book.apply(_reached("mia"))
    await office.say("olga", f"org add {NPUBS['mia']} 5000/month")
    [invited] = await office.heard("mia")
    assert "org accept acme" in invited
    assert "100,000" not in await office.say("mia", "org show")
    assert "join it first" in await office.say("mia", "org statement")
    assert await office.state(await office.ask("mia")) == ""
    assert "5,000 sat a month" in await office.say("mia", "org accept acme")
    assert "you belong to it already" in await office.say("mia", "org accept")
    assert await office.say("mia", "org") == "acme (Acme Ltd.): member"
    assert "0 sat of 5,000 sat used this month" in await office.say("mia", "org show acme")
    for said in ("topup 5000", "limit 1", f"add {NPUBS['eve']}", f"budget {NPUBS['mia']} none", "dissolve confirm"):
        assert "only the company's owner" in await office.say("mia", f"org {said}")
    for said in ("show", "statement", "topup 1", "leave", "show acme", "accept acme"):
        assert "no member of a company" in await office.say("mallory", f"org {said}")


async def test_somebody_who_left_is_asked_again_after_a_day_at_the_earliest(office: Office) -> None:
    await office.founded(0, "mia")
    await office.book.apply(_reached("mia"))
    assert "nothing to do with acme" in await office.say("mia", "org leave")
    assert "within the last day" in await office.say("olga", f"org add {NPUBS['mia']}")
    assert await office.heard("mia") == []
    office.clock.advance(86_400)
    assert "asked to join" in await office.say("olga", f"org add {NPUBS['mia']} 1,000/month")
    assert "within the last day" in await office.say("olga", f"org add {NPUBS['mia']}")
    assert len(await office.heard("mia")) == 1
    assert "1,000 sat a month" in await office.say("mia", "org accept")


async def test_the_owner_sees_all_and_a_member_what_is_their_own(office: Office) -> None:
    await office.founded(100_000, "mia", "max", budget="24000/month")
    hers, his = await office.ask("mia"), await office.ask("max")
    await office.deliver(hers)
    shown = (await office.say("olga", "org show")).splitlines()
    assert shown[0] == "acme (Acme Ltd.): 81,000 sat"
    assert shown[1:4] == [
        "12,000 sat held for jobs under way",
        "You have used 0 sat this month.",
        f"{NPUBS['mia']}: 12,000 sat of 24,000 sat used this month",
    ]
    rows = (await office.say("olga", "org statement")).splitlines()
    assert rows[0] == "acme, 2026-11"
    assert rows[1] == "time,account,amount_msat,balance_msat,what,member,id"
    assert rows[2].split(",")[1:6] == ["sats", "100000000", "100000000", "top-up", ""]
    assert rows[3].split(",")[1:6] == ["promo", "5000000", "5000000", "bonus for a large top-up", ""]
    assert [row.split(",")[5] for row in rows[4:]] == [NPUBS["mia"]] * 2 + [NPUBS["max"]]
    mine = (await office.say("max", "org statement")).splitlines()
    assert len(mine) == 3
    assert f"held for job {his[:8]}" in mine[2]
    assert "nothing" in await office.say("olga", "org statement 2026-10")
    async with office.book.database.snapshot() as reader:
        assert [row["id"] for row in await jobs_of(reader, "acme", PEOPLE["max"])] == [his]
        assert {row["id"] for row in await jobs_of(reader, "acme")} == {hers, his}
        assert await company_shown(reader, "nonsense", 202611) is None
        assert await member_shown(reader, "acme", PEOPLE["mallory"], 202611) is None
        assert [one.role for one in await belongings_of(reader, PEOPLE["max"])] == ["member"]
        assert len(await statement_of(reader, "acme", None)) == 5


def test_a_long_statement_comes_in_parts_of_whole_lines_and_says_what_is_left_out() -> None:
    account = Account("org/acme/sats")
    entries = [
        Entry(n, f"topup/{n}/0", f"topup/{n}", account, NODE_LIGHTNING, 1, Msat(n), "topup", NOW) for n in range(2_000)
    ]
    rows = [StatementRow(entry, "") for entry in entries]
    parts = statement_parts(rows, "acme", 202611)
    lines = [line for part in parts for line in part.splitlines() if ",top-up," in line]
    assert len(parts) == 10
    assert max(map(len, parts)) <= 6_100
    assert lines[-1].endswith("topup/1999/0")
    assert parts[0].startswith(f"acme, 2026-11, without {2_000 - len(lines)} older lines: ask the operator\ntime,")
    assert statement_parts(rows[:3], "acme", 202611)[0].count("\n") == 4


async def test_who_has_to_do_with_several_companies_says_which(office: Office) -> None:
    await office.founded(100_000)
    await office.say("olga", "org create other")
    assert "say which company" in await office.say("olga", "org show")
    assert (await office.say("olga", "org show other")).startswith("other: 0 sat")
    assert "asked for no job" in await office.say("olga", "org limit other none")
    assert "is asked to join acme" in await office.say("olga", f"org add acme {NPUBS['mia']}")


async def test_a_company_goes_to_a_member_who_confirms_nothing_and_a_word_is_said_twice(office: Office) -> None:
    await office.founded(100_000, "mia", "max")
    npub = NPUBS["mia"]
    assert f"org owner acme {npub} confirm" in await office.say("olga", f"org owner {npub}")
    assert (await office.say("mia", "org")).endswith("member")
    assert "is the owner of acme now" in await office.say("olga", f"org owner acme {npub} confirm")
    assert (await office.say("mia", "org")).endswith("owner")
    assert "nothing to do" in await office.say("olga", "org")
    assert await office.state(await office.ask("olga")) == ""
    assert await office.state(await office.ask("mia")) == "held"
    assert "asked to join" not in await office.say("mia", "org show")
    await office.sound()


async def test_what_is_left_of_a_company_is_its_owners_and_pays_for_nothing_any_more(office: Office) -> None:
    await office.founded(100_000, "mia")
    asked = await office.say("olga", "org dissolve")
    assert "100,000 sat would be your balance. 5,000 sat of bonus would go back." in asked
    assert "100,000 sat are your balance" in await office.say("olga", "org dissolve confirm")
    assert await office.has("olga") == from_sat(100_001)
    assert (await office.org(), await office.org(Class.PROMO)) == (0, 0)
    assert await office.state(await office.ask("mia")) == ""
    assert "this company is dissolved" in await office.say("olga", "org topup acme 100")
    assert "dissolved" in await office.say("olga", "org show acme")
    await office.fund_company(1_000_000)  # an invoice that was paid late
    assert await office.org(Class.PROMO) == 0
    assert "1,000,000 sat are your balance" in await office.say("olga", "org dissolve confirm")
    await office.sound()


async def test_who_spent_the_bonus_and_leaves_pays_for_it(office: Office) -> None:
    await office.founded(100_000)
    await office.deliver(await office.ask("olga"))  # 5,000 of promo and 7,000 of sats
    assert await office.org() == from_sat(93_000)
    await office.say("olga", "org dissolve confirm")
    assert await office.has("olga") == from_sat(93_000 - 4_650 + 1)
    assert await office.book.balance(PROMOTIONS) == -from_sat(350)
    await office.sound()


def _reached(name: str) -> Plan:
    """Let somebody say where private messages reach them."""
    return Plan(f"test/dm/{name}", changes=(Insert("dm_relays", PEOPLE[name], DM_RELAYS),))
