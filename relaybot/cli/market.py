"""The commands about others' skills and agents: what waits, what it changes for whom, yes and no."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relaybot.cli.shell import config_option, finish, json_option, keyring_of, load, show
from relaybot.operator import market as deciding


@click.group()
def market() -> None:
    """Decide which skills and agents of others are offered here (marketplace: approved)."""


@market.command("list")
@config_option
@json_option
def market_list(config_path: Path, *, as_json: bool) -> None:
    """List the versions that wait for approval, then those in service.

    Example: relaybot market list
    """
    show(finish(deciding.list_versions(load(config_path))), "market", as_json=as_json)


@market.command("show")
@click.argument("event_id")
@config_option
@json_option
def market_show(event_id: str, config_path: Path, *, as_json: bool) -> None:
    """Show what a version is, and what it changes for whom.

    Example: relaybot market show 5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36
    """
    config = load(config_path)
    shown = finish(deciding.show_version(config, keyring_of(config), event_id))
    click.echo(json.dumps(shown) if as_json else "\n".join(lines(shown)))


@market.command("approve")
@click.argument("event_id")
@config_option
@json_option
def market_approve(event_id: str, config_path: Path, *, as_json: bool) -> None:
    """Put exactly this version into service, in the place of the one before. The running service takes it up by itself.

    Example: relaybot market approve 5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36
    """
    config = load(config_path)
    show(finish(deciding.approve(config, keyring_of(config), event_id)), "market", as_json=as_json)


@market.command("refuse")
@click.argument("event_id")
@click.option("--reason", default="", help="What the author is told.")
@config_option
@json_option
def market_refuse(event_id: str, reason: str, config_path: Path, *, as_json: bool) -> None:
    """Refuse a version that waits, or take an approved one out of service; jobs under way keep it.

    Example: relaybot market refuse 5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36 --reason "too dear"
    """
    config = load(config_path)
    show(finish(deciding.refuse(config, keyring_of(config), event_id, reason)), "market", as_json=as_json)


def lines(shown: Mapping[str, Any]) -> list[str]:
    """Return a version as people read it: what it is, then who gets what by it."""
    plain = {key: _printable(value) for key, value in shown.items() if isinstance(value, str) and value}
    width = max(map(len, plain))
    found = [f"{key:<{width}}  {value}" for key, value in plain.items()]
    if "by_role" in shown:
        parts = ", ".join(f"{role} {part}" for role, part in shown["by_role"].items())
        found.append(f"{'by_role':<{width}}  {parts}")
    if "who_gets_what" in shown:
        found.append(
            f"who gets what of {shown['highest_price']}:" if "price" in shown else "who gets what each time it is used:"
        )
        found += [_taker(line) for line in shown["who_gets_what"]]
    if shown["must_agree_first"]:
        found.append("must agree first, for they get less: " + ", ".join(shown["must_agree_first"]))
    return found


def _printable(text: str) -> str:
    """Return a stranger's text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _taker(line: Mapping[str, str]) -> str:
    amount = line["after"] if line["note"] in {"new", "same"} else f"{line['before']} → {line['after']}"
    return f"  {line['note']:<8} {line['who']} as {line['role']}: {amount}"


COMMANDS = (market,)
