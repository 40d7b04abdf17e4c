"""The command line. Every command has an example in its help, says `--json`, and fails with a non-zero exit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import secrets
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from relaybot import app, operator, workings
from relaybot.clock import SystemClock
from relaybot.config import Config, load_config
from relaybot.demo.play import DemoOptions, play
from relaybot.demo.work import resolve_issue
from relaybot.errors import Rejected, RelaybotError
from relaybot.keyring import SECRET_VARIABLE, Keyring, open_keyring, read_key
from relaybot.nostr import nip19
from relaybot.simulator.network import Running, run_node
from relaybot.worker.node import run_worker
from relaybot.worker.settings import WorkerSettings

Result = TypeVar("Result")

PIPE_COLUMNS = 600  # wide enough for every table

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("config.yaml"),
    envvar="RELAYBOT_CONFIG",
    show_default=True,
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


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


@cli.command()
@config_option
def run(config_path: Path) -> None:
    """Run the service: relay, bot and pages.

    Example: relaybot run --config config.yaml
    """
    config = _load(config_path)

    def ready(addresses: app.Addresses) -> None:
        click.echo(f"relay    {addresses.relay}\npage     {addresses.web}", err=True)
        click.echo(f"service  {nip19.encode_npub(addresses.service)}", err=True)
        for agent, pubkey in addresses.agents.items():
            click.echo(f"agent    {agent}  {nip19.encode_npub(pubkey)}", err=True)

    _run_until_signal(app.serve(config, os.environ, ready=ready))


@cli.command()
@click.option("--once", is_flag=True, help="End after the story: exit 0 only if every figure is right.")
@click.option("--port", default=7447, show_default=True, help="Port of relay and page; 0 takes a free one.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Keep the demo's data here.")
@json_option
def demo(*, once: bool, port: int, data: Path | None, as_json: bool) -> None:
    """Play the worked example: a job is asked for, paid, done, split and paid out.

    Example: relaybot demo --once --json
    """
    _configure_logging("error", "console")  # the story speaks for itself; each process has a log file
    story = _await(play(DemoOptions(once=once, port=port, data=data, as_json=as_json)))
    if not story.ok:
        sys.exit(1)


@cli.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=Path("data/lightning"))
@click.option("--port", default=7480, show_default=True, help="Port of the wallets' world; 0 takes a free one.")
@json_option
def node(data: Path, port: int, *, as_json: bool) -> None:
    """Run the simulated Lightning node and its world of wallets. No real money moves.

    Example: relaybot node --data data/lightning --port 7480
    """

    def ready(running: Running) -> None:
        found = {"url": running.url} | {f"{name} socket": str(path) for name, path in running.sockets.items()}
        _show([found], "simulated Lightning", as_json)

    _configure_logging("info", "console")
    _run_until_signal(run_node(data_dir=data, http_host="127.0.0.1", http_port=port, ready=ready))


@cli.command()
@click.option("--relay", "relays", multiple=True, required=True, help="A relay of the service; may be repeated.")
@click.option("--service", required=True, help="The service's npub.")
@click.option("--key", "key_file", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Your nsec.")
@click.option("--kind", "kinds", type=click.IntRange(5000, 5999), multiple=True, default=(5050,), show_default=True)
@click.option("--command", "command", help="The program that does the work: JSON in, result out. Never a shell.")
@click.option("--demo-work", is_flag=True, help="Do the demonstration's work instead.")
@click.option("--name", default="workerbee", show_default=True)
@click.option("--lud16", help="The Lightning Address that is paid.")
@click.option("--concurrency", default=4, show_default=True)
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), default=Path("data/worker"))
def worker(**options: Any) -> None:
    """Run a compute node: it announces itself, takes assignments, does the work, is paid.

    Example: relaybot worker --relay ws://127.0.0.1:7447 --service npub1… --key worker.nsec --command ./work.py
    """
    if bool(options["command"]) == options["demo_work"]:
        raise click.UsageError("give exactly one of --command and --demo-work")
    _configure_logging("info", "console")
    keypair = read_key(options["key_file"], "--key")
    click.echo(f"node     {nip19.encode_npub(keypair.pubkey)}  (the service must list it in workers.allowed)", err=True)
    settings = WorkerSettings(
        relay_urls=tuple(options["relays"]),
        service_pubkey=_npub(options["service"], "--service"),
        kinds=frozenset(options["kinds"]),
        keypair=keypair,
        command=tuple(shlex.split(options["command"])) if options["command"] else None,
        work=resolve_issue if options["demo_work"] else None,
        concurrency=options["concurrency"],
        name=options["name"],
        lud16=options["lud16"],
        state_dir=options["state"],
    )
    _run_until_signal(run_worker(settings, clock=SystemClock(), chance=secrets.token_bytes, jitter=random.random))


@cli.command()
@config_option
@json_option
def keys(config_path: Path, *, as_json: bool) -> None:
    """Show the public keys of the service, its books and its agents.

    Example: relaybot keys --json
    """
    config = _load(config_path)
    keyring = _keyring(config)
    pubkeys = {role: keyring.key(role).pubkey for role in ("service", "zapper", "books", "relay")}
    pubkeys |= {f"agent/{agent}": workings.agent_key(config, keyring, agent).pubkey for agent in config.agents}
    _show([{"role": role, "npub": nip19.encode_npub(pubkey)} for role, pubkey in pubkeys.items()], "keys", as_json)


@cli.command()
@config_option
def migrate(config_path: Path) -> None:
    """Bring the database of the book up to date; `run` does so too.

    Example: relaybot migrate
    """
    _await(operator.migrate(_load(config_path)))
    click.echo("the database is up to date")


@cli.group()
def books() -> None:
    """Check and explain the books."""


@books.command("check")
@config_option
@json_option
def books_check(config_path: Path, *, as_json: bool) -> None:
    """Check every invariant of the book, and the node's movements against it.

    Example: relaybot books check
    """
    answer = _await(operator.check_books(_load(config_path)))
    _show([answer], "books", as_json)
    if not answer["sound"]:
        sys.exit(1)


@books.command("explain")
@click.argument("what")
@config_option
@json_option
def books_explain(what: str, config_path: Path, *, as_json: bool) -> None:
    """Say why money moved, by the id of a transfer, a job or a payout.

    Example: relaybot books explain 5c83da77af1dec6d7289834998ad7aafbd9e2191396d75ec3cc27f5a77226f36
    """
    answer = _await(operator.explain(_load(config_path), what))
    if as_json:
        click.echo(json.dumps(answer))
        return
    for title in ("job", "payout", "attempts", "transfers"):
        if answer.get(title):
            _table(title, answer[title] if isinstance(answer[title], list) else [answer[title]])


@cli.group()
def jobs() -> None:
    """See jobs."""


@jobs.command("list")
@click.option("--limit", default=50, show_default=True)
@config_option
@json_option
def jobs_list(limit: int, config_path: Path, *, as_json: bool) -> None:
    """List the newest jobs.

    Example: relaybot jobs list --limit 10
    """
    _show(_await(operator.list_jobs(_load(config_path), limit)), "jobs", as_json)


@cli.group()
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
    _show(_await(operator.list_payouts(_load(config_path), limit, unfinished=unfinished)), "payouts", as_json)


@cli.group()
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
    config = _load(config_path)
    _show([_await(operator.publish_accounts(config, _keyring(config), day))], "accounts", as_json)


@cli.group("config")
def config_group() -> None:
    """Look at the configuration."""


@config_group.command("check")
@config_option
def config_check(config_path: Path) -> None:
    """Read the configuration and say everything that is wrong with it.

    Example: relaybot config check --config config.yaml
    """
    config = load_config(config_path, os.environ)
    click.echo(f"{config_path}: good; {len(config.agents)} agents, {len(config.people)} people")


def _load(path: Path) -> Config:
    config = load_config(path, os.environ)
    _configure_logging(config.log.level, config.log.format)
    return config


def _keyring(config: Config) -> Keyring:
    """Return the service's keyring. Rejected if there is none: the first start of the service makes it."""
    if SECRET_VARIABLE not in os.environ and not config.keys.file.exists():
        raise Rejected("invalid", f"no key at {config.keys.file}; the first start of the service makes it")
    return open_keyring(config.keys.file, os.environ, b"")


def _npub(text: str, option: str) -> str:
    try:
        return nip19.parse_pubkey(text)
    except Rejected as refusal:
        raise click.BadParameter(refusal.reason, param_hint=option) from refusal


def _await(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _run_until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGINT or SIGTERM, then stop clean."""

    async def until_signal() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        asked = False

        def stop() -> None:  # once: a second signal must not cut off the clean end that the first one began
            nonlocal asked
            if not asked:
                asked = True
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    _await(until_signal())


def _configure_logging(level: str, form: str) -> None:
    renderer: Callable[..., Any] = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def _show(rows: Sequence[Mapping[str, Any]], title: str, as_json: bool) -> None:  # noqa: FBT001  from the flag
    if as_json:
        click.echo(json.dumps(list(rows) if len(rows) != 1 or title in {"jobs", "payouts", "keys"} else rows[0]))
    else:
        _table(title, rows)


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show one thing as lines, several as a table; nothing is cut off, in a pipe nothing is folded either."""
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    if len(rows) == 1:
        width = max(len(name) for name in rows[0])
        for name, value in rows[0].items():
            console.print(f"{name:<{width}}  {_cell(value)}", highlight=False, markup=False, soft_wrap=True)
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ["nothing yet"]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
