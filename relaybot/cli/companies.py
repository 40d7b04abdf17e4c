"""The commands about companies: what their owners say by private message, for the operator."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from handlers.company_commands import NO_LIMIT, parse_budget
from relaybot.cli.shell import AMOUNT, config_option, finish, json_option, keyring_of, load, read_npub, show
from relaybot.clock import SystemClock
from relaybot.operator import companies
from wallet.companies import parse_month
from wallet.money import Msat, parse_amount


@click.group()
def org() -> None:
    """See companies, and decide for them what their owners decide by private message."""


@org.command("list")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def org_list(limit: int, config_path: Path, *, as_json: bool) -> None:
    """List the newest companies.

    Example: relaybot org list
    """
    show(finish(companies.list_companies(load(config_path), limit)), "companies", as_json=as_json)


@org.command("show")
@click.argument("company")
@config_option
@json_option
def org_show(company: str, config_path: Path, *, as_json: bool) -> None:
    """Show what a company has, who belongs to it with what they used this month, and what waits for its owner.

    Example: relaybot org show acme
    """
    shown = companies.show_company(load(config_path), company, SystemClock().now())
    show(finish(shown), "company", as_json=as_json)


@org.command("create")
@click.argument("company")
@click.argument("npub")
@click.option("--name", default="", help="As it stands on invoices.")
@config_option
@json_option
def org_create(company: str, npub: str, name: str, config_path: Path, *, as_json: bool) -> None:
    """Make a company of somebody.

    Example: relaybot org create acme npub1… --name "Acme Ltd."
    """
    config, owner = load(config_path), read_npub(npub, "NPUB")
    _done(companies.create(config, keyring_of(config), company, owner, name), as_json=as_json)


@org.command("add")
@click.argument("company")
@click.argument("npub")
@click.option("--budget", default=NO_LIMIT, help="What they may spend, such as 5000/month.", show_default=True)
@config_option
@json_option
def org_add(company: str, npub: str, budget: str, config_path: Path, *, as_json: bool) -> None:
    """Ask somebody to join a company: they still have to accept.

    Example: relaybot org add acme npub1… --budget 5000/month
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    _done(companies.add(config, keyring_of(config), company, pubkey, parse_budget(budget)), as_json=as_json)


@org.command("budget")
@click.argument("company")
@click.argument("npub")
@click.argument("budget")
@config_option
@json_option
def org_budget(company: str, npub: str, budget: str, config_path: Path, *, as_json: bool) -> None:
    """Change what a member may spend in a UTC month; `none` is no limit.

    Example: relaybot org budget acme npub1… 20000/month
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    _done(companies.set_budget(config, keyring_of(config), company, pubkey, parse_budget(budget)), as_json=as_json)


@org.command("remove")
@click.argument("company")
@click.argument("npub")
@config_option
@json_option
def org_remove(company: str, npub: str, config_path: Path, *, as_json: bool) -> None:
    """Take a member out of a company; what is under way goes on.

    Example: relaybot org remove acme npub1…
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    _done(companies.remove(config, keyring_of(config), company, pubkey), as_json=as_json)


@org.command("topup")
@click.argument("company")
@click.argument("sats", type=AMOUNT)
@config_option
@json_option
def org_topup(company: str, sats: Msat, config_path: Path, *, as_json: bool) -> None:
    """Make an invoice that adds to a company's balance, to be paid by anybody, and show the bonus it brings.

    Example: relaybot org topup acme 1000000
    """
    config = load(config_path)
    _done(companies.top_up(config, keyring_of(config), company, sats), as_json=as_json)


@org.command("limit")
@click.argument("company")
@click.argument("sats")
@config_option
@json_option
def org_limit(company: str, sats: str, config_path: Path, *, as_json: bool) -> None:
    """Let jobs of members above so many sats wait for the owner; `none`: no job does.

    Example: relaybot org limit acme 20000
    """
    config, limit = load(config_path), _limit(sats)
    _done(companies.set_limit(config, keyring_of(config), company, limit), as_json=as_json)


@org.command("approve")
@click.argument("company")
@click.argument("job")
@config_option
@json_option
def org_approve(company: str, job: str, config_path: Path, *, as_json: bool) -> None:
    """Approve a job that waits for the owner, by the first digits of its id.

    Example: relaybot org approve acme 5c83da77
    """
    config = load(config_path)
    _done(companies.say(config, keyring_of(config), company, job, approved=True), as_json=as_json)


@org.command("refuse")
@click.argument("company")
@click.argument("job")
@config_option
@json_option
def org_refuse(company: str, job: str, config_path: Path, *, as_json: bool) -> None:
    """Refuse a job that waits for the owner: it ends, and costs nothing.

    Example: relaybot org refuse acme 5c83da77
    """
    config = load(config_path)
    _done(companies.say(config, keyring_of(config), company, job, approved=False), as_json=as_json)


@org.command("statement")
@click.argument("company")
@click.option("--month", help="Such as 2026-11; else everything.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@config_option
@json_option
def org_statement(company: str, month: str | None, config_path: Path, *, as_csv: bool, as_json: bool) -> None:
    """Show every entry on a company's accounts, oldest first, with its cause and who asked for the job.

    Example: relaybot org statement acme --month 2026-11 --csv
    """
    config, when = load(config_path), parse_month(month) if month else None
    if as_csv:
        click.echo(finish(companies.statement_as_csv(config, company, when)), nl=False)
    else:
        show(finish(companies.statement(config, company, when)), "statement", as_json=as_json)


@org.command("owner")
@click.argument("company")
@click.argument("npub")
@config_option
@json_option
def org_owner(company: str, npub: str, config_path: Path, *, as_json: bool) -> None:
    """Make a member the owner; refused while the owner's withdrawals are closed, or they owe.

    Example: relaybot org owner acme npub1…
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    _done(companies.hand_over(config, keyring_of(config), company, pubkey), as_json=as_json)


@org.command("dissolve")
@click.argument("company")
@config_option
@json_option
def org_dissolve(company: str, config_path: Path, *, as_json: bool) -> None:
    """End a company for good: what is left of its sats becomes its owner's balance.

    Example: relaybot org dissolve acme
    """
    config = load(config_path)
    _done(companies.dissolve(config, keyring_of(config), company), as_json=as_json)


def _done(work: Coroutine[Any, Any, dict[str, Any]], *, as_json: bool) -> None:
    show(finish(work), "company", as_json=as_json)


def _limit(text: str) -> Msat | None:
    return None if text.lower() == NO_LIMIT else parse_amount(f"{text} sat")


COMMANDS = (org,)
