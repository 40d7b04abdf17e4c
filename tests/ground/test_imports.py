"""All libraries in one fresh interpreter, and floors that stay pure."""

from __future__ import annotations

import subprocess
import sys

import pytest

EVERYTHING = """
import aiohttp, aiosqlite, bolt11, click, coincurve, cryptography, msgspec, pydantic, pynostr
import pynostr.encrypted_dm, pynostr.event, pynostr.key, pytest_asyncio, rich, structlog, uvloop, websockets, yaml
from bolt11 import decode, encode
from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
from cryptography.hazmat.primitives.ciphers import algorithms
from pyln.client import LightningRpc, RpcError
from websockets.server import ServerProtocol

secret = PrivateKey(bytes(31) + b"\\x01")
signature = secret.sign_schnorr(bytes(32))
assert PublicKeyXOnly.from_secret(secret.secret).verify(signature, bytes(32))
pubkey = PublicKeyXOnly.from_secret(secret.secret).format().hex()
assert pynostr.key.PrivateKey(secret.secret).public_key.hex() == pubkey
assert pydantic.VERSION.startswith("2.")
assert sorted(msgspec.json.decode(b'{"b":1,"a":2}')) == ["a", "b"]
print("together")
"""

START = """
import relaybot.cli.service, sys
idle = {"asyncpg", "relaybot.demo", "relaybot.worker", "relaybot.db.backups", "rich.progress"} & set(sys.modules)
assert not idle, idle  # each costs every start, and few starts want it
print("together")
"""

OURS = """
import handlers, splits, wallet.accounts, wallet.book, wallet.ledger, wallet.money
import relaybot.clock, relaybot.db.sqlite, relaybot.errors, relaybot.lifecycle, relaybot.probe
import threading
assert threading.active_count() == 1, threading.enumerate()
print("together")
"""

PURE = """
import sys
before = set(sys.modules)  # whatever measures coverage is there already
import relaybot.errors, relaybot.lifecycle, wallet.accounts, wallet.ledger, wallet.money
reached = {"asyncio", "sqlite3", "socket", "random", "secrets", "logging", "aiosqlite"} & (set(sys.modules) - before)
assert not reached, reached
print("together")
"""


@pytest.mark.parametrize(
    "program", [EVERYTHING, OURS, START, PURE], ids=["the libraries", "our own", "the start", "the pure floors"]
)
def test_one_fresh_interpreter_imports_them_together_and_they_work(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, "together"), done.stderr


def test_coincurve_is_whole_although_two_distributions_install_it() -> None:
    # pyln-client brings coincurve-cp314-fix, which writes into the same package directory.
    program = "import coincurve; from coincurve import PublicKeyXOnly, GLOBAL_CONTEXT; import coincurve._libsecp256k1"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
