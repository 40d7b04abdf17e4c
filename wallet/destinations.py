"""Where bitcoin can be sent: one parser for every way to write it. Pure; each refusal names what is wrong.

BOLT11 invoice, Lightning Address (LUD-16), LNURL (LUD-01, LUD-17), BOLT12 offer, bitcoin
address, and what wallets put before them (`lightning:`, `bitcoin:`). The same function
reads a destination when it is said, when it is registered and before each payment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from bech32 import bech32_decode, convertbits

from relaybot.addresses import is_onion, parse_host, require_onion
from relaybot.errors import Rejected
from wallet.bolt11_invoice import parse_bolt11, require_payable
from wallet.bolt12_offer import Offer, parse_offer
from wallet.chain_address import ChainAddress, looks_like_chain_address, parse_chain_address
from wallet.lightning import DecodedInvoice

CHARACTERS_MAX = 8_192  # nothing that can be paid to is longer

# LUD-16, with its tags; names end where those of e-mail do. Dots alone would be a path.
_NAME = re.compile(r"(?=\.*[a-z0-9_-])[a-z0-9._+-]{1,64}", re.ASCII)
_WRITTEN = re.compile(r"[!-~]+", re.ASCII)  # printable, no space
_LINK = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#]+)(?P<rest>.*)", re.ASCII)
_LNURL_CHARACTERS_MAX = 2_000  # LUD-01 sets no limit; a QR code ends near 4,296 characters
_NODE_KEY = re.compile(r"(?:keysend:)?0[23][0-9a-f]{64}(?:@.*)?", re.ASCII)
_INVOICE = re.compile(r"ln(?:bc|tb|tbs|bcrt)\d*[munp]?1", re.ASCII)
_NO_DESTINATION_REASONS = {  # what looks like a destination and is none
    "keyauth://": "a keyauth link signs you in somewhere: nothing can be sent to it",
    "lnurlw://": "an lnurlw link pays out: it is a source of money, not a destination",
    "lnurlc://": "an lnurlc link opens a channel: nothing can be sent to it",
    "lni1": "a BOLT12 invoice is asked for by whoever pays it: give the offer (lno1…) it came from",
    "lnr1": "a BOLT12 invoice request asks for money: give an offer (lno1…) or an invoice",
    "sp1": "silent payments are not supported: give a bitcoin address",
    "tsp1": "silent payments are not supported: give a bitcoin address",
    "₿": "names of BIP-353 are not supported: give a Lightning Address, an offer or an address",
}
_KEYSEND = "a node's key is no destination: a keysend proves to nobody what was paid; ask for an invoice or an offer"
_UNREADABLE = "not an invoice, a Lightning Address, an LNURL, an offer or a bitcoin address"


@dataclass(frozen=True, slots=True)
class LightningAddress:
    """`name@host` of LUD-16."""

    name: str
    host: str

    @property
    def url(self) -> str:
        """Return where its pay parameters are."""
        return f"{_scheme(self.host)}://{self.host}/.well-known/lnurlp/{self.name}"  # LUD-16

    def __str__(self) -> str:
        return f"{self.name}@{self.host}"


@dataclass(frozen=True, slots=True)
class PayLink:
    """An LNURL of LUD-01 or LUD-17, as the URL it stands for; it is shown and stored as LUD-17 writes it."""

    url: str

    def __str__(self) -> str:
        return f"lnurlp://{self.url.partition('://')[2]}"


PayTarget = LightningAddress | PayLink
Destination = DecodedInvoice | PayTarget | Offer | ChainAddress


def parse_destination(text: str, *, currency: str, now: int, onions: bool = False) -> Destination:
    """Read where something shall be sent, in the network of `currency` (`bc`, `bcrt`, …); Rejected says what is wrong.

    Invoices and offers that have expired by `now` are refused, too. `onions` says that hosts of Tor are reached.
    """
    bare = _without_scheme(text.strip())
    if len(bare) > CHARACTERS_MAX:
        raise Rejected("invalid", "destination is too long", found=len(bare), allowed=CHARACTERS_MAX)
    lower = bare.lower()
    for start, refusal in _NO_DESTINATION_REASONS.items():
        if lower.startswith(start):
            raise Rejected("invalid", refusal)
    if _NODE_KEY.fullmatch(lower):
        raise Rejected("invalid", _KEYSEND)
    if lower.startswith("lno1"):
        return parse_offer(bare, currency=currency, now=now)
    if lower.startswith("lnurlp://") or (lower.startswith("lnurl1") and "@" not in bare):
        return parse_pay_link(bare, onions=onions)
    if "@" in bare:
        return parse_lightning_address(bare, onions=onions)
    if _INVOICE.match(lower):
        invoice = parse_bolt11(bare)
        require_payable(invoice, currency=currency, now=now)
        return invoice
    if looks_like_chain_address(bare):
        return parse_chain_address(bare, currency=currency)
    raise Rejected("invalid", _UNREADABLE, found=bare[:20])


def parse_target(text: str, *, currency: str, now: int, onions: bool = False) -> PayTarget | Offer | ChainAddress:
    """Read where somebody wants to be paid again and again; Rejected for what can be paid only once."""
    destination = parse_destination(text, currency=currency, now=now, onions=onions)
    if isinstance(destination, DecodedInvoice):
        raise Rejected("invalid", "an invoice is paid once: use it with withdraw, and register an address or an offer")
    if isinstance(destination, Offer) and destination.amount_msat is not None:
        raise Rejected("invalid", "the offer has a fixed amount: payouts need one without")
    return destination


def parse_lightning_address(text: str, *, onions: bool = False) -> LightningAddress:
    """Read `name@host`, in any case; Rejected if either side is refused."""
    name, at, host = text.strip().lower().partition("@")
    if not at:
        raise Rejected("invalid", "not a Lightning Address", found=text[:40])
    if not _NAME.fullmatch(name):
        raise Rejected("invalid", "name may have a-z, 0-9, and -_.+", found=name[:40])
    return LightningAddress(name, _host(host, onions=onions))


def parse_pay_link(text: str, *, onions: bool = False) -> PayLink:
    """Read `lnurl1…` (LUD-01) or `lnurlp://…` (LUD-17); Rejected if it stands for no https URL to pay to.

    Of Tor's hosts it is an http URL, whatever was written: the name is the key.
    """
    bare = text.strip()
    url = f"https://{bare[9:]}" if bare[:9].lower() == "lnurlp://" else _decode_lnurl(bare)
    found = _LINK.fullmatch(url) if _WRITTEN.fullmatch(url) else None
    host = _host(found["host"], onions=onions) if found is not None else ""  # first: urlsplit raises on a bracket
    if found is None or (found["scheme"] == "http" and not is_onion(host)):
        raise Rejected("invalid", "LNURL does not stand for an https URL")
    url = f"{_scheme(host)}://{found['host']}{found['rest']}"
    if "login" in parse_qs(urlsplit(url).query).get("tag", ()):  # LUD-04: the same form, another purpose
        raise Rejected("invalid", "the LNURL signs you in somewhere: nothing can be sent to it")
    return PayLink(url)


def _scheme(host: str) -> str:
    return "http" if is_onion(host) else "https"  # LUD-01, LUD-16, LUD-17


def _host(text: str, *, onions: bool) -> str:
    host = parse_host(text)
    if is_onion(host):
        if not onions:
            raise Rejected("invalid", "hosts of Tor cannot be reached from here", found=host[:20])
        require_onion(host)
    return host


def _decode_lnurl(text: str) -> str:
    prefix, words = bech32_decode(text) if len(text) <= _LNURL_CHARACTERS_MAX else (None, None)
    octets = convertbits(words, 5, 8, pad=False) if prefix == "lnurl" and words is not None else None
    if octets is None:
        raise Rejected("invalid", "not an LNURL", found=text[:20])
    try:
        return bytes(octets).decode("ascii")
    except UnicodeDecodeError:
        raise Rejected("invalid", "LNURL holds no URL") from None


def _without_scheme(text: str) -> str:
    """Return what stands behind `lightning:` or `bitcoin:`. BIP-21: parameters we do not know may be passed over."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme.lower() not in {"lightning", "bitcoin"}:
        return text
    address, _, query = rest.removeprefix("//").partition("?")
    if scheme.lower() == "lightning":
        return address if not query else rest
    said = parse_qs(query[:CHARACTERS_MAX])
    for name in said:
        if name.lower().startswith("req-"):  # BIP-21: a reader that does not know it must refuse the whole
            raise Rejected("invalid", "the link requires something we do not have", field=name[:40])
    return address or next((said[name][0] for name in ("lightning", "lno") if name in said), "")
