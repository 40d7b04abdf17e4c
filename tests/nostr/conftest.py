"""Keys of the story's people, and the same keys for nostr-sdk, the oracle of these tests."""

from __future__ import annotations

import nostr_sdk
import pytest
from hypothesis import HealthCheck, settings

from relaybot.nostr.keys import KeyPair

NOW = 1_790_000_000

# Machines that run tests are slow at times: the number of examples is the bound, not their time.
patient = settings(
    deadline=None, max_examples=75, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def secret_of(name: str) -> bytes:
    """Return the secret key of one of the story's people."""
    return name.encode().rjust(32, b"\x01")


def sdk_keys(name: str) -> nostr_sdk.Keys:
    """Return the keys of one of the story's people for nostr-sdk."""
    return nostr_sdk.Keys.parse(secret_of(name).hex())


@pytest.fixture
def alice() -> KeyPair:
    return KeyPair(secret_of("alice"))


@pytest.fixture
def bob() -> KeyPair:
    return KeyPair(secret_of("bob"))
