"""An office on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.book.conftest import new_store, store
from tests.book.stores import Store
from tests.companies.office import Office, an_office, config

__all__ = ["new_store", "store"]


@pytest.fixture
async def office(store: Store, tmp_path: Path) -> AsyncIterator[Office]:
    async with an_office(store, config(tmp_path)) as office:
        yield office
