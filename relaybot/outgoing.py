"""The one HTTP client for everything a stranger can make us fetch: Lightning Addresses, LNURL, callbacks.

A request goes to a public address that was looked up once and is connected to as it
was checked, over https on port 443, follows no redirect, carries no cookie, uses no
proxy, and ends at a size and at a time. Names the operator pinned (`outgoing.hosts`)
lead where the operator says. Hosts of Tor, and no others, go through the operator's
proxy if there is one, over http or https: their name is their key. What the answers
mean stands with the callers.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from relaybot.addresses import is_onion, is_public, parse_host
from relaybot.errors import BadConfig, Rejected, Unavailable
from relaybot.nostr.strict_json import parse_json
from relaybot.socks import Proxy, through

URL_CHARACTERS_MAX = 2_048  # longer ones are refused by servers too
ADDRESSES_MAX = 8  # of one name; more would only spread the waiting
LOOKUP_THREADS = 32  # a hanging name server holds these for half a minute each, and no other thread of ours
CHUNK_BYTES = 16_384
JSON, TEXT = "application/json", "text/*, application/json;q=0.9, */*;q=0.1"  # what we ask for

_WRITTEN = re.compile(r"[!-~]+", re.ASCII)  # printable, no space
_NOT_IN_URLS = frozenset('"<>\\^`{|}#')  # RFC 3986 has none of them; parsers disagree about `\` and `#`
_AUTHORITY = re.compile(r"(?P<host>[^:@\[\]]+)(?::(?P<port>\d{1,5}))?", re.ASCII)
_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?/?", re.ASCII)
_HTTPS_PORT = 443
_PORTS = {"http": 80, "https": _HTTPS_PORT}
_TRY_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})

Lookup = Callable[[str], Awaitable[Sequence[str]]]  # a host's addresses as text; OSError if it has none
Connect = Callable[[aiohttp.AddrInfoType], socket.socket]  # a socket to be connected to a checked address


@dataclass(frozen=True, slots=True)
class OutgoingLimits:
    """What one request may cost us, each with its reason."""

    bytes_max: int = 262_144  # LUD-06 metadata may carry a picture of 136,536 characters
    seconds_max: float = 10.0  # for the whole request: look-up, connection, headers, body
    requests_max: int = 32  # at once; further ones wait


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL that passed: what is asked for, of whom, whether the operator pinned the name, and through which proxy."""

    host: str
    url: URL
    pinned: bool
    proxy: Proxy | None


