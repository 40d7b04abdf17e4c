"""The commands about the books: are they right, why did money move, what is published."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from relaybot.cli.shell import config_option, finish, json_option, keyring_of, load, show, show_table
from relaybot.operator import checking, explaining, publishing


@click.group()
def books() -> None:
    """Check and explain the books."""


@books.command("check")
@config_option
@json_option
def books_check(config_path: Path, *, as_json: bool) -> None:
    """Check every invariant of the book, and the node's movements against it.

    Example: relaybot books check
    """
    answer = finish(checking.check_books(load(config_path)))
    show(answer, "books", as_json=as_json)
    if not answer["sound"]:
        sys.exit(1)


@books.command("own")
@click.argument("key")
@config_option
@json_option
def books_own(key: str, config_path: Path, *, as_json: bool) -> None:
    """Say that a difference with the node is your own doing: coins you sent to it, a payment you made by hand.

    KEY is the payment hash or transaction id that `books check` names. It is booked against
    platform/capital, once.

    Example: relaybot books own 4f7e904b7b1b69809bcfeee19d9f8ff8e018153b755931bc324d8b9eae67de19
    """
    show(finish(checking.own(load(config_path), key)), "own", as_json=as_json)


@books.command("explain")
@click.argument("what")
@config_option
@json_option
def books_explain(what: str, config_path: Path, *, as_json: bool) -> None:
    """Say why money moved, by the id of a transfer, a job or a payout.

    Example: relaybot books explain 5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36
    """
    answer = finish(explaining.explain(load(config_path), what))
    if as_json:
        click.echo(json.dumps(answer))
        return
    for title in ("job", "payout", "attempts", "transfers"):
        if answer.get(title):
            show_table(title, answer[title] if isinstance(answer[title], list) else [answer[title]])


@click.group()
def accounts() -> None:
    """Publish the anonymised accounts."""


@accounts.command("publish")
@click.option("--day", help="A UTC day, such as 2026-11-22; today's only where accounting.allow_open_day is set.")
@config_option
@json_option
def accounts_publish(day: str | None, config_path: Path, *, as_json: bool) -> None:
    """Publish the accounts of one day, once; the service does so by itself after each day.

    Example: relaybot accounts publish --day 2026-11-22
    """
    config = load(config_path)
    show(finish(publishing.publish_accounts(config, keyring_of(config), day)), "accounts", as_json=as_json)


COMMANDS = (books, accounts)
