"""The commands about the work under way: jobs, compute nodes, payouts."""

from __future__ import annotations

from pathlib import Path

import click

from handlers.nodes import Said
from handlers.states import JobState
from relaybot.cli.shell import config_option, finish, json_option, keyring_of, load, read_npub, show
from relaybot.operator import listing, nodes, refunding, switching


@click.group()
def jobs() -> None:
    """See jobs, and pay them back."""


@jobs.command("list")
@click.option("--limit", default=50, show_default=True)
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="Only those in this state.")
@click.option("--customer", help="Only those of this npub.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are not over.")
@config_option
@json_option
def jobs_list(
    limit: int, state: str | None, customer: str | None, config_path: Path, *, only_open: bool, as_json: bool
) -> None:
    """List the newest jobs.

    Example: relaybot jobs list --open --limit 10
    """
    pubkey = read_npub(customer, "--customer") if customer else ""
    asked = listing.list_jobs(load(config_path), limit, state=state or "", customer=pubkey, only_open=only_open)
    show(finish(asked), "jobs", as_json=as_json)


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
def workers() -> None:
    """See the compute nodes, and decide which of them may work."""


@workers.command("list")
@click.option("--waiting", is_flag=True, help="Only those that wait for your word.")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def workers_list(limit: int, config_path: Path, *, waiting: bool, as_json: bool) -> None:
    """List the nodes that were heard of last: whether they may work, are there, and how they did.

    Example: relaybot workers list --waiting
    """
    show(finish(nodes.list_nodes(load(config_path), limit, waiting=waiting)), "workers", as_json=as_json)


@workers.command("approve")
@click.argument("npub")
@config_option
@json_option
def workers_approve(npub: str, config_path: Path, *, as_json: bool) -> None:
    """Let a node work, from now on, without a restart. It reads the inputs of customers.

    Example: relaybot workers approve npub1…
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    show(finish(nodes.speak(config, keyring_of(config), pubkey, Said.APPROVED)), "worker", as_json=as_json)


@workers.command("refuse")
@click.argument("npub")
@config_option
@json_option
def workers_refuse(npub: str, config_path: Path, *, as_json: bool) -> None:
    """Give a node no more jobs, from now on, also one in workers.allowed. What it has begun is paid.

    Example: relaybot workers refuse npub1…
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    show(finish(nodes.speak(config, keyring_of(config), pubkey, Said.REFUSED)), "worker", as_json=as_json)


@click.group()
def payouts() -> None:
    """See payouts, and decide about those that are stuck."""


@payouts.command("list")
@click.option("--unfinished", is_flag=True, help="Only those whose money is still held.")
@click.option("--stuck", is_flag=True, help="Only payments whose end is not known for too long, and what to do.")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def payouts_list(limit: int, config_path: Path, *, unfinished: bool, stuck: bool, as_json: bool) -> None:
    """List the newest payouts, why they wait, and for how long.

    Example: relaybot payouts list --unfinished
    """
    config = load(config_path)
    asked = switching.stuck_payouts(config) if stuck else listing.list_payouts(config, limit, unfinished=unfinished)
    show(finish(asked), "payouts", as_json=as_json)


@payouts.command("batches")
@click.option("--unfinished", is_flag=True, help="Only those that may still move.")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def payouts_batches(limit: int, config_path: Path, *, unfinished: bool, as_json: bool) -> None:
    """List the newest transactions on the chain, each of which pays many: its id, fee and block.

    Example: relaybot payouts batches --unfinished
    """
    asked = listing.list_batches(load(config_path), limit, unfinished=unfinished)
    show(finish(asked), "batches", as_json=as_json)


@payouts.command("retry")
@click.argument("payout_id")
@config_option
@json_option
def payouts_retry(payout_id: str, config_path: Path, *, as_json: bool) -> None:
    """Look at a payout now, instead of after its pause. Nothing is paid twice by it.

    Example: relaybot payouts retry 5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36/3
    """
    show(finish(switching.retry(load(config_path), payout_id)), "payout", as_json=as_json)


@payouts.command("give-up")
@click.argument("payout_id")
@click.option("--i-have-checked", "checked", is_flag=True, help="You know that what was sent can never arrive.")
@config_option
@json_option
def payouts_give_up(payout_id: str, config_path: Path, *, checked: bool, as_json: bool) -> None:
    """Make a payout's money its owner's balance again; refused where it was paid or may be yet.

    Example: relaybot payouts give-up 5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36/3
    """
    show(finish(switching.give_up(load(config_path), payout_id, checked=checked)), "payout", as_json=as_json)


COMMANDS = (jobs, workers, payouts)
