"""The commands about the books: are they right, why did money move, what is published."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import click

from relaybot.cli.shell import config_option, finish, json_option, keyring_of, load, read_npub, show, show_table
from relaybot.operator import checking, explaining, exporting, people, publishing, rereading, verifying


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


@books.command("reread")
@config_option
@json_option
def books_reread(config_path: Path, *, as_json: bool) -> None:
    """Read the node's settlements again from the first one: after it was restored from a backup.

    Example: relaybot books reread
    """
    show(finish(rereading.reread_settlements(load(config_path))), "settlements", as_json=as_json)


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
    for sentence in answer["words"]:
        click.echo(sentence)
    show_table("transfers", answer["transfers"])


@books.command("export")
@click.option("--format", "form", type=click.Choice(("hledger", "csv")), default="hledger", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file; else it goes to stdout.")
@config_option
@json_option
def books_export(form: exporting.Format, out: Path | None, config_path: Path, *, as_json: bool) -> None:
    """Write the whole book for other programs, each transfer with the balances it left.

    hledger checks every entry by them. The export is one committed state; the service may go on.

    Example: relaybot books export --format csv --out book.csv
    """
    config = load(config_path)
    if as_json and out is None:
        raise click.UsageError("--json says how it went: give --out a file for the book itself")
    with out.open("w", encoding="utf-8") if out is not None else contextlib.nullcontext(sys.stdout) as target:
        count = finish(exporting.export(config, form, target.write))
    if out is not None:
        show({"file": str(out), "format": form, "transfers": count}, "export", as_json=as_json)


@books.command("statement")
@click.argument("npub")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, as the user's own `statement` does.")
@config_option
@json_option
def books_statement(npub: str, config_path: Path, *, as_csv: bool, as_json: bool) -> None:
    """List every entry on somebody's accounts, oldest first, with its cause in words.

    Example: relaybot books statement npub1vh36ayf29e5uhmww54qaxlakgqw0ggfl29gdm50uhdrwdgpggfusdg6afu
    """
    config, pubkey = load(config_path), read_npub(npub, "NPUB")
    if as_csv:
        click.echo(finish(people.statement_csv(config, pubkey)), nl=False)
    else:
        show(finish(people.statement(config, pubkey)), "statement", as_json=as_json)


@books.command("verify")
@click.argument("npub")
@click.option("--relay", required=True, help="Where it has published, such as wss://relay.example.com.")
@click.option("--proof", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="What `proof` answered.")
@json_option
def books_verify(npub: str, relay: str, proof: Path | None, *, as_json: bool) -> None:
    """Check what a service has published of its accounts, from a relay alone, and your own proof against it.

    NPUB is the key of its accounts. With the last line of the answer to `proof` in a file, it is checked
    that your balance is in the published liabilities.

    Example: relaybot books verify npub1vh36ayf29e5uhmww54qaxlakgqw0ggfl29gdm50uhdrwdgpggfusdg6afu --relay ws://127.0.0.1:7447
    """
    text = None if proof is None else proof.read_text(encoding="utf-8").strip().splitlines()[-1]
    show(finish(verifying.verify_accounts(read_npub(npub, "NPUB"), relay, text)), "accounts", as_json=as_json)


@click.group()
def users() -> None:
    """See one person's money."""


@users.command("show")
@click.argument("npub")
@config_option
@json_option
def users_show(npub: str, config_path: Path, *, as_json: bool) -> None:
    """Show what somebody has by class, what is held, where they want to be paid, and their newest entries.

    Example: relaybot users show npub1vh36ayf29e5uhmww54qaxlakgqw0ggfl29gdm50uhdrwdgpggfusdg6afu
    """
    show(finish(people.show_user(load(config_path), read_npub(npub, "NPUB"))), "user", as_json=as_json)


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


COMMANDS = (books, users, accounts)
