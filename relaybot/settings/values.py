"""What single values of the configuration may be, beyond those the language of splits has.

Paths and names are looked up while they are read: the directory and the people they
refer to come as pydantic's validation context (`Surroundings`). No file is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Annotated, TypedDict
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, SecretStr, TypeAdapter, ValidationInfo
from pydantic_core import PydanticCustomError

from relaybot.errors import Rejected
from relaybot.nostr.event import KIND_MAX
from relaybot.nostr.nip19 import parse_pubkey
from relaybot.relay.proxies import Network
from splits.model import Millionths, Percent
from wallet.batch_rules import VBYTES_PER_1000_UNITS
from wallet.money import Msat, parse_amount
from wallet.rates import is_currency, parse_units

URL_LETTERS_MAX = 2_048  # what browsers and proxies pass on
CONFIRMATIONS_MAX = 100  # deeper nothing is watched
PORT_MAX = 65_535
YEAR_SECONDS = 366 * 86_400
SAT_PER_VBYTE_MAX = 10_000  # above it Bitcoin Core takes it for a mistake (maxfeerate, 0.1 BTC/kvB)

_KINDS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_FEERATE = re.compile(r"(\d{1,5}) sat/vB", re.ASCII)
_SOCKS = re.compile(r"socks5://(?P<host>[A-Za-z0-9._-]+|\[[0-9a-f:]+\]):(?P<port>\d{1,5})", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{20,200}", re.ASCII)
_POSTGRES = ("postgresql://", "postgres://")


class Surroundings(TypedDict):
    """What values refer to: where relative paths begin, and who is called what."""

    config_dir: Path
    data_dir: Path
    people: dict[str, object]


def refused(allowed: str) -> PydanticCustomError:
    """Return the error that says what is allowed instead."""
    return PydanticCustomError("refused", "{allowed}", {"allowed": allowed})


def _path(value: object) -> Path:
    text = str(value) if isinstance(value, str | Path) else ""
    if not text or "\0" in text or "://" in text or text.startswith(("~", "nsec1")):
        raise refused("the path of a file or directory, without ~")
    return Path(text)


def _in_config_dir(value: object, info: ValidationInfo) -> Path:
    return _surroundings(info)["config_dir"] / _path(value)


def _in_data_dir(value: object, info: ValidationInfo) -> Path:
    return _surroundings(info)["data_dir"] / _path(value)


def _book(value: object, info: ValidationInfo) -> Path | SecretStr:
    """Return where the book is: a path, or a server's address, which may hold a password."""
    if not isinstance(value, str) or not value.startswith(_POSTGRES):
        try:
            return _in_data_dir(value, info)
        except PydanticCustomError:
            raise refused("the path of a file, or postgresql://user:password@host:port/database") from None
    try:
        url = urlsplit(value)
        good = len(url.path) > 1 and "/" not in url.path[1:] and not url.fragment and (url.port or 1) > 0
    except ValueError:
        good = False
    if not good or " " in value or not value.isprintable():
        raise refused("the path of a file, or postgresql://user:password@host:port/database")
    return SecretStr(value)


def _pubkey(value: object) -> str:
    try:
        return parse_pubkey(value if isinstance(value, str) else "")
    except Rejected:
        raise refused("an npub or 64 hex digits") from None


def _person(value: object, info: ValidationInfo) -> str:
    people = _surroundings(info)["people"]
    named = isinstance(value, str) and value in people
    try:
        return _pubkey(people[str(value)] if named else value)
    except PydanticCustomError:
        raise refused("a name of people, an npub or 64 hex digits") from None


def _surroundings(info: ValidationInfo) -> Surroundings:
    assert info.context is not None, "the configuration is read by relaybot.config"
    context: Surroundings = info.context
    return context


def _percent_from_zero(value: object) -> object:
    return Millionths(0) if value in {"0%", "0 %"} else TypeAdapter(Percent).validate_python(value)


def _url(*schemes: str) -> Callable[[str], str]:
    allowed = f"an address such as {schemes[0]}://host:port, without a user, a query or a fragment"

    def check(text: str) -> str:
        try:
            url = urlsplit(text)
            good = url.scheme in schemes and url.hostname and (url.port or 1) > 0
        except ValueError:
            good = False
        if (
            not good
            or len(text) > URL_LETTERS_MAX
            or any(letter in text for letter in "@?#\\ ")
            or not text.isprintable()
        ):
            raise refused(allowed)
        return text

    return check


def _web_url(text: str) -> str:
    try:
        url = urlsplit(text)
        good = url.scheme == "https" and url.hostname and url.username is None and not url.fragment
    except ValueError:
        good = False
    if not good or len(text) > URL_LETTERS_MAX or " " in text or not (text.isprintable() and text.isascii()):
        raise refused("an https address without a user or a fragment")
    return text


