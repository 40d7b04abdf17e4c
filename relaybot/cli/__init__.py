"""The command line. Every command has an example in its help, says `--json`, and fails with a non-zero exit.

Here stand the entry point and the list of all commands; each group of commands has a module.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from relaybot.cli import backups, books, card_offers, cards, companies, market, relay, service, switches, work, worker
from relaybot.errors import RelaybotError


def main() -> None:
    """Run the command; print what went wrong in one line, without a traceback, if the error is not ours."""
    os.umask(0o077)  # what we write holds other people's money and words: for our own user only
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except RelaybotError as error:
        click.echo(f"relaybot: {error}", err=True)
        sys.exit(1)
    except BaseExceptionGroup as group:
        if group.split(RelaybotError)[1] is not None:
            raise
        for leaf in _leaves(group):
            click.echo(f"relaybot: {leaf}", err=True)
        sys.exit(1)


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """Return the errors inside a TaskGroup's error."""
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="relaybot")
def cli() -> None:
    """Run a Nostr relay and payment bot: agent jobs that pay everybody who contributed, in bitcoin, at once."""


for command in (
    *service.COMMANDS,
    *worker.COMMANDS,
    *books.COMMANDS,
    *cards.COMMANDS,
    *companies.COMMANDS,
    *card_offers.COMMANDS,
    *backups.COMMANDS,
    *relay.COMMANDS,
    *work.COMMANDS,
    *switches.COMMANDS,
    *market.COMMANDS,
):
    cli.add_command(command)
