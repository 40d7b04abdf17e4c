"""Companies: their balance, members and budgets, what waits for the owner, statements; by the commands `org …`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from aiohttp import web

from handlers.company_commands import NO_LIMIT, run_org
from relaybot.nostr import nip19
from relaybot.web.account.acting import act
from relaybot.web.account.desk import Desk, Visit
from relaybot.web.account.forms import button, choice, field, form, hidden_field
from relaybot.web.account.frame import account_headers, heading, led_to, scrolled
from relaybot.web.html import Child, Html, el
from relaybot.web.words import exact_percent
from wallet.companies import format_month, month_of, parse_month
from wallet.company_pages import (
    Belonging,
    CompanyShown,
    MemberShown,
    belongings_of,
    company_shown,
    member_shown,
    statement_csv,
    statement_of,
)
from wallet.money import MSAT_PER_SAT, format_sat

COMPANIES_PATH = "/account/companies"
WHOLE_PPM = 1_000_000

_ROLES = {"owner": "you are its owner", "member": "you are a member", "invited": "you are asked to join"}


def _monthly(sats: str) -> str:
    return f"{sats}/month" if sats else NO_LIMIT


# What a form of each command says, as the words that follow the company's id.
_WORDS: Mapping[str, Callable[[Visit], tuple[str, ...]]] = MappingProxyType(
    {
        "add": lambda visit: (
            visit.said("npub") or "-",
            *((_monthly(visit.said("sats")),) if visit.said("sats") else ()),
        ),
        "budget": lambda visit: (visit.said("npub") or "-", _monthly(visit.said("sats"))),
        "remove": lambda visit: (visit.said("npub") or "-",),
        "limit": lambda visit: (visit.said("sats") or NO_LIMIT,),
        "approve": lambda visit: (visit.said("job") or "-",),
        "refuse": lambda visit: (visit.said("job") or "-",),
        "topup": lambda visit: (visit.said("sats") or "0", visit.said("way") or "lightning"),
        "accept": lambda _: (),
        "leave": lambda _: (),
    }
)


async def companies_page(desk: Desk, visit: Visit) -> web.Response:
    """List the companies one has to do with; offer to make one."""
    mine = await belongings_of(desk.bot.book.database, visit.me)
    items = [el("li", _link(one), ": ", _ROLES[one.role]) for one in mine]
    makes = form(
        desk,
        visit,
        COMPANIES_PATH,
        field(
            "Id",
            "id",
            visit.said("id"),
            hint="Short, of a-z, 0-9 and hyphens: acme",
            required=True,
            autocapitalize="none",
        ),
        field("Name", "name", visit.said("name"), hint="As it stands on invoices, if you like."),
        button("Make a company"),
    )
    return desk.shown(
        visit,
        heading("Companies", "A company pays for the jobs of its members, within their budgets."),
        el("ul", items) if items else el("p", "You have nothing to do with any company.", class_="quiet"),
        el("section", el("h2", "Make one"), makes),
        title="Companies",
        here=COMPANIES_PATH,
    )


async def do_create(desk: Desk, visit: Visit) -> web.Response:
    """Make a company, by the command `org create`."""
    org = visit.said("id").lower() or "-"
    await act(desk, visit, "org create", run_org, ("create", org, *visit.said("name").split()))
    return led_to(f"{COMPANIES_PATH}/{org}")


async def company_page(desk: Desk, visit: Visit) -> web.Response:
    """Show a company as far as it is one's own affair."""
    belonging = await _belonging(desk, visit)
    month = month_of(desk.bot.clock.now())
    async with desk.bot.book.database.snapshot() as reader:
        if belonging.role == "owner":
            shown = await company_shown(reader, belonging.id, month)
            assert shown is not None, f"{belonging.id} was just listed"
            content: tuple[Child, ...] = _owned(desk, visit, shown)
        else:
            member = await member_shown(reader, belonging.id, visit.me, month)
            assert member is not None, f"{belonging.id} was listed as theirs"
            content = _joined(desk, visit, belonging, member)
    statement = el(
        "a", f"Statement of {format_month(month)} as CSV", href=f"{COMPANIES_PATH}/{belonging.id}/statement.csv"
    )
    return desk.shown(
        visit,
        *content,
        el("p", statement) if belonging.role != "invited" else None,
        el("p", el("a", "All companies", href=COMPANIES_PATH)),
        title=belonging.name or belonging.id,
        here=COMPANIES_PATH,
    )


