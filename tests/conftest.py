"""Whether the tests stand on simulated nodes, or on real ones: `make test` and `make test-cln`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.postgres import drop_books
from tests.regtest.rig import Rig, installed

REAL = "--real-nodes"
UNTRACED = (  # they run whole stories, or one line a thousand times; the tests of each part run every line, traced
    "tests/account/test_openapi.py",
    "tests/batches/test_killed.py",
    "tests/book/test_machine.py",
    "tests/browser/",
    "tests/flows/test_attacks.py",
    "tests/flows/test_hostile.py",
    "tests/fuzz/",
    "tests/payouts/test_killed.py",
    "tests/payouts/test_random_days.py",
    "tests/relay/test_naive.py",
    "tests/relay/test_queries.py::test_the_store_gives_the_naive_answer",
    "tests/settlements/test_killed.py",
    "tests/simulator/test_stories.py",
    "tests/splits/test_random_splits.py",
)

# No test is judged by the clock: a machine may be busy.
settings.register_profile("relaybot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("relaybot")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(REAL, action="store_true", help="run what a real Core Lightning node must do, on real ones")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(REAL) and installed() is None:
        pytest.exit("skipped: there is no lightningd on the PATH (docs/testing.md)", returncode=0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On real nodes, leave out what needs none. To trace lines nearly doubles a test's time: once is enough for each.

    For coverage SQLite stands for both databases.
    """
    for item in items:
        if "postgresql" in item.name or item.nodeid.startswith(UNTRACED):
            item.add_marker("no_cover")
    if config.getoption(REAL):
        left_out = [item for item in items if "real_rig" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Drop the books that a test has made in PostgreSQL, and forget where a command of it has sent the log."""
    yield
    drop_books()
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def real_rig(request: pytest.FixtureRequest) -> Iterator[Rig | None]:
    """The real nodes, which all tests share; None where the simulator takes their place."""
    if not request.config.getoption(REAL):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="cln-", ignore_cleanup_errors=True) as directory:
        rig = Rig(Path(directory))
        try:
            asyncio.run(rig.start())
            yield rig
        finally:
            rig.stop()


@pytest.fixture
def rig(real_rig: Rig | None) -> Rig:
    """The real nodes, for tests that say nothing about simulated ones."""
    if real_rig is None:
        pytest.skip("on real nodes only: make test-cln")
    return real_rig
