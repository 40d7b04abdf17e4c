"""The commands about the relay's events: all of them out, and others in."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from relaybot.cli.shell import config_option, finish, json_option, load, show
from relaybot.clock import SystemClock
from relaybot.operator import moving
from relaybot.relay.event_pages import count_events

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def relay() -> None:
    """Carry the relay's events out and in, as JSON lines."""


@relay.command("export")
@click.argument("file", type=FILE, required=False)
@config_option
@json_option
def relay_export(file: Path | None, config_path: Path, *, as_json: bool) -> None:
    """Write every stored event to FILE, else to stdout: one a line, in the order of arrival. The relay may go on.

    Gift wraps are among them, expired events are not.

    Example: relaybot relay export events.jsonl
    """
    config = load(config_path)
    if as_json and file is None:
        raise click.UsageError("--json says how it went: name a file for the events themselves")
    total = count_events(config.relay.database)  # fails before a file is touched
    with (
        file.open("wb") if file is not None else contextlib.nullcontext(sys.stdout.buffer) as target,
        _progress("events") as progress,
    ):
        count = moving.export_events(config, target.write, SystemClock(), progress, total)
    if file is not None:
        show({"file": str(file), "events": count}, "export", as_json=as_json)


@relay.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@config_option
@json_option
def relay_import(file: Path | None, config_path: Path, *, as_json: bool) -> None:
    """Store the events of FILE, else of stdin: one a line, in any order. The relay must be stopped.

    Each is checked as if its author published it now: shape, id, signature, sizes, kinds. The first
    refusals are told with their lines. What is there already counts as duplicate: it may be repeated.

    Example: relaybot relay import events.jsonl
    """
    config = load(config_path)
    with (
        file.open("rb") if file is not None else contextlib.nullcontext(sys.stdin.buffer) as source,
        _progress("bytes") as progress,
    ):
        tally = finish(moving.import_events(config, source, SystemClock(), progress, _size(file)))
    answer = {name: value for name, value in asdict(tally).items() if name != "failed_at"}
    if as_json:
        show(answer, "import", as_json=True)
        return
    refusals = answer.pop("refusals")
    show(answer, "import", as_json=False)
    for refusal in refusals:
        click.echo(f"line {refusal['line']}: {refusal['reason']}")


def _size(file: Path | None) -> int | None:
    return file.stat().st_size if file is not None else None


@contextlib.contextmanager
def _progress(unit: str) -> Iterator[moving.Progress]:
    """Show on stderr how far it is, where somebody looks at it."""
    columns = (BarColumn(), TaskProgressColumn(), TextColumn(f"{{task.completed:,.0f}} {unit}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(unit, total=None)

        def tell(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield tell


COMMANDS = (relay,)
