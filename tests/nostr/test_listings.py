"""Kind 37172: what a listing's event must say, and what a deletion names."""

from __future__ import annotations

import pytest

from relaybot.errors import Rejected
from relaybot.nostr.listings import DELETED_MAX, LISTING_KIND, deleted_listings, parse_listing
from tests.documents.cast import key_of

ALICE = key_of("alice")


def test_a_listing_is_named_by_its_d_tag() -> None:
    read = parse_listing(ALICE.sign(kind=LISTING_KIND, content="{}", tags=[("d", "agent:a-1")], created_at=5))
    assert (read.author, read.what, read.name, read.content, read.created_at) == (ALICE.pubkey, "agent", "a-1", "{}", 5)


@pytest.mark.parametrize("name", ["", "agent", "agent:", "agent:A", "agent:a.b", "person:a", "skill:" + "a" * 65])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(Rejected, match="d: not skill"):
        parse_listing(ALICE.sign(kind=LISTING_KIND, content="{}", tags=[("d", name)], created_at=5))


def test_another_kind_is_no_listing() -> None:
    with pytest.raises(Rejected, match="kind: not a skill or an agent"):
        parse_listing(ALICE.sign(kind=1, content="{}", tags=[("d", "agent:a")], created_at=5))


def test_a_deletion_names_the_author_s_own_listings_and_single_versions() -> None:
    own, other = f"{LISTING_KIND}:{ALICE.pubkey}:", f"{LISTING_KIND}:{key_of('bob').pubkey}:"
    tags = [
        ("a", f"{own}skill:a"),
        ("a", f"{own}skill:a"),
        ("a", f"{other}skill:b"),
        ("a", f"{own}x"),
        ("a",),
        ("e", "5"),
    ]
    tags += [("e", f"{number:064x}") for number in range(DELETED_MAX + 1)]
    whole, versions = deleted_listings(ALICE.sign(kind=5, content="", tags=tags, created_at=5))
    assert whole == [("skill", "a")]
    assert len(versions) == DELETED_MAX
