"""The commands that stop things and let them go on: rails, kinds of payments, one user's exits."""

from __future__ import annotations

from pathlib import Path

import click

from relaybot.cli.books import users
from relaybot.cli.shell import config_option, finish, json_option, keyring_of, load, read_npub, show
from relaybot.operator import switching
from wallet.switches import SCOPES


@click.command()
@click.argument("scope", type=click.Choice(SCOPES))
@click.option("--reason", default="", help="What users are told.")
@config_option
@json_option
def pause(scope: str, reason: str, config_path: Path, *, as_json: bool) -> None:
    """Stop what goes out: payouts by themselves, withdrawals, or all of one rail. What was sent is settled.

    Example: relaybot pause lightning --reason "the node is moved"
    """
    show(finish(switching.pause(load(config_path), scope, reason)), "pause", as_json=as_json)


@click.command()
@click.argument("scope", type=click.Choice(SCOPES))
@config_option
@json_option
def resume(scope: str, config_path: Path, *, as_json: bool) -> None:
    """Let what was paused go on, also where our books and the node's still differ.

    Example: relaybot resume lightning
    """
    show(finish(switching.resume(load(config_path), scope)), "resume", as_json=as_json)


@users.group()
def withdrawals() -> None:
    """Close and open what leaves from one user."""


@withdrawals.command("off")
@click.argument("npub")
@click.option("--reason", default="", help="What the user is told.")
@config_option
@json_option
def withdrawals_off(npub: str, reason: str, config_path: Path, *, as_json: bool) -> None:
    """Close every exit of one user: withdrawals and payouts. Jobs stay open; what was sent is settled.

    Example: relaybot users withdrawals off npub1… --reason "we are asking a question"
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    answer = finish(switching.set_withdrawals(config, keyring_of(config), pubkey, open_=False, reason=reason))
    show(answer, "withdrawals", as_json=as_json)


@withdrawals.command("on")
@click.argument("npub")
@config_option
@json_option
def withdrawals_on(npub: str, config_path: Path, *, as_json: bool) -> None:
    """Open the exits of one user again.

    Example: relaybot users withdrawals on npub1…
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    answer = finish(switching.set_withdrawals(config, keyring_of(config), pubkey, open_=True, reason=""))
    show(answer, "withdrawals", as_json=as_json)


COMMANDS = (pause, resume)
