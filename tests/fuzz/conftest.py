"""How many examples are tried: few, or as many as FUZZ says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import uvloop
from hypothesis import HealthCheck, settings

FEW = 60
EXAMPLES = int(os.environ.get("FUZZ", str(FEW)))

fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
fuzzed_slowly = settings(fuzzed, max_examples=max(EXAMPLES // 10, 10))  # a socket or a database for each example


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
