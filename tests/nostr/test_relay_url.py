"""What strangers name as relays and requests: only what a database can keep."""

from __future__ import annotations

import pytest

from handlers.jobs import cancelled
from relaybot.nostr import nip57
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.relay_url import CHARACTERS_MAX, is_relay_url

KEYS = KeyPair(b"\x02" * 32)
LONG = "wss://" + "a" * CHARACTERS_MAX


@pytest.mark.parametrize("url", ["wss://a\0b", LONG, "wss://ä.example", "wss://a b", "https://a.example", "wss://", ""])
def test_what_is_no_short_printable_address_of_a_relay_is_left_out(url: str) -> None:
    assert not is_relay_url(url)
    zap = nip57.build_zap_request(KEYS, recipient=KEYS.pubkey, relays=[url, "wss://a.example"], now=1)
    assert nip57.parse_zap_request(nip57.request_text(zap)).relays == ("wss://a.example",)


def test_a_deletion_names_ids_and_nothing_else() -> None:
    tags = [["e", "\0"], ["e", "ab" * 32], ["e", "x" * 8_000]]
    assert cancelled(KEYS.sign(kind=5, content="", tags=tags, created_at=1)) == ("ab" * 32,)
