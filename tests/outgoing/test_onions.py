"""Hosts of Tor, behind a small SOCKS5 proxy of ours: they and no others go through it, by name (attack F1)."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from websockets.asyncio.server import ServerConnection, serve

from relaybot.clock import SetClock
from relaybot.config import parse_config
from relaybot.connection import RelayConnection
from relaybot.doors import connections
from relaybot.errors import Rejected, Unavailable
from relaybot.nostr.keys import KeyPair
from relaybot.outgoing import Outgoing, OutgoingLimits
from relaybot.socks import Proxy
from relaybot.visitor import Visitor
from tests.outgoing.conftest import HOST, PUBLIC, Names, Server, answer, diverting

if TYPE_CHECKING:
    from handlers.bot import Bot

ONION = "ab" * 28 + ".onion"
URL = f"http://{ONION}/.well-known/lnurlp/alice?x=1"
DONE = b"\x05\x00\x00\x01" + b"\x7f\x00\x00\x01\x04\x38"
EVENT = KeyPair(b"\x02" * 32).sign(kind=9735, content="", tags=[], created_at=1)


class Tor:
    """RFC 1928, as far as it is spoken here: leads whatever name it is told to one port of this machine."""

    def __init__(self, port: int, *, hello: bytes = b"\x05\x00", reply: bytes = DONE) -> None:
        self.behind, self.hello, self.reply = port, hello, reply
        self.asked: list[tuple[str, int]] = []
        self._talks: list[asyncio.Task[None]] = []

    async def idle(self) -> None:
        """Wait until every client is gone."""
        await asyncio.gather(*self._talks)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks.append(asyncio.create_task(self._talk(reader, writer)))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert await reader.readexactly(3) == b"\x05\x01\x00"
            writer.write(self.hello)
            head = await reader.readexactly(5)
            assert head[:4] == b"\x05\x01\x00\x03"  # CONNECT, a domain name
            name = (await reader.readexactly(head[4])).decode()
            self.asked.append((name, int.from_bytes(await reader.readexactly(2), "big")))
            for byte in self.reply:  # in as many pieces as can be
                writer.write(bytes([byte]))
                await writer.drain()
            if self.behind:
                await self._lead_on(reader, writer)
            else:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):  # the client went away
            pass
        finally:
            writer.close()

    async def _lead_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", self.behind)
        await asyncio.gather(_copy(reader, back), _copy(onward, writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(4_096):
            target.write(piece)
    except ConnectionError:
        pass
    finally:
        target.close()


@asynccontextmanager
async def listening(tor: Tor) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(tor, "127.0.0.1", 0)
    async with server:
        yield Proxy("127.0.0.1", server.sockets[0].getsockname()[1])
        await tor.idle()


async def test_a_host_of_tor_is_asked_for_by_its_name_through_the_proxy_and_never_looked_up(plain: Server) -> None:
    tor, names = Tor(plain.port), Names([PUBLIC])
    async with listening(tor) as proxy:
        outgoing = Outgoing(hosts={}, lookup=names, onion_proxy=proxy)
        assert await outgoing.get_json(URL) == {"ok": True}
        assert await outgoing.get_json(f"http://www.{ONION.upper()}:80/") == {"ok": True}
    assert tor.asked == [(ONION, 80), (f"www.{ONION}", 80)]
    assert names.asked == []
    assert plain.heads[0].startswith("GET /.well-known/lnurlp/alice?x=1 HTTP/1.1\r\n")
    assert f"Host: {ONION}\r\n" in plain.heads[0]


async def test_all_other_hosts_go_past_the_proxy_over_https(secure: Server, trust: ssl.SSLContext) -> None:
    tor, visited = Tor(1), list[str]()
    async with listening(tor) as proxy:
        connect = diverting(visited, secure.port)
        outgoing = Outgoing(hosts={}, lookup=Names([PUBLIC]), tls=trust, connect=connect, onion_proxy=proxy)
        assert await outgoing.get_json(f"https://{HOST}/") == {"ok": True}
        for url in (f"http://{HOST}/", f"http://{ONION}.example/"):
            with pytest.raises(Rejected, match="URL must be https"):
                await outgoing.get_json(url)
    assert (tor.asked, visited) == ([], [f"{PUBLIC}:443"])


async def test_a_host_of_tor_that_speaks_https_proves_its_name(secure: Server, trust: ssl.SSLContext) -> None:
    tor = Tor(secure.port)  # whose certificate is for another name
    async with listening(tor) as proxy:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await Outgoing(hosts={}, tls=trust, onion_proxy=proxy).get_json(f"https://{ONION}/")
    assert tor.asked == [(ONION, 443)]
    assert secure.heads == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://{ONION}:8080/", "default port"),
        (f"https://{ONION}:80/", "default port"),
        (f"ftp://{ONION}/", "https"),
        ("http://expyuzz4wqqyqhjn.onion/", "onion host is malformed"),
        (f"http://{'1' * 56}.onion/", "onion host is malformed"),
    ],
)
async def test_f1_any_other_form_of_such_a_url_is_refused_before_the_proxy_hears_of_it(url: str, reason: str) -> None:
    tor = Tor(0)
    async with listening(tor) as proxy:
        with pytest.raises(Rejected, match=reason):
            await Outgoing(hosts={}, onion_proxy=proxy).get_json(url)
    assert tor.asked == []


async def test_f1_redirects_and_sizes_are_as_bounded_as_elsewhere(plain: Server) -> None:
    async with listening(Tor(plain.port)) as proxy:
        outgoing = Outgoing(hosts={}, limits=OutgoingLimits(bytes_max=100), onion_proxy=proxy)
        plain.reply = answer(b"", "Location: http://127.0.0.1/", status="302 Found")
        with pytest.raises(Rejected, match="redirect"):
            await outgoing.get_json(URL)
        plain.reply = answer(b" " * 101)
        with pytest.raises(Rejected, match="answer is too large"):
            await outgoing.get_json(URL)


@pytest.mark.parametrize(
    ("hello", "reply"),
    [
        (b"\x05\xff", b""),  # it wants to know who we are
        (b"HT", b""),  # it is no such proxy
        (b"\x05\x00", b"\x05\x04\x00\x01" + bytes(6)),  # host unreachable
        (b"\x05\x00", b"\x04\x00\x00\x01" + bytes(6)),
        (b"\x05\x00", b"\x05\x00\x00\x09" + bytes(6)),
    ],
)
async def test_a_proxy_that_does_not_lead_there_is_unavailable(hello: bytes, reply: bytes) -> None:
    async with listening(Tor(0, hello=hello, reply=reply)) as proxy:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await Outgoing(hosts={}, onion_proxy=proxy).get_json(URL)


async def test_a_proxy_that_names_itself_or_a_later_address_is_understood(plain: Server) -> None:
    for bound in (b"\x03\x04home\x00\x01", b"\x04" + bytes(18)):
        async with listening(Tor(plain.port, reply=b"\x05\x00\x00" + bound)) as proxy:
            assert await Outgoing(hosts={}, onion_proxy=proxy).get_json(URL) == {"ok": True}


async def test_a_proxy_that_is_silent_or_gone_is_unavailable() -> None:
    async with listening(Tor(0, reply=b"")) as proxy:
        with pytest.raises(Unavailable, match="did not answer in time"):
            await Outgoing(hosts={}, limits=OutgoingLimits(seconds_max=0.05), onion_proxy=proxy).get_json(URL)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Outgoing(hosts={}, onion_proxy=proxy).get_json(URL)


async def test_a_relay_of_tor_is_visited_through_the_proxy() -> None:
    async def relay(visitor: ServerConnection) -> None:
        await visitor.recv()
        await visitor.send(json.dumps(["OK", EVENT.id, True, ""]))
        await visitor.wait_closed()

    async with serve(relay, "127.0.0.1", 0) as server:
        tor = Tor(next(iter(server.sockets)).getsockname()[1])
        async with listening(tor) as proxy:
            ours = KeyPair(b"\x03" * 32)
            visitor = Visitor(hosts={}, keypair=ours, make_key=lambda: ours, clock=SetClock(1), onion_proxy=proxy)
            assert (await visitor.publish(f"ws://{ONION}/", EVENT)).accepted
    assert tor.asked == [(ONION, 80)]


async def test_a_relay_of_tor_that_the_operator_names_is_reached_through_the_proxy() -> None:
    """The services of `relays:` stay connected; only those of Tor go this way, and without a proxy none does."""

    async def relay(client: ServerConnection) -> None:
        await client.wait_closed()

    async with serve(relay, "127.0.0.1", 0) as server:
        tor = Tor(next(iter(server.sockets)).getsockname()[1])
        async with listening(tor) as proxy:
            here = f"ws://127.0.0.1:{tor.behind}"
            data = {
                "relays": [f"ws://{ONION}/", here],
                "outgoing": {"onion_proxy": f"socks5://{proxy.host}:{proxy.port}"},
            }
            bot = SimpleNamespace(config=parse_config(data, config_dir=Path("/")), service=KeyPair(b"\x03" * 32))
            made = connections(cast("Bot", bot), jitter=lambda: 0.0)
            running = [asyncio.create_task(connection.run()) for connection in made.values()]
            async with asyncio.timeout(10):
                for connection in made.values():
                    await connection.next_connection()
            for task in running:
                task.cancel()
            await asyncio.wait(running)
    assert list(made) == [f"ws://{ONION}/", here]
    assert tor.asked == [(ONION, 80)]
    with pytest.raises(Rejected, match="there is no proxy for them"):
        RelayConnection(f"ws://{ONION}/", jitter=lambda: 0.0)


async def test_a_proxy_that_is_gone_is_tried_again_as_a_relay_is() -> None:
    paused = asyncio.Event()

    async def pause(_seconds: float) -> None:
        paused.set()
        await asyncio.Future()

    gone = Proxy("127.0.0.1", 1)
    connection = RelayConnection(f"ws://{ONION}/", jitter=lambda: 0.0, pause=pause, onion_proxy=gone)
    running = asyncio.create_task(connection.run())
    async with asyncio.timeout(10):
        await paused.wait()
    running.cancel()
    await asyncio.wait({running})