class Outgoing:
    """Fetch documents from hosts that strangers name."""

    def __init__(  # `lookup`, `tls`, `connect` are the world: name server, certificates, sockets
        self,
        *,
        hosts: Mapping[str, str],
        limits: OutgoingLimits | None = None,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
        connect: Connect | None = None,
        onion_proxy: Proxy | None = None,
    ) -> None:
        """Take the operator's pinned names (`wallets.test` → `http://127.0.0.1:7480`); BadConfig if one is wrong.

        Without `onion_proxy` hosts of Tor are refused.
        """
        self._hosts = parse_hosts(hosts)
        self._limits = limits or OutgoingLimits()
        self._lookup = lookup or SystemLookup()
        self._tls = tls
        self._connect = connect
        self._onion_proxy = onion_proxy
        self._slots = asyncio.Semaphore(self._limits.requests_max)

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        """Whom we trust: read when first needed, for that takes longer than the rest of a start."""
        return self._tls or ssl.create_default_context()

    async def get_json(self, url: str, *, max_bytes: int | None = None) -> object:
        """Return the JSON document at `url`.

        Rejected if the URL or the address behind it is refused, or the answer is no
        JSON of at most `max_bytes`; Unavailable if the host does not answer well in time.
        """
        target = self._parse_target(url)
        return _document(await self._body(target, JSON, max_bytes), target.host)

    async def get_text(self, url: str, *, max_bytes: int | None = None) -> str:
        """Return the text at `url`, whatever its type. Rejected and Unavailable as in `get_json`."""
        target = self._parse_target(url)
        try:
            return (await self._body(target, TEXT, max_bytes)).decode()
        except UnicodeDecodeError:
            raise Rejected("invalid", "answer is no text in UTF-8", host=target.host) from None

    async def _body(self, target: _Target, accept: str, bytes_max: int | None) -> bytes:
        try:
            async with self._slots, asyncio.timeout(self._limits.seconds_max):
                return await self._fetch(target, accept, self._limits.bytes_max if bytes_max is None else bytes_max)
        except TimeoutError:
            raise Unavailable(f"{target.host} did not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{target.host} cannot be reached: {type(error).__name__}") from None

    def _parse_target(self, url: str) -> _Target:
        """Check the text of a URL; nothing is looked up, and what is asked for is built from the checked parts."""
        if len(url) > URL_CHARACTERS_MAX or not _WRITTEN.fullmatch(url) or not _NOT_IN_URLS.isdisjoint(url):
            raise Rejected("invalid", "URL is malformed", found=url[:40])
        parts = _split(url)
        authority = _AUTHORITY.fullmatch(parts.netloc)
        if authority is None:
            raise Rejected("invalid", "URL must name a host and nothing more", found=parts.netloc[:40])
        host = parse_host(authority["host"])
        origin = self._hosts.get(host)
        proxy = through(self._onion_proxy, host) if origin is None else None
        if origin is None:
            _check_public_form(parts.scheme, authority["port"], is_tor=proxy is not None)
        base = origin or URL.build(scheme=parts.scheme, host=host)
        asked = URL.build(path=parts.path or "/", query_string=parts.query, encoded=True)
        built = base.join(asked)
        assert built.raw_authority == base.raw_authority, f"the path moved the request to {built.raw_authority}"
        return _Target(host, built, origin is not None, proxy)

    async def _fetch(self, target: _Target, accept: str, bytes_max: int) -> bytes:
        session = aiohttp.ClientSession(
            connector=await self._connector(target),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # we inflate with a bound
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),  # `get_json` holds the clock for everything
        )
        headers = {"Accept": accept, "Accept-Encoding": "gzip", "Host": target.host}
        asking = session.get(target.url, headers=headers, allow_redirects=False, server_hostname=target.host)
        async with session, asking as response:
            _check_status(response.status, target.host)
            return await _read(response, bytes_max)

    async def _connector(self, target: _Target) -> aiohttp.BaseConnector:
        """Return what connects to `target` and to nobody else."""
        certificates = self._certificates if target.url.scheme == "https" else None
        if target.proxy is not None:
            return _Through(target.proxy, target.host, _PORTS[target.url.scheme], certificates)
        resolver = None if target.pinned else _Checked(target.host, await public_addresses(self._lookup, target.host))
        return aiohttp.TCPConnector(
            resolver=resolver,
            use_dns_cache=False,
            force_close=True,
            ssl=certificates or True,
            socket_factory=self._connect,
        )


async def public_addresses(lookup: Lookup, host: str) -> list[str]:
    """Return the addresses of `host`; Rejected if one of them is not public, OSError if it has none."""
    assert not is_onion(host), f"{host} is never looked up"  # RFC 7686: it would tell others
    found = list(await lookup(host))[:ADDRESSES_MAX]
    if not found:
        raise OSError("the name has no address")
    if not all(map(is_public, found)):  # one private among public ones is a trick, not a mistake
        raise Rejected("invalid", "host leads to an address that is not public", host=host)
    return found


