"""`make kill-run`: one hundred kills in one run, on SQLite, or with `--postgres` on PostgreSQL."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import structlog
import uvloop

from tests.kills.run import Run
from tests.postgres import new_schema


def main() -> None:
    """Run, tell how it went, and fail if anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of who is killed after how many jobs")
    parser.add_argument("--postgres", action="store_true", help="have the book on a PostgreSQL of this run")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # errors only
    database = new_schema() if options.postgres else "book.sqlite3"
    data, begun = Path(tempfile.mkdtemp(prefix="rb-")), time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        facts = runner.run(Run(data, options.kills, random.Random(options.seed), database).play())
    print(facts)  # noqa: T201  the command's answer
    print(f"{time.monotonic() - begun:.0f} s")  # noqa: T201  the command's answer
    if facts.wrong:
        print(f"what there is to see stands in {data}", file=sys.stderr)  # noqa: T201  the command's answer
        sys.exit(1)
    shutil.rmtree(data)


if __name__ == "__main__":
    main()
