"""NIP-19: its own examples, nostr-sdk as an oracle, and every wrong prefix."""

from __future__ import annotations

from collections.abc import Callable

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynostr import bech32

from relaybot.errors import Rejected
from relaybot.nostr import nip19
from relaybot.nostr.nip19 import AddressPointer, EventPointer, ProfilePointer
from tests.nostr.conftest import patient

PUBKEY = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d"
NPUB = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"
SECRET = "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"
NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
NPROFILE = (
    "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34"
    "kytnrdaksjlyr9p"
)
DECODERS: dict[str, Callable[[str], object]] = {
    "npub": nip19.decode_npub,
    "nsec": nip19.decode_nsec,
    "nprofile": nip19.decode_nprofile,
    "nevent": nip19.decode_nevent,
    "naddr": nip19.decode_naddr,
    "pubkey": nip19.parse_pubkey,
}


def packed(prefix: str, data: bytes, variant: bech32.Encoding = bech32.Encoding.BECH32) -> str:
    return str(bech32.bech32_encode(prefix, bech32.convertbits(data, 8, 5), variant))


def test_the_examples_of_the_nip() -> None:
    assert nip19.encode_npub(PUBKEY) == NPUB
    assert nip19.decode_npub(NPUB) == PUBKEY
    other = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"
    assert nip19.decode_npub(other) == "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
    assert nip19.encode_nsec(bytes.fromhex(SECRET)) == NSEC
    assert nip19.decode_nsec(NSEC).hex() == SECRET
    profile = ProfilePointer(PUBKEY, ("wss://r.x.com", "wss://djbas.sadkb.com"))
    assert nip19.decode_nprofile(NPROFILE) == profile
    assert nip19.encode_nprofile(profile) == NPROFILE


def test_a_pubkey_is_read_from_hex_or_npub_only() -> None:
    assert nip19.parse_pubkey(PUBKEY) == PUBKEY
    assert nip19.parse_pubkey(NPUB) == PUBKEY
    assert nip19.parse_pubkey(NPUB.upper()) == PUBKEY, "bech32 may be written in capitals, for QR codes"
    for text in (NSEC, SECRET.upper(), PUBKEY[:-1], NPROFILE, f"nostr:{NPUB}", f" {NPUB}", "", NPUB[:20].upper()):
        with pytest.raises(Rejected):
            nip19.parse_pubkey(text)


@pytest.mark.parametrize("nobody", [f"{5:064x}", "ff" * 32, "00" * 32], ids=["no point", "too large", "zero"])
def test_a_pubkey_that_is_no_point_of_the_curve_is_nobody_s(nobody: str) -> None:
    for text in (nobody, packed("npub", bytes.fromhex(nobody))):
        with pytest.raises(Rejected, match="not a point of the curve"):
            nip19.parse_somebody(text)
    assert nip19.parse_somebody(NPUB) == PUBKEY


def test_the_owners_trap_an_nsec_is_never_read_as_an_npub() -> None:
    with pytest.raises(Rejected) as caught:
        nip19.decode_npub(NSEC)
    assert NSEC not in str(caught.value)


def test_each_prefix_is_read_by_its_own_decoder_only() -> None:
    texts = {
        "npub": NPUB,
        "nsec": NSEC,
        "nprofile": NPROFILE,
        "nevent": nip19.encode_nevent(EventPointer("ab" * 32)),
        "naddr": nip19.encode_naddr(AddressPointer("d", PUBKEY, 31_990)),
    }
    for prefix, text in texts.items():
        for name, decode in DECODERS.items():
            if name == prefix or (name, prefix) == ("pubkey", "npub"):
                decode(text)
            else:
                with pytest.raises(Rejected):
                    decode(text)


relays = st.lists(st.sampled_from(["wss://a.example", "ws://127.0.0.1:7447", "wss://b.example/path"]), max_size=3)
hexes = st.binary(min_size=32, max_size=32).map(bytes.hex)
kinds = st.integers(0, 65_535)


