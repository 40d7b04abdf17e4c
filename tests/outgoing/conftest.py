"""Loopback servers that answer with scripted bytes, a name server of ours, and sockets that are led astray."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "wallet.example"
PUBLIC = "93.184.216.34"


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Server:
    """Answers every request with `reply`; with `hang`, keeps the connection open afterwards and says nothing more."""

    def __init__(self) -> None:
        self.reply = answer(b'{"ok":true}')
        self.hang = False
        self.heads: list[str] = []
        self.port = 0

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.reply)
            await writer.drain()
            while self.hang and await reader.read(1):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):  # the client went away, as some tests want
            pass
        finally:
            writer.close()


async def _serving(server: Server, tls: ssl.SSLContext | None) -> AsyncIterator[Server]:
    listening = await asyncio.start_server(server.on_connection, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


@pytest.fixture
async def plain() -> AsyncIterator[Server]:
    async for server in _serving(Server(), None):
        yield server


@pytest.fixture
async def secure(certificate: Path) -> AsyncIterator[Server]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async for server in _serving(Server(), tls):
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate for HOST, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    today = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def trust(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


class Names:
    """A name server: answers each question with the next of its answers, and counts the questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


class _Diverted(socket.socket):
    """A socket that notes where it is sent and goes to a loopback port instead (a v6 one: nowhere)."""

    visited: list[str]
    real_port: int

    def connect(self, address: object) -> None:
        assert isinstance(address, tuple)
        self.visited.append(f"{address[0]}:{address[1]}")
        if self.family == socket.AF_INET6:
            raise ConnectionRefusedError
        super().connect(("127.0.0.1", self.real_port))


def diverting(visited: list[str], port: int) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    def connect(info: aiohttp.AddrInfoType) -> socket.socket:
        made = _Diverted(info[0], socket.SOCK_STREAM)
        made.visited, made.real_port = visited, port
        made.setblocking(False)
        return made

    return connect
