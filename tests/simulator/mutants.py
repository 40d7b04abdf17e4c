"""Faults planted one at a time, each by a change of the text in a copy of the product; every one must be found.

`make sim-mutants` copies the packages, plants, plays 200 seeds until a story breaks, and prints a table. A change
whose text is no longer in the product fails the run: the list must follow the code.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from tests.environment import untraced
from tests.simulator.planted import ELSEWHERE, Mutant
from tests.simulator.planted_companies import IN_COMPANIES
from tests.simulator.planted_payouts import IN_PAYOUTS

ROOT = Path(__file__).parents[2]
COPIED = ("relaybot", "handlers", "wallet", "splits", "tests")
MUTANTS = (*ELSEWHERE, *IN_PAYOUTS, *IN_COMPANIES)
NO_CODE = re.compile("NameError|ImportError|SyntaxError|TypeError")
SECONDS_MAX = 900  # for all seeds of one mutant on a busy machine
PAGE = ROOT / "docs" / "testing.md"
_TABLE = re.compile(r"(?<=<!-- planted faults -->\n).*?(?=<!-- end of planted faults -->\n)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one mutant."""

    mutant: Mutant
    seed: int | None  # that found it
    said: str  # what was broken

    def __str__(self) -> str:
        found = "SURVIVED" if self.seed is None else f"seed {self.seed:3d}"
        return f"{found}  {self.mutant.name:70s}  {self.said}"


def table(trials: Sequence[Trial]) -> str:
    """Return what became of them, for a reader of the documents."""
    lines = ["| a fault | is found by seed |", "|---|---|"]
    lines += [f"| {one.mutant.name} | {'none' if one.seed is None else one.seed} |" for one in trials]
    return "\n".join(("", *lines, "", ""))


class NotThere(Exception):
    """The product's text has changed: a mutant can no longer be planted."""


def plant(mutant: Mutant, root: Path) -> None:
    """Change the copy at `root`; NotThere if the text to change is not there exactly once."""
    why = misfit(mutant)
    if why:
        raise NotThere(why)
    for file, before, after in mutant.changes:
        path = root / file
        path.write_text(path.read_text("utf-8").replace(before, after), "utf-8")


def misfit(mutant: Mutant) -> str:
    """Return why a mutant can no longer be planted, or ''."""
    for file, before, _ in mutant.changes:
        times = (ROOT / file).read_text("utf-8").count(before)
        if times != 1:
            return f"{mutant.name}: {file} holds {times} times: {before}"
    return ""


def copied(root: Path) -> Path:
    """Copy the product and the simulator to `root`."""
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def tried(mutant: Mutant, seeds: int) -> Trial:
    """Plant a mutant in a copy and play seeds until one finds it."""
    with tempfile.TemporaryDirectory(prefix="rb-mutant-") as directory:
        root = copied(Path(directory))
        plant(mutant, root)
        command = [sys.executable, "-W", "ignore", "-m", "tests.simulator", "--seeds", f"0:{seeds}", "--briefly"]
        env = {**untraced(), "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, cwd=root, env=env, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            return Trial(mutant, None, f"not found within {SECONDS_MAX} s: too few seeds were played")
    if done.returncode == 0:
        return Trial(mutant, None, "")
    found = re.search(r"^seed (\d+): (.*)$", done.stdout, re.MULTILINE)
    if found is None or NO_CODE.search(found[2]):  # that is no fault that anybody would ship
        why = found[2] if found is not None else (done.stderr.strip().splitlines() or ["?"])[-1]
        return Trial(mutant, None, f"does not run: {why[:120]}")
    return Trial(mutant, int(found[1]), found[2][:120])


@click.command()
@click.option("--seeds", default=200, show_default=True)
@click.option("--only", multiple=True, help="Those whose name holds this; may be said several times.")
@click.option("--at-once", default=2, show_default=True)
@click.option("--write", is_flag=True, help="Write the table into docs/testing.md.")
def main(seeds: int, only: tuple[str, ...], at_once: int, *, write: bool) -> None:
    """Plant every fault of the list, one at a time, and tell which seed finds it."""
    begun, wanted = time.monotonic(), [one for one in MUTANTS if not only or any(part in one.name for part in only)]
    misfits = [text for text in map(misfit, wanted) if text]
    if misfits:
        click.echo("\n".join(misfits))
        sys.exit(1)
    with ThreadPoolExecutor(at_once) as pool:
        trials = []
        for trial in pool.map(lambda mutant: tried(mutant, seeds), wanted):
            trials.append(trial)
            click.echo(str(trial))
    if write:
        PAGE.write_text(_TABLE.sub(lambda _: table(trials), PAGE.read_text("utf-8")), "utf-8")
    survived = sum(trial.seed is None for trial in trials)
    click.echo(f"{len(trials)} faults planted, {len(trials) - survived} found; {time.monotonic() - begun:.0f} s")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