async def do_company(desk: Desk, visit: Visit) -> web.Response:
    """Do what a form says, by the command `org …` of its address."""
    org, command = visit.request.match_info["org"], visit.request.match_info["command"]
    if command not in _WORDS:
        raise web.HTTPNotFound
    belonging = await _belonging(desk, visit)
    words = (command, belonging.id, *_WORDS[command](visit))
    done = await act(desk, visit, f"org {command}", run_org, words)
    if command == "topup":
        if words[-1] == "lightning":
            return led_to(f"/account/topups/{done.id}")
        told = el("pre", done.text, class_="result", tabindex=0)
        back = el("p", el("a", "Back", href=f"{COMPANIES_PATH}/{org}"))
        return desk.shown(visit, heading("Top up"), told, back, title="Top up", here=COMPANIES_PATH)
    return led_to(COMPANIES_PATH if command == "leave" else f"{COMPANIES_PATH}/{org}")


async def statement(desk: Desk, visit: Visit) -> web.Response:
    """Send a month's entries as CSV: all to the owner, their own to a member."""
    belonging = await _belonging(desk, visit)
    if belonging.role == "invited":
        raise web.HTTPNotFound
    said = visit.said("month")
    month = parse_month(said) if said else month_of(desk.bot.clock.now())
    async with desk.bot.book.database.snapshot() as reader:
        rows = await statement_of(reader, belonging.id, month, "" if belonging.role == "owner" else visit.me)
    name = f"{belonging.id}-{format_month(month)}.csv"
    headers = {**account_headers(), "Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(text=statement_csv(rows), content_type="text/csv", headers=headers)


async def _belonging(desk: Desk, visit: Visit) -> Belonging:
    """Return what one has to do with the company of the address. 404 for all others, whether there is one or not."""
    mine = await belongings_of(desk.bot.book.database, visit.me)
    found = next((one for one in mine if one.id == visit.request.match_info["org"]), None)
    if found is None:
        raise web.HTTPNotFound
    return found


def _link(one: Belonging) -> Html:
    return el("a", one.name or one.id, href=f"{COMPANIES_PATH}/{one.id}")


def _owned(desk: Desk, visit: Visit, shown: CompanyShown) -> tuple[Child, ...]:
    facts = [
        ("Sats", format_sat(shown.has.sats)),
        ("Card money, for jobs", format_sat(shown.has.card)),
        ("Promo, for our part of jobs", format_sat(shown.has.promo)),
        ("Held for jobs", format_sat(shown.held_msat)),
        ("Your own jobs this month", format_sat(shown.owner_used_msat)),
        ("You are asked", f"above {format_sat(shown.limit_msat)}" if shown.limit_msat is not None else "for no job"),
    ]
    listed = el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in facts], class_="facts")
    opening = heading(shown.name or shown.id, f"{shown.id}, {shown.state}.")
    members = [one for one in shown.members if one.state != "gone"]
    return (
        opening,
        listed,
        _approvals(desk, visit, shown),
        el("section", el("h2", "Members"), _members(members) if members else el("p", "Nobody yet.", class_="quiet")),
        el("section", el("h2", "Top up"), _topup(desk, visit, shown.id)),
        el("section", el("h2", "Invite, or change a budget"), *_member_forms(desk, visit, shown.id)),
        el("section", el("h2", "Being asked first"), _limit(desk, visit, shown)),
    )


def _approvals(desk: Desk, visit: Visit, shown: CompanyShown) -> Html | None:
    if not shown.approvals:
        return None
    waiting = [
        el(
            "article",
            el("p", f"{one.agent}, {format_sat(one.price_msat)}, for ", el("code", nip19.encode_npub(one.customer))),
            _form(desk, visit, shown.id, "approve", hidden_field("job", one.job), button("Approve")),
            _form(
                desk, visit, shown.id, "refuse", hidden_field("job", one.job), el("button", "Refuse", class_="plain")
            ),
            class_="card",
        )
        for one in shown.approvals
    ]
    return el("section", el("h2", "Waits for you"), el("div", waiting, class_="agents"))


