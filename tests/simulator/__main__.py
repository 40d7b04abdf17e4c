"""`python -m tests.simulator`: play seeds, and tell the story of one that goes wrong."""

from __future__ import annotations

import sys
import time

import click

from tests.simulator.bits import hasten
from tests.simulator.story import STEPS, Story, play, shortest


@click.command()
@click.option("--seed", type=int, help="Tell the whole story of this seed.")
@click.option("--seeds", default="0:200", show_default=True, help="Play all of these: first:end.")
@click.option("--steps", default=STEPS, show_default=True, help="How much happens in a story.")
@click.option("--briefly", is_flag=True, help="Name the seed that goes wrong, and tell no story.")
@click.option("--digest", is_flag=True, help="Print a fingerprint of each story.")
def main(seed: int | None, seeds: str, steps: int, *, briefly: bool, digest: bool) -> None:
    """Play stories of the whole bot, each from its seed."""
    hasten()
    if seed is not None:
        story = play(seed, steps)
        click.echo("\n".join(story.lines))
        click.echo(f"seed {seed}, {steps} steps, {story.lives} lives, {story.seconds:.0f} s, {story.digest}")
        click.echo(_verdict(story))
        sys.exit(bool(story.broken))
    first, end = (int(part) for part in seeds.split(":"))
    begun = time.process_time()
    for number in range(first, end):
        story = play(number, steps)
        if digest:
            click.echo(f"{number} {story.digest}")
        if story.broken and briefly:
            click.echo(f"seed {number}: {story.broken[0]}")
            sys.exit(1)
        if story.broken:
            story = shortest(number, steps)
            click.echo("\n".join(story.lines))
            click.echo(f"make sim SEED={number} STEPS={story.steps}\n{_verdict(story)}")
            sys.exit(1)
    seconds = (time.process_time() - begun) / (end - first)
    click.echo(f"{end - first} stories, nothing is broken; {seconds:.2f} s of CPU each")


def _verdict(story: Story) -> str:
    return "\n".join(f"BROKEN: {text}" for text in story.broken) or "nothing is broken"


if __name__ == "__main__":
    main()
