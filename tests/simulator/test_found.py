"""What the stories found in the product, each told once more without a story."""

from __future__ import annotations

from typing import Any, cast

from relaybot.clock import SetClock
from relaybot.reader import OVERLAP_SECONDS, Reader
from relaybot.workings import build_bot
from tests.simulator.cast import KEYRING, config
from tests.simulator.timeline import START

NOBODY = cast("Any", None)  # a reader's filters need neither book nor node


def test_a_clock_that_was_ahead_hides_no_events_once_it_is_right_again() -> None:
    bot = build_bot(config(), KEYRING, NOBODY, NOBODY, SetClock(START), chance=bytes)
    filters = Reader(bot, NOBODY, NOBODY).filters(since=START + 7_200)
    assert max(one.since or 0 for one in filters) == START - OVERLAP_SECONDS