def _members(members: list[MemberShown]) -> Html:
    head = [el("th", name, scope="col") for name in ("Who", "State")]
    head += [el("th", name, scope="col", class_="number") for name in ("Used this month", "Budget")]
    rows = [
        el(
            "tr",
            el("th", el("code", nip19.encode_npub(one.pubkey)), scope="row"),
            el("td", one.state),
            el("td", format_sat(one.used_msat), class_="number"),
            el("td", format_sat(one.budget_msat) if one.budget_msat is not None else "no limit", class_="number"),
        )
        for one in members
    ]
    table = el("table", el("caption", "Who belongs to it"), el("thead", el("tr", head)), el("tbody", rows))
    return scrolled(table, "Members")


def _topup(desk: Desk, visit: Visit, org: str) -> Html:
    ways = [("lightning", "Lightning"), *([("onchain", "On-chain")] if desk.bot.config.onchain.enabled else [])]
    return _form(
        desk,
        visit,
        org,
        "topup",
        field(
            "How many sats",
            "sats",
            "",
            hint=_bonuses(desk),
            inputmode="numeric",
            required=True,
            pattern="[0-9]+",
            prefix="topup",
        ),
        choice("By which way", "way", ways),
        button("Go on"),
    )


def _bonuses(desk: Desk) -> str | None:
    """Say what a large top-up brings; None if it brings nothing besides."""
    steps = [
        f"from {format_sat(one.from_msat)} on {exact_percent(one.bonus_ppm, WHOLE_PPM)} more" for one in desk.bot.bulk
    ]
    return f"{', '.join(steps).capitalize()}, for our own part of jobs." if steps else None


def _member_forms(desk: Desk, visit: Visit, org: str) -> tuple[Html, ...]:
    texts = (("add", "Invite"), ("budget", "Change the budget"), ("remove", "Take out of the company"))
    return tuple(
        _form(
            desk,
            visit,
            org,
            command,
            field("npub", "npub", "", required=True, prefix=command, spellcheck="false", autocapitalize="none"),
            field(
                "Sats a month",
                "sats",
                "",
                hint="Nothing: no limit.",
                inputmode="numeric",
                pattern="[0-9]*",
                prefix=command,
            )
            if command != "remove"
            else None,
            el("button", text, class_=None if command == "add" else "plain"),
        )
        for command, text in texts
    )


def _limit(desk: Desk, visit: Visit, shown: CompanyShown) -> Html:
    now = "" if shown.limit_msat is None else str(shown.limit_msat // MSAT_PER_SAT)
    hint = "A member's job above this waits for your word. Nothing: you are asked for none."
    entry = field("Above how many sats", "sats", now, hint=hint, inputmode="numeric", pattern="[0-9]*", prefix="limit")
    return _form(desk, visit, shown.id, "limit", entry, button("Change"))


def _joined(desk: Desk, visit: Visit, belonging: Belonging, member: MemberShown) -> tuple[Child, ...]:
    name = belonging.name or belonging.id
    if belonging.role == "invited":
        accept = _form(desk, visit, belonging.id, "accept", button("Join"))
        return heading(name, "asks you to join. It would pay for your jobs."), accept
    budget = f" of {format_sat(member.budget_msat)}" if member.budget_msat is not None else ""
    leave = _form(desk, visit, belonging.id, "leave", el("button", "Leave", class_="plain"))
    return heading(name, f"You have used {format_sat(member.used_msat)}{budget} this month."), leave


def _form(desk: Desk, visit: Visit, org: str, command: str, *children: Child) -> Html:
    """Return a form of one command; each has a key of its own."""
    fresh = Visit(visit.request, visit.origin, visit.session)
    return form(desk, fresh, f"{COMPANIES_PATH}/{org}/{command}", *children)
