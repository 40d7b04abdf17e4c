"""How everything is measured: subjects take turns, round by round, and medians are compared.

Other work on the machine slows all subjects of a round alike, so only the ratios of one
run mean something. A subject is anything with a name that can be measured: another relay,
another database, the same thing with and without a load beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import structlog
import uvloop

Figures: TypeAlias = dict[str, float]  # of one round: what was measured, with its unit, and how much it was
NOT_IN_TIME = math.nan  # how much it was of what did not end in the time it had
Subjects: TypeAlias = Mapping[str, Callable[[], Awaitable[Figures]]]


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    """Return how long `work` takes."""
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def interleaved(subjects: Subjects, rounds: int) -> dict[str, Figures]:
    """Measure each subject once in each round; return the medians of each."""
    measured: dict[str, list[Figures]] = {name: [] for name in subjects}
    for number in range(rounds):
        for name, measure in subjects.items():
            say(f"round {number + 1} of {rounds}: {name}")
            measured[name].append(await measure())
    return {name: medians(figures) for name, figures in measured.items()}


def medians(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure over the rounds in which it was measured."""
    names = list(dict.fromkeys(name for figures in rounds for name in figures))
    found = {name: [figures[name] for figures in rounds if name in figures] for name in names}
    return {
        name: NOT_IN_TIME if any(map(math.isnan, each)) else statistics.median(each) for name, each in found.items()
    }


def say(text: str) -> None:
    """Tell whoever waits what is being done."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command's progress


def table(found: Mapping[str, Figures], *, markdown: bool = False) -> str:
    """Return the figures, a row each; from the second subject on with the ratio of the first one to it."""
    (first, ours), *_ = found.items()
    names = list(dict.fromkeys(name for figures in found.values() for name in figures))
    rows = [["", *found]]
    for name in names:
        row = [name]
        for subject, figures in found.items():
            figure = figures.get(name)
            alone = subject == first or not figure or math.isnan(figure) or name not in ours
            ratio = "" if alone or figure is None else f" ({ours[name] / figure:.2f}x)"
            row.append("-" if figure is None else f"{_written(figure)}{ratio}")
        rows.append(row)
    if markdown:
        head, *body = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([head, f"|{'---|' * len(rows[0])}", *body])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def arguments(about: str) -> argparse.ArgumentParser:
    """Return the options all measurements have."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=3, help="how often each subject is measured (default: 3)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the medians as JSON")
    form.add_argument("--markdown", action="store_true", help="print the table for docs/performance.md")
    return parser


def report(found: Mapping[str, Figures], options: argparse.Namespace) -> None:
    """Print what was found in the form that was asked for."""
    text = json.dumps(_plain(found), indent=2) if options.json else table(found, markdown=options.markdown)
    print(text)  # noqa: T201 - the command's answer


def run(about: str, subjects: Subjects) -> None:
    """Be a whole command: measure `subjects`, print the result."""
    options = arguments(about).parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # errors only
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report(runner.run(interleaved(subjects, options.rounds)), options)


def _plain(found: Mapping[str, Figures]) -> dict[str, dict[str, float | None]]:
    """Return the figures as JSON has them: null for what did not end in time."""
    return {
        subject: {name: None if math.isnan(figure) else figure for name, figure in figures.items()}
        for subject, figures in found.items()
    }


def _written(figure: float) -> str:
    if math.isnan(figure):
        return "not in time"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:,.1f}" if figure >= 10 else f"{figure:,.2f}"
