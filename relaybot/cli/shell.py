"""What every command is made of: its options, the event loop it runs in, how it shows an answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
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

from relaybot.config import Config, load_config
from relaybot.errors import Rejected
from relaybot.keyring import SECRET_VARIABLE, Keyring, open_keyring
from relaybot.nostr import nip19
from wallet.money import Msat, parse_amount

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


class AmountType(click.ParamType[Msat]):
    """A sum of money: so many sat, or with its unit (`1500 msat`); `least` msat of it."""

    name = "amount"

    def __init__(self, least: int = 1) -> None:
        """Take `least` msat or more."""
        self._least = least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Msat:
        """Return it in msat; click says what is wrong otherwise."""
        text = str(value)
        try:
            amount = parse_amount(f"{text} sat" if text.isdecimal() else text)
        except Rejected as refusal:
            self.fail(refusal.reason, param, ctx)
        if amount < self._least:
            self.fail("that is nothing", param, ctx)
        return amount


AMOUNT, AMOUNT_OR_NOTHING = AmountType(), AmountType(0)


def load(path: Path) -> Config:
    """Return the configuration, and log as it says."""
    config = load_config(path, os.environ)
    configure_logging(config.log.level, config.log.format)
    return config


def keyring_of(config: Config) -> Keyring:
    """Return the service's keyring. Rejected if there is none: the first start of the service makes it."""
    if SECRET_VARIABLE not in os.environ and not config.keys.file.exists():
        raise Rejected("invalid", f"no key at {config.keys.file}; the first start of the service makes it")
    return open_keyring(config.keys.file, os.environ, b"")


def read_npub(text: str, option: str) -> str:
    """Return the hex pubkey that was given as `option`."""
    try:
        return nip19.parse_pubkey(text)
    except Rejected as refusal:
        raise click.BadParameter(refusal.reason, param_hint=option) from refusal


def finish(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end and return what it returns."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def run_until_signal(work: Coroutine[Any, Any, None]) -> None:
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

    finish(until_signal())


def configure_logging(level: str, form: str) -> None:
    """Write log lines to stderr: for eyes (`console`) or programs (`json`)."""
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


def show(answer: Mapping[str, Any] | Sequence[Mapping[str, Any]], title: str, *, as_json: bool) -> None:
    """Show one thing as lines, several as a table; or either as JSON."""
    if as_json:
        click.echo(json.dumps(answer))
    else:
        show_table(title, [answer] if isinstance(answer, Mapping) else answer)


def show_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
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
