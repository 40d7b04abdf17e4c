"""Destinations written by hand, well or badly: offers field by field, LNURLs around any URL."""

from __future__ import annotations

from collections.abc import Mapping

from bech32 import CHARSET, bech32_encode, convertbits

REGTEST = bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f")
ISSUER = bytes.fromhex("02" + "11" * 32)
USUAL = {2: REGTEST, 10: b"coffee", 22: ISSUER}  # a chain, a description, who issues it


def lnurl(url: str, prefix: str = "lnurl") -> str:
    words = convertbits(url.encode(), 8, 5)
    assert words is not None
    return bech32_encode(prefix, words)


def big_size(number: int) -> bytes:
    if number < 0xFD:
        return bytes([number])
    return b"\xfd" + number.to_bytes(2, "big") if number < 1 << 16 else b"\xfe" + number.to_bytes(4, "big")


def raw_offer(octets: bytes) -> str:
    words = convertbits(octets, 8, 5)
    assert words is not None
    return "lno1" + "".join(CHARSET[word] for word in words)


def offer(fields: Mapping[int, bytes]) -> str:
    return raw_offer(
        b"".join(big_size(number) + big_size(len(value)) + value for number, value in sorted(fields.items()))
    )
