"""`relaybot demo`: the worked example, played."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from relaybot.cli.shell import configure_logging, finish, json_option
from relaybot.demo.play import DemoOptions, play

INTERRUPTED = 130  # as after Ctrl-C


@click.command()
@click.option("--once", is_flag=True, help="End after the story: exit 0 only if every figure is right.")
@click.option("--port", default=7447, show_default=True, help="Port of relay and page; 0 takes a free one.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Keep the demo's data here.")
@json_option
def demo(*, once: bool, port: int, data: Path | None, as_json: bool) -> None:
    """Play the worked example: a job is asked for, paid, done, split and paid out.

    Example: relaybot demo --once --json
    """
    configure_logging("error", "console")  # the story speaks for itself; each process has a log file
    try:
        story = finish(play(DemoOptions(once=once, port=port, data=data, as_json=as_json)))
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)
    if not story.ok:
        sys.exit(1)


COMMANDS = (demo,)
