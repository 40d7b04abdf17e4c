"""Bitcoin addresses: base58 (P2PKH, P2SH), bech32 (segwit v0) and bech32m (taproot). Pure: an address is text.

Only forms that somebody can spend from today are taken: an output of a later segwit
version, or one whose key is missing, would be anybody's. Checksums and network are
proved before money is held for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bech32 import CHARSET, bech32_hrp_expand, bech32_polymod, convertbits

from relaybot.errors import Rejected

_BECH32, _BECH32M = 1, 0x2BC8_30A3  # BIP-173, BIP-350
_SEGWIT_PREFIXES = {"bc": "bc", "tb": "tb", "tbs": "tb", "bcrt": "bcrt"}  # BOLT 11's currency → an address's prefix
_MAIN, _TESTS = {0x00: "p2pkh", 0x05: "p2sh"}, {0x6F: "p2pkh", 0xC4: "p2sh"}  # versions of base58 addresses
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_CHARACTERS = range(26, 36)
_SEGWIT_CHARACTERS_MAX = 90  # BIP-173
_CHECKSUM_WORDS = 6
_BASE58_SCRIPTS = {"p2pkh": ("76a914", "88ac"), "p2sh": ("a914", "87")}  # before and after the hash
_PROGRAM_BYTES = {0: {20: "p2wpkh", 32: "p2wsh"}, 1: {32: "p2tr"}}


@dataclass(frozen=True, slots=True)
class ChainAddress:
    """An address whose checksum fits and whose network is ours; `text` is its one form."""

    text: str
    form: str  # p2pkh, p2sh, p2wpkh, p2wsh or p2tr

    def __str__(self) -> str:
        return self.text

    @property
    def script(self) -> str:
        """Return in hex what an output to this address says; its length decides what the output costs."""
        if self.form in _BASE58_SCRIPTS:
            before, after = _BASE58_SCRIPTS[self.form]
            return f"{before}{_octets(self.text)[1:-4].hex()}{after}"
        words = [CHARSET.find(character) for character in self.text[self.text.rindex("1") + 1 :]]
        program = bytes(convertbits(words[1:-_CHECKSUM_WORDS], 5, 8, False) or ())
        return bytes([0x50 + words[0] if words[0] else 0, len(program)]).hex() + program.hex()


def looks_like_chain_address(text: str) -> bool:
    """Tell whether whoever wrote `text` meant a bitcoin address, well or badly written."""
    if "@" in text or "://" in text:  # a Lightning Address may begin like a bitcoin address
        return False
    if text.lower().startswith(("bc1", "tb1", "bcrt1")):
        return True
    return len(text) in _BASE58_CHARACTERS and text[0] in "13mn2" and set(text) <= set(_BASE58)


def parse_chain_address(text: str, *, currency: str) -> ChainAddress:
    """Read an address of the network of `currency` (`bc`, `tb`, `tbs`, `bcrt`); Rejected says what is wrong with it."""
    bare = text.strip()
    prefix, one, _ = bare.lower().rpartition("1")
    if one and prefix in _SEGWIT_PREFIXES.values():
        return _parse_segwit(bare, prefix, currency)
    return _parse_base58(bare, currency)


def _parse_segwit(bare: str, prefix: str, currency: str) -> ChainAddress:
    lower = bare.lower()
    if bare not in (lower, bare.upper()):  # BIP-173: decoders must refuse mixed case
        raise Rejected("invalid", "address mixes upper and lower case", found=bare)
    if len(lower) > _SEGWIT_CHARACTERS_MAX:
        raise Rejected("invalid", "address is too long", found=len(lower), allowed=_SEGWIT_CHARACTERS_MAX)
    words = [CHARSET.find(character) for character in lower[len(prefix) + 1 :]]
    if -1 in words or len(words) <= _CHECKSUM_WORDS:
        raise Rejected("invalid", "address has a character that no address has", found=bare)
    checksum, version = bech32_polymod(bech32_hrp_expand(prefix) + words), words[0]
    if checksum not in {_BECH32, _BECH32M} or (checksum == _BECH32) != (version == 0):
        # BIP-350: version 0 is written in bech32, every later one in bech32m
        raise Rejected("invalid", "address has a wrong checksum: copy it again", found=bare)
    if prefix != _SEGWIT_PREFIXES[currency]:
        raise Rejected("invalid", "address is for another network", found=prefix, allowed=_SEGWIT_PREFIXES[currency])
    program = convertbits(words[1:-_CHECKSUM_WORDS], 5, 8, False)
    form = None if program is None else _PROGRAM_BYTES.get(version, {}).get(len(program))
    if form is None:
        raise Rejected("invalid", "address is of a version or length that nobody can spend from yet", found=bare)
    return ChainAddress(lower, form)


def _parse_base58(bare: str, currency: str) -> ChainAddress:
    if len(bare) not in _BASE58_CHARACTERS or not set(bare) <= set(_BASE58):
        raise Rejected("invalid", "not a bitcoin address", found=bare[:40])
    octets = _octets(bare)
    body, checksum = octets[:-4], octets[-4:]
    if hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4] != checksum:
        raise Rejected("invalid", "address has a wrong checksum: copy it again", found=bare)
    ours, others = (_MAIN, _TESTS) if currency == "bc" else (_TESTS, _MAIN)
    version = body[0] if len(body) == 21 else None  # noqa: PLR2004  a version and a hash of 20 bytes
    if version in others:
        raise Rejected("invalid", "address is for another network", found=bare, allowed=_SEGWIT_PREFIXES[currency])
    if version not in ours:
        raise Rejected("invalid", "not a bitcoin address", found=bare)
    return ChainAddress(bare, ours[version])


def _octets(bare: str) -> bytes:
    number = 0
    for character in bare:
        number = number * 58 + _BASE58.index(character)
    zeros = len(bare) - len(bare.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
