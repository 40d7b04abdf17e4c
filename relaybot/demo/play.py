"""`relaybot demo`: the stage is set, the story is played, and everybody can watch.

On a terminal it shows what happens as it happens; without one, plain lines; with
`--json`, one object at the end and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from relaybot.demo.stage import HOST, ProcessStage, free_port
from relaybot.demo.story import Outcome, Story
from relaybot.errors import BadConfig, RelaybotError
from wallet.money import format_sat


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says."""

    once: bool
    port: int
    data: Path | None
    as_json: bool


async def play(options: DemoOptions) -> Outcome:
    """Play the story; unless it is played once, keep everything running until Ctrl-C.

    BadConfig if somebody listens on the port, or the directory is in use; CancelledError if it is told to end in
    the middle.
    """
    console = Console(quiet=options.as_json)
    # Whoever is told to end in the middle ends the processes of the stage, too. Not by way of SIGINT: shells have
    # what they start in the background ignore it.
    task = asyncio.current_task()
    assert task is not None, "play is awaited by a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        data = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relaybot-")))
        data = data.absolute()
        data.mkdir(parents=True, exist_ok=True)
        if any(data.iterdir()):
            raise BadConfig("--data", str(data), "a new or empty directory: the story begins with empty books")
        stage = ProcessStage(data, options.port or free_port())
        stack.push_async_callback(stage.stop)
        story = Story(stage, Teller(console))
        try:
            with console.status("The story is played"):
                await story.perform()
        except BaseExceptionGroup as broken:
            if broken.split(RelaybotError)[1] is not None:
                raise
            _complain(broken, data, console, as_json=options.as_json)
            return story.outcome
        if options.as_json:
            print(json.dumps(asdict(story.outcome)))  # noqa: T201  the command's answer
        _show(story.outcome, console)
        if not options.once:
            await _stay(stage, story.outcome, console)
    if not options.once:
        console.print("stopped", highlight=False)
    return story.outcome


class Teller:
    """Number the steps of the story as they are told."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._step = 0

    def __call__(self, text: str) -> None:
        """Tell the next step."""
        self._step += 1
        self._console.print(f"[bold cyan]{self._step:2}[/]  {text}", highlight=False, soft_wrap=True)


def _show(outcome: Outcome, console: Console) -> None:
    table = Table(title="\nThe first job, 12,000 sat: who got what, in sat", title_justify="left", box=SIMPLE_HEAD)
    for column in ("who", "as", "earned", "sent", "routing fee", "stays", "payout"):
        table.add_column(column, justify="left" if column in {"who", "as", "payout"} else "right")
    for person in outcome.people:
        earned, sent, fee = (person[name] for name in ("earned_msat", "paid_out_msat", "payout_fee_msat"))
        amounts = map(_sats, (earned, sent, fee, earned - sent - fee))
        table.add_row(person["name"].title(), person["role"], *amounts, person["payout_state"])
    table.add_row("the platform", "", _sats(outcome.platform_revenue_msat), "", "", "", "keeps it", style="dim")
    console.print(table)
    console.print("What stays is the fee reserve the route did not need: balance, for the next payout.\n")
    jobs = Table(title="Bob's balance", title_justify="left", box=SIMPLE_HEAD)
    for column in ("job", "before", "after"):
        jobs.add_column(column, justify="left" if column == "job" else "right")
    for job in outcome.customer:
        jobs.add_row(job["job"], format_sat(job["balance_before_msat"]), format_sat(job["balance_after_msat"]))
    console.print(jobs)


def _sats(msat: int) -> str:
    return format_sat(msat).removesuffix(" sat")


def _complain(broken: BaseExceptionGroup[Any], data: Path, console: Console, *, as_json: bool) -> None:
    reasons = _leaves(broken)
    if as_json:
        print(json.dumps({"ok": False, "problems": reasons}))  # noqa: T201  the command's answer
    console.print("\n[bold red]The story broke:[/]", "; ".join(reasons), highlight=False)
    for log in sorted(data.glob("*.log")):
        last = log.read_text(errors="replace").splitlines()[-15:]
        console.print(f"\n[bold]{log.name}[/]\n" + "\n".join(last), highlight=False, markup=False)


def _leaves(group: BaseExceptionGroup[Any]) -> Sequence[str]:
    found: list[str] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return found


async def _stay(stage: ProcessStage, outcome: Outcome, console: Console) -> None:
    """Leave everything running, and say where to look, until the first signal."""
    page = f"http://{HOST}:{stage.port}/"
    console.print(
        f"\nEverything keeps running:\n"
        f"  page     {page}\n"
        f"  the day  {page}accounts/{outcome.day}\n"
        f"  agent    {page}agents/autodev\n"
        f"  how      {page}how\n"
        f"  account  {page}account\n"
        f"  by card  {outcome.card_page}\n"
        f"  relay    ws://{HOST}:{stage.port}\n"
        f"  wallets  {stage.wallets_url}\n"
        f"  books    {sys.argv[0]} books check --config {stage.config}\n"
        f"Press Ctrl-C to end.",
        highlight=False,
        markup=False,
        soft_wrap=True,  # a command that is broken in two cannot be pasted
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
