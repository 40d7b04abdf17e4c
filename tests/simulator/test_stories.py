"""The whole bot through days on which everything goes wrong, each drawn from its seed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bolt11 import bit_utils

from tests.environment import untraced
from tests.simulator import bits
from tests.simulator.story import play, shortest
from tests.simulator.timeline import Stuck, VirtualLoop

ROOT = Path(__file__).parents[2]
SEEDS = 200
STEPS_EACH = 10  # fewer than `make sim` has: everybody runs this
BATCH = 10  # stories of one test


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_whatever_goes_wrong_everybody_has_their_due_in_the_evening(first: int) -> None:
    for seed in range(first, first + BATCH):
        story = play(seed, STEPS_EACH)
        if story.broken:
            story = shortest(seed, story.steps)
            told = "\n".join((*story.lines, f"make sim SEED={seed} STEPS={story.steps}", *story.broken))
            pytest.fail(told, pytrace=False)


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    assert told("1") == told("2")


def told(salt: str) -> list[str]:
    """Return the fingerprints of a few stories, told by a process with hashes of its own."""
    command = [sys.executable, "-m", "tests.simulator", "--seeds", "0:4", "--steps", f"{STEPS_EACH}", "--digest"]
    env = {**untraced(), "PYTHONHASHSEED": salt}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[:4]


def test_another_seed_is_another_story() -> None:
    assert play(3, steps=8).digest == play(3, steps=8).digest != play(4, steps=8).digest


def test_groups_are_put_together_as_the_package_for_invoices_does_it() -> None:
    groups = [0, 31, 1, 16, 21] * 8
    assert bits.from_groups(groups) == bit_utils.u5_to_bitarray(groups)


def test_a_loop_on_which_nothing_can_happen_says_so() -> None:
    loop = VirtualLoop()
    with pytest.raises(Stuck, match="nothing is left"):
        loop.run_until_complete(loop.create_future())
    loop.close()
