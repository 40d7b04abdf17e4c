"""The commands that run something (the service, a node), and those about its keys and files."""

from __future__ import annotations

import gc
import os
from collections.abc import Sized
from pathlib import Path

import click

from relaybot import app, workings
from relaybot.cli.shell import (
    config_option,
    configure_logging,
    finish,
    json_option,
    keyring_of,
    load,
    run_until_signal,
    show,
)
from relaybot.config import cautions, load_config
from relaybot.nostr import nip19
from relaybot.operator import opening
from relaybot.simulator.network import Running, run_node
from relaybot.workings import Role


@click.command()
@config_option
@click.option("--roles", help="Only these, if several processes share a book: relay, bot, money, accounts.")
def run(config_path: Path, roles: str | None) -> None:
    """Run the service: relay, bot and pages.

    Example: relaybot run --config config.yaml

    Example: relaybot run --config config.yaml --roles bot,money
    """
    config = load(config_path)

    def ready(addresses: app.Addresses) -> None:
        # What stands here stays. Looking through it for dead circles was a fifth of what a busy relay's loop did.
        gc.freeze()
        if addresses.relay:
            click.echo(f"relay    {addresses.relay}\npage     {addresses.web}", err=True)
        click.echo(f"service  {nip19.encode_npub(addresses.service)}", err=True)
        for agent, pubkey in addresses.agents.items():
            click.echo(f"agent    {agent}  {nip19.encode_npub(pubkey)}", err=True)

    run_until_signal(app.serve(config, os.environ, ready=ready, roles=_roles(roles)))


def _roles(text: str | None) -> list[Role]:
    if text is None:
        return [*Role]
    try:
        return [Role(name.strip()) for name in text.split(",")]
    except ValueError:
        known = ", ".join(role.value for role in Role)
        raise click.BadParameter(f"a list of {known}, with commas between", param_hint="--roles") from None


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=Path("data/lightning"))
@click.option("--port", default=7480, show_default=True, help="Port of the wallets' world; 0 takes a free one.")
@json_option
def node(data: Path, port: int, *, as_json: bool) -> None:
    """Run the simulated Lightning node and its world of wallets. No real money moves.

    Example: relaybot node --data data/lightning --port 7480
    """

    def ready(running: Running) -> None:
        found = {"url": running.url} | {f"{name} socket": str(path) for name, path in running.sockets.items()}
        show(found, "simulated Lightning", as_json=as_json)

    configure_logging("info", "console")
    run_until_signal(run_node(data_dir=data, http_host="127.0.0.1", http_port=port, ready=ready))


@click.command()
@config_option
@json_option
def keys(config_path: Path, *, as_json: bool) -> None:
    """Show the public keys of the service, its books and its agents.

    Example: relaybot keys --json
    """
    config = load(config_path)
    keyring = keyring_of(config)
    pubkeys = {role: keyring.key(role).pubkey for role in ("service", "zapper", "books", "relay")}
    pubkeys |= {f"agent/{agent}": workings.agent_key(config, keyring, agent).pubkey for agent in config.agents}
    show(
        [{"role": role, "npub": nip19.encode_npub(pubkey)} for role, pubkey in pubkeys.items()], "keys", as_json=as_json
    )


@click.command()
@config_option
def migrate(config_path: Path) -> None:
    """Bring the database of the book up to date; `run` does so too.

    Example: relaybot migrate
    """
    finish(opening.migrate(load(config_path)))
    click.echo("the database is up to date")


@click.group("config")
def config_group() -> None:
    """Look at the configuration."""


@config_group.command("check")
@config_option
def config_check(config_path: Path) -> None:
    """Read the configuration and say everything that is wrong with it, and what is right and hardly meant.

    Example: relaybot config check --config config.yaml
    """
    config = load_config(config_path, os.environ)
    for caution in cautions(config):
        click.echo(f"relaybot: caution: {caution}", err=True)
    agents, people = _counted(config.agents, "agent", "agents"), _counted(config.people, "person", "people")
    click.echo(f"{config_path}: good; {agents}, {people}")


def _counted(things: Sized, one: str, several: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else several}"


COMMANDS = (run, node, keys, migrate, config_group)
