"""`make bench-jobs`: whole jobs, from the request over a websocket to the result, on one machine.

Everything is the real thing: durable commits, signatures, websockets, encryption. The service
is a process of its own, as `relaybot run` makes it, and so is the node (`relaybot worker`);
the customers are this one. Then the price of a crowd: the same jobs with 400 waiting and one
node, and with 10,000 waiting and 1,000 nodes announced, in processor time for each job.
"""

from __future__ import annotations

import asyncio

import structlog
import uvloop

from tests.bench.jobs.crowd import measure_crowd, measure_few
from tests.bench.jobs.whole import measure_service
from tests.bench.rounds import arguments, interleaved, report


def main() -> None:
    """Measure, and print both tables."""
    options = arguments(__doc__ or "").parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # nothing
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report(runner.run(interleaved({"service": measure_service}, options.rounds)), options)
        crowd = {"10,000 waiting, 1,000 nodes": measure_crowd, "400 waiting, 1 node": measure_few}
        report(runner.run(interleaved(crowd, options.rounds)), options)


if __name__ == "__main__":
    main()
