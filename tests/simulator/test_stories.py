"""The whole bot through many days in which everything goes wrong, and once more by the same chance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.story import play, shortest
from tests.simulator.timeline import Stuck, VirtualLoop

SEEDS = 200
BATCH = 10


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_whatever_goes_wrong_everybody_has_their_due_in_the_evening(first: int) -> None:
    for seed in range(first, first + BATCH):
        if play(seed).broken:
            story = shortest(seed, play(seed).steps)
            told = "\n".join((*story.lines, f"make sim SEED={seed} STEPS={story.steps}"))
            pytest.fail(f"{told}\n{story.broken}", pytrace=False)


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.simulator", "--seeds", "0:4", "--digest"]
    told = {
        subprocess.run(
            command,
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[:4].__str__()
        for salt in ("1", "2")
    }
    assert len(told) == 1, told


def test_a_fault_that_is_planted_is_told_as_a_story() -> None:
    story = play(3)
    assert not story.broken
    assert story.lives > 0
    assert any("asks" in line for line in story.lines)
    assert play(3).digest == story.digest
    assert play(4).digest != story.digest


def test_a_loop_on_which_nothing_can_happen_says_so() -> None:
    loop = VirtualLoop()
    with pytest.raises(Stuck, match="nothing is left"):
        loop.run_until_complete(loop.create_future())
    loop.close()