class SystemLookup:
    """The machine's resolver, in threads of its own; `look_up` blocks until it has the addresses of a host."""

    def __init__(self, look_up: Callable[[str], Sequence[str]] | None = None) -> None:
        self._look_up = look_up or _look_up
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")

    async def __call__(self, host: str) -> Sequence[str]:
        """Ask the system; OSError if it knows no address."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._look_up, host)
        return list(dict.fromkeys(found))


def _look_up(host: str) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, _HTTPS_PORT, type=socket.SOCK_STREAM)]


class _Checked(AbstractResolver):
    """Answers with the addresses that were checked, and looks nothing up: rebinding a name has no effect."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        assert host == self._host, f"asked for {host}, checked was {self._host}"
        assert family == socket.AF_UNSPEC, f"asked for family {family}"
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Hold nothing, close nothing."""


class _Through(aiohttp.BaseConnector):
    """Connects through a proxy, to one host."""

    def __init__(self, proxy: Proxy, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(force_close=True)
        self._proxy, self._host, self._port, self._tls = proxy, host, port, tls

    async def _create_connection(self, *_request: object) -> ResponseHandler:  # where all connectors of aiohttp connect
        link = await self._proxy.connect(self._host, self._port)
        name = self._host if self._tls is not None else None
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(
            lambda: ResponseHandler(loop), sock=link, ssl=self._tls, server_hostname=name
        )
        return protocol


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # brackets that do not pair
        raise Rejected("invalid", "URL is malformed", found=url[:40]) from None


def _check_public_form(scheme: str, port: str | None, *, is_tor: bool) -> None:
    """Refuse what is not https; Tor encrypts by itself, so its hosts may speak http (LUD-01, LUD-16)."""
    if scheme != "https" and not (is_tor and scheme == "http"):
        raise Rejected("invalid", "URL must be https", found=scheme[:10])
    if port is not None and int(port) != _PORTS[scheme]:
        raise Rejected("invalid", "URL must use the default port", found=port)


def parse_hosts(hosts: Mapping[str, str]) -> Mapping[str, URL]:
    """Read `outgoing.hosts`, the operator's pinned names; BadConfig if one is wrong."""
    return {name: _parse_origin(name, origin) for name, origin in hosts.items()}


def _parse_origin(name: str, origin: str) -> URL:
    """Read one entry of `outgoing.hosts`: a DNS name, and scheme, host and port of the server behind it."""
    path = f"outgoing.hosts.{name}"
    try:
        well_named = parse_host(name) == name
    except Rejected:
        well_named = False
    if not well_named:
        raise BadConfig(path, name, "a domain name in lower case, such as wallets.test")
    allowed = "http:// or https://, a host and a port, such as http://127.0.0.1:7480"
    if not _ORIGIN.fullmatch(origin):
        raise BadConfig(path, origin, allowed)
    try:
        return URL(origin).origin()
    except ValueError:  # a port above 65535
        raise BadConfig(path, origin, allowed) from None


def _check_status(status: int, host: str) -> None:
    if status == HTTPStatus.OK:
        return
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
        raise Unavailable(f"{host} answered with status {status}")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise Rejected("invalid", "host answers with a redirect", host=host, status=status)
    raise Rejected("invalid", "host refuses the request", host=host, status=status)


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Return the body as it is meant, inflated at most to `bytes_max`: a bomb is cut, not unpacked."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise Rejected("invalid", "answer has an encoding that was not asked for", found=ascii(encoding[:20]))
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        room = bytes_max - len(body) + 1
        body += chunk if inflate is None else _inflated(inflate, chunk, room)
        if len(body) > bytes_max:
            raise Rejected("invalid", "answer is too large", allowed=bytes_max)
    return bytes(body)


def _inflated(inflate: zlib._Decompress, chunk: bytes, room: int) -> bytes:
    try:
        return inflate.decompress(chunk, room)
    except zlib.error:
        raise Rejected("invalid", "answer is not the gzip it says it is") from None


def _document(body: bytes, host: str) -> object:
    try:
        return parse_json(body)
    except Rejected:
        raise Rejected("invalid", "answer is not strict JSON", host=host) from None
