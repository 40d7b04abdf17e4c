"""NIP-13, NIP-42 and NIP-11, where a relay sets conditions: work, a name, no past. One relay of ours has each.

A relay that is given (`make test-relay`) is asked by the conditions that its own document names.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relaybot.nostr.event import Event, event_id
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip13 import leading_zero_bits
from relaybot.relay.settings import RelayLimits
from tests.conformance.conftest import GIVEN, Information, ours, told
from tests.conformance.guest import ALICE, BOB, NOW, Guest, key, note

DAY = 86_400
CONDITIONS = {
    "min_pow_difficulty": RelayLimits(pow_bits_min=7),
    "auth_required": RelayLimits(auth_required=True),
    "created_at_lower_limit": RelayLimits(past_seconds=DAY),
}
TRIED_BITS_MAX = 16  # more work than this is not done for a case


@pytest.fixture
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Run a relay that sets the condition a case is about; skip it if the relay that is given does not."""
    condition = request.node.get_closest_marker("nip").kwargs["where"]
    if not GIVEN:
        async with ours(tmp_path / "events.db", CONDITIONS[condition]) as address:
            yield address
    elif not ((await asyncio.to_thread(told, GIVEN))[1].get("limitation") or {}).get(condition):
        pytest.skip(f"the relay's limitation has no {condition}")
    else:
        yield GIVEN


# ---- NIP-13


def worked(bits: int, *, target: int | None, by: KeyPair = ALICE) -> Event:
    """Return an event whose id has exactly so many leading zero bits, and names this target."""
    for number in itertools.count():
        tags = (("nonce", str(number), *([str(target)] if target is not None else [])),)
        if leading_zero_bits(event_id(by.pubkey, NOW, 1, tags, "")) == bits:
            return by.sign(kind=1, content="", tags=tags, created_at=NOW)
    raise AssertionError


def bits_wanted(information: Information) -> int:
    bits: int = information["limitation"]["min_pow_difficulty"]
    if bits > TRIED_BITS_MAX:
        pytest.skip(f"{bits} bits are too much work")
    return bits


@pytest.mark.nip(13, 11, where="min_pow_difficulty")
async def test_difficulty_is_the_number_of_leading_zero_bits_in_the_id(client: Guest, information: Information) -> None:
    bits = bits_wanted(information)
    await client.accepted(worked(bits, target=bits), worked(bits + 1, target=bits))
    await client.refused(worked(bits - 1, target=bits), "pow")
    await client.refused(worked(0, target=None), "pow")


@pytest.mark.nip(13, 11, where="min_pow_difficulty")
async def test_a_note_can_be_rejected_if_the_committed_target_is_lower(client: Guest, information: Information) -> None:
    bits = bits_wanted(information)
    await client.refused(worked(bits, target=1), "pow")


# ---- NIP-42


@pytest.mark.nip(42, 11, where="auth_required")
async def test_a_challenge_comes_and_until_it_is_answered_nothing_is_taken_or_served(client: Guest) -> None:
    event = note("who wrote this?")
    await client.refused(event, "auth-required")
    await client.closed("auth-required", "REQ", "s", {"limit": 1})
    assert client.challenge is not None


@pytest.mark.nip(42, 45, 11, where="auth_required")
async def test_a_count_is_refused_with_auth_required(client: Guest) -> None:
    await client.closed("auth-required", "COUNT", "q", {"kinds": [1]})


@pytest.mark.nip(42, 11, where="auth_required")
async def test_after_auth_what_was_refused_is_taken_and_served(client: Guest, other: Guest) -> None:
    event = note("and now?", by=BOB)
    await client.refused(event, "auth-required")
    await client.prove(ALICE)
    await client.accepted(event)
    assert await client.stored({"ids": [event.id]}) == [event.id]
    await other.closed("auth-required", "REQ", "s", {"ids": [event.id]})


# ---- NIP-11


@pytest.mark.nip(11, where="created_at_lower_limit")
async def test_created_at_lower_limit_is_how_far_in_the_past(client: Guest, information: Information) -> None:
    oldest = int(time.time()) - information["limitation"]["created_at_lower_limit"]
    await client.accepted(note(by=key(), at=oldest + 60))
    await client.refused(note(by=key(), at=oldest - 60), "invalid")


@pytest.mark.nip(11, where="min_pow_difficulty")
async def test_restricted_writes_is_true_where_writing_has_a_condition(information: Information) -> None:
    assert information["limitation"]["restricted_writes"] is True
