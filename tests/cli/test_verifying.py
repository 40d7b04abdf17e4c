"""`relaybot books verify`: what a stranger finds on a relay, and what they do not believe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from relaybot.errors import Rejected
from relaybot.nostr import liabilities
from relaybot.nostr.event import Event, encode_event
from relaybot.operator.verifying import verify_accounts
from tests.conformance.conftest import ours
from tests.nostr.conftest import NOW
from tests.nostr.test_liabilities import BOOKS, EVENT, SAID, proof


async def publish(url: str, events: Sequence[Event]) -> None:
    async with connect(url) as relay:
        for event in events:
            await relay.send(f'["EVENT",{encode_event(event)}]')
            assert json.loads(await relay.recv())[2] is True


async def test_a_stranger_checks_a_proof_by_a_relay_alone(tmp_path: Path) -> None:
    second = liabilities.build_liabilities(BOOKS, replace(SAID, epoch=2, previous=EVENT.id), NOW)
    text = liabilities.encode_proof(proof(3))
    async with ours(tmp_path / "events.db") as url:
        with pytest.raises(Rejected, match="does not have the liabilities"):
            await verify_accounts(BOOKS.pubkey, url, text)
        await publish(url, [EVENT, second])
        found = await verify_accounts(BOOKS.pubkey, url, text)
        assert (found["liabilities"], found["owed_msat"], found["reserve_lightning_msat"]) == (
            2,
            SAID.root.total,
            70_000,
        )
        assert (found["proved_for"], found["proved_msat"]) == (f"{3:064x}", 9)
        assert (await verify_accounts(BOOKS.pubkey, url, None))["epoch"] == 2
        with pytest.raises(Rejected, match="another root"):
            await verify_accounts(BOOKS.pubkey, url, text.replace('"sums":["3"', '"sums":["4"'))
        await publish(url, [liabilities.build_liabilities(BOOKS, replace(SAID, epoch=3), NOW)])
        with pytest.raises(Rejected, match="do not name those before"):
            await verify_accounts(BOOKS.pubkey, url, None)
