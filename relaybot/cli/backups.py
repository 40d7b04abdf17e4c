"""The commands that copy the book, bring it back, and let money leave again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from relaybot.cli.books import books
from relaybot.cli.shell import config_option, finish, json_option, load, show
from relaybot.operator import restoring


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@json_option
def backup(file: Path, config_path: Path, *, as_json: bool) -> None:
    """Copy the book, as it is at this moment, to a new FILE. The service may run on.

    Example: relaybot backup book-2026-11-26.sqlite3
    """
    show(finish(restoring.backup(load(config_path), file)), "backup", as_json=as_json)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@json_option
def restore(file: Path, config_path: Path, *, as_json: bool) -> None:
    """Make the book out of a backup; nothing goes out until `books agree`.

    Example: relaybot restore book-2026-11-26.sqlite3
    """
    show(finish(restoring.restore(load(config_path), file)), "restore", as_json=as_json)


@books.command("agree")
@click.option("--accept", "accepted", multiple=True, help="A payment hash, transaction or relay you accept as it is.")
@config_option
@json_option
def books_agree(accepted: tuple[str, ...], config_path: Path, *, as_json: bool) -> None:
    """After a restore: let money leave again, if book and node agree; else say on what they do not.

    Example: relaybot books agree
    """
    answer = finish(restoring.agree(load(config_path), accepted))
    show(answer, "agree", as_json=as_json)
    if not answer["agreed"]:
        sys.exit(1)


COMMANDS = (backup, restore)
