"""What the tests of this area share: the desk of the payouts, with a window before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.payouts.conftest import clock, data_dir, desk, life, network
from tests.payouts.desk import Life
from tests.withdrawals.window import Window

__all__ = ["clock", "data_dir", "desk", "life", "network"]


@pytest.fixture
def window(life: Life, tmp_path: Path) -> Window:
    return Window(life, tmp_path)
