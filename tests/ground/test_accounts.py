"""Account names: those of the design, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaybot.errors import Rejected
from wallet import accounts
from wallet.accounts import REVENUE, Account, Class, floor_msat, hold, owner, parse_account, user

BOB = "b0" * 32
JOB = f"job/{'e1' * 32}"

# The list of docs/ledger.md.
OURS = [
    *(f"platform/revenue/{cls}" for cls in ("sats", "card", "promo")),
    *("platform/fees", "platform/routing_income", "platform/promotions", "platform/card_losses", "platform/bank"),
    *("platform/capital", "node/lightning", "node/onchain", "card/receivable"),
    *(f"platform/expense/{what}" for what in ("lightning", "onchain", "card", "fx")),
]
FLOORED = [
    *(f"user/{BOB}/{what}" for what in ("sats", "card", "promo", "maturing")),
    *(f"org/acme-2/{cls}" for cls in ("sats", "card", "promo")),
    *(f"hold/{JOB}/{cls}" for cls in ("sats", "card", "promo")),
    f"hold/payout/{BOB}/12/sats",
]
OWED = f"user/{BOB}/owed"


@pytest.mark.parametrize("name", [*OURS, *FLOORED, OWED])
def test_every_account_of_the_design_is_known(name: str) -> None:
    assert parse_account(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "user", "user/", "user//sats", f"user/{BOB}", f"user/{BOB}/", f"user/{BOB}/gold"),
        *(f"user/{BOB}/sats/", f"user/{BOB}/sats\n", f" user/{BOB}/sats", f"user/{BOB.upper()}/sats"),
        *(f"user/{BOB[:-1]}/sats", f"user/{BOB}0/sats", f"user/{BOB}//sats", f"x/user/{BOB}/sats"),
        *("org//sats", "org/-x/sats", "org/Acme/sats", f"org/{'a' * 65}/sats", "org/acme/maturing", "org/a/b/sats"),
        *("hold/sats", "hold/job/sats", "hold/job//sats", "hold/Job/1/sats", "hold/job/1", "hold/job/1/maturing"),
        *(f"hold/job/{'1' * 129}/sats", "hold/job/x'; --/sats", "hold/job/é/sats", "hold/job/1/owed"),
        *("platform", "platform/revenue", "platform/revenue/owed", "platform/expense", "platform/expense/tea"),
        *("node", "node/bank", "card", "card/sats", "node/lightning ", "NODE/lightning", "bank"),
    ],
)
def test_no_other_name_is_an_account(name: str) -> None:
    with pytest.raises(Rejected, match="no such account"):
        parse_account(name)


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_fail_in_any_other_way(text: str) -> None:
    with pytest.raises(Rejected) as refusal:
        parse_account(f"{text}?")
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("account", FLOORED)
def test_users_companies_and_escrows_never_go_below_zero(account: str) -> None:
    assert floor_msat(Account(account)) == 0


@pytest.mark.parametrize("account", [*OURS, OWED])
def test_the_platforms_the_nodes_and_receivables_may_stand_either_way(account: str) -> None:
    assert floor_msat(Account(account)) is None


def test_the_names_that_are_built_are_names_that_are_read() -> None:
    named = [value for name, value in vars(accounts).items() if name.isupper() and not name.startswith("_")]
    built = [user(BOB), *(user(BOB, cls) for cls in Class), hold(JOB), *(hold(JOB, cls) for cls in Class)]
    built += [*REVENUE.values(), *(Account(value) for value in named if isinstance(value, str))]
    assert [parse_account(account) for account in built] == built
    assert (user(BOB), hold(JOB)) == (f"user/{BOB}/sats", f"hold/{JOB}/sats")
    assert set(REVENUE) == set(Class)


def test_only_a_users_account_has_an_owner() -> None:
    assert {owner(Account(name)) for name in (OWED, *FLOORED[:4])} == {BOB}
    assert {owner(Account(name)) for name in (*OURS, *FLOORED[4:])} == {None}