@patient
@given(
    event_id=hexes, author=st.none() | st.just(PUBKEY), kind=st.none() | kinds, relays=relays, name=st.text(max_size=60)
)
def test_pointers_survive_and_nostr_sdk_reads_the_same(
    event_id: str, author: str | None, kind: int | None, relays: list[str], name: str
) -> None:
    event = EventPointer(event_id, tuple(relays), author, kind)
    text = nip19.encode_nevent(event)
    assert nip19.decode_nevent(text) == event
    theirs = nostr_sdk.Nip19Event.from_bech32(text)
    assert theirs.event_id().to_hex() == event_id
    assert nip19.decode_nevent(theirs.to_bech32()).author == author

    profile = ProfilePointer(PUBKEY, tuple(relays))
    assert nip19.decode_nprofile(nip19.encode_nprofile(profile)) == profile
    theirs_too = nostr_sdk.Nip19Profile.from_bech32(nip19.encode_nprofile(profile))
    assert nip19.decode_nprofile(theirs_too.to_bech32()).pubkey == PUBKEY

    address = AddressPointer(name, PUBKEY, kind or 0, tuple(relays))
    text = nip19.encode_naddr(address)
    assert nip19.decode_naddr(text) == address
    assert nostr_sdk.Nip19Coordinate.from_bech32(text).coordinate().identifier() == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "npub",
        "npub1",
        NPUB[:-1],
        NPUB[:-1] + "q",
        NPUB[:10] + NPUB[10:].upper(),
        "\ud800" + NPUB,
        packed("npub", bytes(31)),
        packed("npub", bytes(33)),
        packed("npub", b""),
        packed("npub", bytes(32), bech32.Encoding.BECH32M),
        bech32.bech32_encode("npub", [0] * 53, bech32.Encoding.BECH32),
        bech32.bech32_encode("npub", [31] * 52, bech32.Encoding.BECH32),
    ],
)
def test_what_is_no_npub_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        nip19.decode_npub(text)


@pytest.mark.parametrize(
    ("prefix", "data"),
    [
        ("nprofile", b""),
        ("nprofile", bytes((0, 31)) + bytes(31)),
        ("nprofile", bytes((0, 32)) + bytes(31)),
        ("nprofile", bytes((0,))),
        ("nprofile", bytes((1, 3)) + b"abc"),
        ("nprofile", bytes((0, 32)) + bytes(32) + bytes((1, 1, 255))),
        ("nevent", bytes((0, 32)) + bytes(32) + bytes((2, 1, 0))),
        ("nevent", bytes((0, 32)) + bytes(32) + bytes((3, 2, 0, 1))),
        ("nevent", bytes((0, 32)) + bytes(32) + bytes((3, 4, 0, 1, 0, 0))),
        ("naddr", bytes((0, 1)) + b"d"),
        ("naddr", bytes((0, 1)) + b"d" + bytes((2, 32)) + bytes(32)),
        ("naddr", bytes((0, 1, 255, 2, 32)) + bytes(32) + bytes((3, 4, 0, 0, 0, 1))),
    ],
)
def test_pointers_with_missing_or_wrong_values_are_refused(prefix: str, data: bytes) -> None:
    with pytest.raises(Rejected):
        DECODERS[prefix](packed(prefix, data))


def test_unknown_values_are_ignored() -> None:
    data = bytes((7, 2)) + b"??" + bytes((0, 32)) + bytes(32)
    assert nip19.decode_nprofile(packed("nprofile", data)) == ProfilePointer("00" * 32)


def test_a_text_of_more_than_5000_characters_is_neither_read_nor_written() -> None:
    with pytest.raises(Rejected, match="too long"):
        nip19.decode_nprofile("nprofile1" + "q" * 5_000)
    with pytest.raises(Rejected, match="too long"):
        nip19.encode_nprofile(ProfilePointer(PUBKEY, ("wss://" + "r" * 240,) * 20))


@pytest.mark.parametrize(
    "encode",
    [
        lambda: nip19.encode_npub("short"),
        lambda: nip19.encode_npub(PUBKEY.upper()),
        lambda: nip19.encode_nsec(bytes(31)),
        lambda: nip19.encode_nprofile(ProfilePointer(PUBKEY, ("wss://" + "r" * 250,))),
        lambda: nip19.encode_nprofile(ProfilePointer(PUBKEY, ("wss://é",))),
        lambda: nip19.encode_naddr(AddressPointer("d", PUBKEY, 65_536)),
        lambda: nip19.encode_naddr(AddressPointer("d", PUBKEY, -1)),
        lambda: nip19.encode_naddr(AddressPointer("d" * 256, PUBKEY, 1)),
    ],
)
def test_what_does_not_fit_is_not_encoded(encode: Callable[[], str]) -> None:
    with pytest.raises(Rejected):
        encode()


@patient
@given(text=st.text() | st.text(alphabet=bech32.CHARSET).map("npub1".__add__))
def test_no_text_makes_a_decoder_raise_anything_but_rejected(text: str) -> None:
    for decode in DECODERS.values():
        try:
            decode(text)
        except Rejected:
            continue
