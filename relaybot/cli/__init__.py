"""The command line. Every command has an example in its help, says `--json`, and fails with a non-zero exit.

Here stand the entry point and the list of all commands; each group of commands has a module.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from relaybot.errors import RelaybotError

GARBAGE_AFTER = (
    20_000  # new objects, after which dead circles among them are looked for: modules being loaded make none
)


def main() -> None:
    """Run the command; print what went wrong in one line, without a traceback, if the error is not ours."""
    gc.set_threshold(GARBAGE_AFTER)
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


_ALONE = {"run": "service", "node": "service", "demo": "demo", "worker": "worker"}  # what must be up quickly
_MODULES = (
    "service",
    "demo",
    "worker",
    "books",
    "cards",
    "companies",
    "card_offers",
    "backups",
    "relay",
    "work",
    "switches",
    "market",
)


class _Commands(click.Group):
    """All commands. Those that must be up quickly import their own module only; the others share groups."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all."""
        self._load(_MODULES)
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one of them."""
        self._load((_ALONE[cmd_name],) if cmd_name in _ALONE else _MODULES)
        return super().get_command(ctx, cmd_name)

    def _load(self, modules: Iterable[str]) -> None:
        for name in modules:
            for command in importlib.import_module(f"{__name__}.{name}").COMMANDS:
                self.add_command(command)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="relaybot")
def cli() -> None:
    """Run a Nostr relay and payment bot: agent jobs that pay everybody who contributed, in bitcoin, at once."""