def _currency(value: object) -> str:
    if not isinstance(value, str) or not is_currency(value):
        raise refused("a currency's code of three capital letters, such as EUR")
    return value


def _price(value: object) -> tuple[str, int]:
    """Read `95000.50 EUR`: the currency, and the price in its smallest unit."""
    number, _, currency = value.partition(" ") if isinstance(value, str) else ("", "", "")
    try:
        return _currency(currency), parse_units(number.replace(",", ""), currency)
    except (PydanticCustomError, Rejected):
        raise refused("a price and a currency's code, such as 95000 EUR") from None


def _socks(value: object) -> tuple[str, int]:
    """Read `socks5://127.0.0.1:9050`: host and port of a proxy."""
    found = _SOCKS.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found["port"]) <= PORT_MAX:
        raise refused("a SOCKS5 proxy such as socks5://127.0.0.1:9050")
    return found["host"].strip("[]"), int(found["port"])


def _feerate(value: object) -> int:
    """Read `25 sat/vB`: a feerate, in sat per 1,000 units of weight."""
    found = _FEERATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[1]) <= SAT_PER_VBYTE_MAX:
        raise refused("1 to 10000 sat/vB, such as 25 sat/vB")
    return int(found[1]) * VBYTES_PER_1000_UNITS


def _kinds(value: object) -> range:
    """Read a kind, or a range of kinds with both its ends."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    found = _KINDS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not first <= last <= KIND_MAX:
        raise refused(f"a kind of 0 to {KIND_MAX}, or a range of them such as 5000-5999")
    return range(first, last + 1)


def _addresses(value: object) -> Network:
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise refused("an address or a range of them, such as 10.0.0.0/8 or fd00::1") from None


def _token(value: object) -> SecretStr:
    """Return what is sent as `Authorization: Bearer …` (RFC 6750, section 2.1)."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise refused("20 to 200 letters, digits or -._~+/")
    return SecretStr(value)


def _ladder(value: object) -> object:
    """Read `[[0, 1], [1000000 sat, 3]]`: from which sum on how many confirmations."""
    steps = [_step(step) for step in value] if isinstance(value, list | tuple) else []
    found = [step for step in steps if step is not None]
    rising = all(one[0] < other[0] and one[1] <= other[1] for one, other in pairwise(found))
    if not found or len(found) < len(steps) or found[0][0] != 0 or not rising:
        raise refused(
            "rising sums with rising numbers from 1 to 100, the first from 0, such as [[0, 1], [1000000 sat, 3]]"
        )
    return tuple(found)


def _step(step: object) -> tuple[Msat, int] | None:
    match step:
        case [0, int() as count] if 1 <= count <= CONFIRMATIONS_MAX:
            return Msat(0), count
        case [str() as least, int() as count] if 1 <= count <= CONFIRMATIONS_MAX:
            try:
                return parse_amount(least), count
            except Rejected:
                return None
        case _:
            return None


ConfigPath = Annotated[Path, PlainValidator(_in_config_dir), Field(validate_default=True)]
DataFile = Annotated[Path, PlainValidator(_in_data_dir)]
DataPath = Annotated[DataFile, Field(validate_default=True)]  # with a default, which is relative too
BookPlace = Annotated[Path | SecretStr, PlainValidator(_book), Field(validate_default=True)]
Pubkey = Annotated[str, PlainValidator(_pubkey)]  # hex, once read
Contributor = Annotated[str, PlainValidator(_person)]  # hex, once read
RelayUrl = Annotated[str, AfterValidator(_url("ws", "wss"))]
KindRange = Annotated[range, PlainValidator(_kinds)]
AddressRange = Annotated[Network, PlainValidator(_addresses)]
Origin = Annotated[str, AfterValidator(_url("http", "https"))]
PercentFromZero = Annotated[Millionths, PlainValidator(_percent_from_zero)]
Token = Annotated[SecretStr, PlainValidator(_token)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
Currency = Annotated[str, PlainValidator(_currency)]
Price = Annotated[tuple[str, int], PlainValidator(_price)]  # currency, and smallest units for one bitcoin
Feerate = Annotated[int, PlainValidator(_feerate)]  # sat per 1,000 units of weight, once read
Port = Annotated[int, Field(ge=1, le=PORT_MAX)]
SocksProxy = Annotated[tuple[str, int], PlainValidator(_socks)]  # host and port, once read
Seconds = Annotated[int, Field(ge=1, le=YEAR_SECONDS)]
Confirmations = Annotated[tuple[tuple[Msat, int], ...], PlainValidator(_ladder)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
