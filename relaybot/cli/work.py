"""The commands about the work under way: jobs and payouts."""

from __future__ import annotations

from pathlib import Path

import click

from relaybot.cli.shell import config_option, finish, json_option, keyring_of, load, show
from relaybot.operator import listing, refunding


@click.group()
def jobs() -> None:
    """See jobs, and pay them back."""


@jobs.command("list")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def jobs_list(limit: int, config_path: Path, *, as_json: bool) -> None:
    """List the newest jobs.

    Example: relaybot jobs list --limit 10
    """
    show(finish(listing.list_jobs(load(config_path), limit)), "jobs", as_json=as_json)


@jobs.command("refund")
@click.argument("job_id")
@config_option
@json_option
def jobs_refund(job_id: str, config_path: Path, *, as_json: bool) -> None:
    """Pay a finished job back to its customer, once, out of the platform's revenue; contributors keep theirs.

    Example: relaybot jobs refund 5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36
    """
    config = load(config_path)
    show(finish(refunding.refund_job(config, keyring_of(config), job_id)), "refund", as_json=as_json)


@click.group()
def payouts() -> None:
    """See payouts."""


@payouts.command("list")
@click.option("--unfinished", is_flag=True, help="Only those whose money is still held.")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def payouts_list(limit: int, config_path: Path, *, unfinished: bool, as_json: bool) -> None:
    """List the newest payouts, why they wait, and for how long.

    Example: relaybot payouts list --unfinished
    """
    show(finish(listing.list_payouts(load(config_path), limit, unfinished=unfinished)), "payouts", as_json=as_json)


COMMANDS = (jobs, payouts)
