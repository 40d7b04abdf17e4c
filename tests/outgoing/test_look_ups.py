"""Names and addresses that customers give and that never answer: nobody else waits for them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

from relaybot.clock import SetClock
from relaybot.config import parse_config
from relaybot.doors import open_doors
from relaybot.nostr.keys import KeyPair
from relaybot.outgoing import SystemLookup
from relaybot.probe import no_probe
from relaybot.sources import WorldSources


async def test_names_whose_servers_never_answer_keep_others_from_no_look_up() -> None:
    """A job may name eight of them, and its price comes back: the wallets of payouts were not found meanwhile."""
    done = threading.Event()

    def look_up(host: str) -> list[str]:
        if host.startswith("hangs"):
            done.wait(10)
        return ["192.0.2.1"]

    lookup = SystemLookup(look_up)
    hanging = [asyncio.ensure_future(lookup(f"hangs{n}.test")) for n in range(8)]
    wanted = asyncio.ensure_future(lookup("wallets.test"))  # begins after them
    try:
        async with asyncio.timeout(5):
            assert await wanted == ["192.0.2.1"]
    finally:
        done.set()
        await asyncio.gather(*hanging)


async def test_what_jobs_name_is_fetched_by_other_clients_than_those_of_payouts_and_receipts(tmp_path: Path) -> None:
    config = parse_config({}, config_dir=tmp_path)
    bot = SimpleNamespace(config=config, service=KeyPair(b"\x01" * 32), chance=bytes, clock=SetClock(0))
    doors = open_doors(bot, {}, None, None, [], probe=no_probe)  # type: ignore[arg-type]  # nothing more is asked of it
    assert isinstance(doors.sources, WorldSources)
    assert doors.sources._outgoing is not doors.fetch
    assert doors.sources._visitor.publish != doors.visit
