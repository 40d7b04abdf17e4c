"""Destinations at hosts of Tor: asked over http, and refused where their name is no key."""

from __future__ import annotations

import pytest

from relaybot.errors import Rejected
from tests.destinations.written import lnurl
from tests.lnurl.test_lnurl import NOW
from wallet.destinations import LightningAddress, PayLink, parse_target

ONION = "ab" * 28 + ".onion"


@pytest.mark.parametrize(
    "text", [f"lnurlp://{ONION}/pay?x=1", lnurl(f"http://{ONION}/pay?x=1"), lnurl(f"https://{ONION}/pay?x=1")]
)
def test_hosts_of_tor_are_asked_over_http_where_they_are_reached(text: str) -> None:  # LUD-01, LUD-16, LUD-17
    link = parse_target(text, currency="bcrt", now=NOW, onions=True)
    assert link == PayLink(f"http://{ONION}/pay?x=1")
    assert parse_target(str(link), currency="bcrt", now=NOW, onions=True) == link
    address = parse_target(f"Alice@{ONION}", currency="bcrt", now=NOW, onions=True)
    assert isinstance(address, LightningAddress)
    assert address.url == f"http://{ONION}/.well-known/lnurlp/alice"


def test_a_host_of_tor_that_is_no_key_is_refused() -> None:
    with pytest.raises(Rejected, match="onion host is malformed"):
        parse_target("alice@short.onion", currency="bcrt", now=NOW, onions=True)
