"""The API's endpoints for companies: what is one's own affair, members and budgets, the owner's word on jobs."""

from __future__ import annotations

from aiohttp import web

from handlers.company_commands import NO_LIMIT, run_org
from relaybot.web.account.desk import Desk
from relaybot.web.api import company_models, models
from relaybot.web.api.acting import act
from relaybot.web.api.door import Call
from wallet.companies import month_of
from wallet.company_pages import Belonging, MemberShown, belongings_of, company_shown, member_shown


async def companies(desk: Desk, call: Call) -> company_models.Companies:
    """Return the companies that the caller has to do with."""
    mine = await belongings_of(desk.bot.book.database, call.pubkey)
    shown = [
        company_models.Belonging.model_validate({"id": one.id, "name": one.name, "role": one.role, "state": one.state})
        for one in mine
    ]
    return company_models.Companies(companies=shown)


async def company(desk: Desk, call: Call) -> company_models.Company:
    """Return a company as far as it is the caller's affair."""
    return await _company(desk, call.pubkey, await _belonging(desk, call))


async def invite(desk: Desk, call: Call) -> models.Done:
    """Ask somebody to join, by the command `org add`."""
    asked: company_models.MemberOrder = call.body
    budget = (f"{asked.sats_a_month}/month",) if asked.sats_a_month is not None else ()
    words = ("add", (await _belonging(desk, call)).id, asked.npub, *budget)
    return models.Done(words=(await act(desk, call, "org add", run_org, words)).text)


async def change_budget(desk: Desk, call: Call) -> models.Done:
    """Change a member's budget, by the command `org budget`."""
    asked: company_models.MemberOrder = call.body
    budget = f"{asked.sats_a_month}/month" if asked.sats_a_month is not None else NO_LIMIT
    words = ("budget", (await _belonging(desk, call)).id, asked.npub, budget)
    return models.Done(words=(await act(desk, call, "org budget", run_org, words)).text)


async def remove_member(desk: Desk, call: Call) -> models.Done:
    """Take somebody out of a company, by the command `org remove`."""
    words = ("remove", (await _belonging(desk, call)).id, call.path["npub"])
    return models.Done(words=(await act(desk, call, "org remove", run_org, words)).text)


async def decide(desk: Desk, call: Call) -> models.Done:
    """Say the owner's word on a job, by the commands `org approve` and `org refuse`."""
    asked: company_models.ApprovalOrder = call.body
    command = "approve" if asked.approve else "refuse"
    words = (command, (await _belonging(desk, call)).id, asked.job)
    return models.Done(words=(await act(desk, call, f"org {command}", run_org, words)).text)


async def _belonging(desk: Desk, call: Call) -> Belonging:
    """Return what the caller has to do with a company. 404 for all others, whether there is one or not."""
    mine = await belongings_of(desk.bot.book.database, call.pubkey)
    found = next((one for one in mine if one.id == call.path["org"]), None)
    if found is None:
        raise web.HTTPNotFound
    return found


async def _company(desk: Desk, pubkey: str, belonging: Belonging) -> company_models.Company:
    month = month_of(desk.bot.clock.now())
    async with desk.bot.book.database.snapshot() as reader:
        if belonging.role != "owner":
            member = await member_shown(reader, belonging.id, pubkey, month)
            assert member is not None, f"{belonging.id} was listed as theirs"
            return company_models.Company.model_validate(
                {"id": belonging.id, "role": belonging.role, "members": [_member(member)]}
            )
        shown = await company_shown(reader, belonging.id, month)
    assert shown is not None, f"{belonging.id} was just listed"
    return company_models.Company(
        id=shown.id,
        role="owner",
        sats_msat=shown.has.sats,
        card_msat=shown.has.card,
        promo_msat=shown.has.promo,
        held_msat=shown.held_msat,
        limit_msat=shown.limit_msat,
        members=[_member(one) for one in shown.members if one.state != "gone"],
        approvals=[
            company_models.Approval(
                job=one.job, customer=one.customer, agent=one.agent, price_msat=one.price_msat, due_at=one.due_at
            )
            for one in shown.approvals
        ],
    )


def _member(one: MemberShown) -> company_models.CompanyMember:
    return company_models.CompanyMember(
        pubkey=one.pubkey, state=one.state, budget_msat=one.budget_msat, used_msat=one.used_msat
    )
