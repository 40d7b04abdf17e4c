"""What processes of the tests find around them."""

from __future__ import annotations

import os
import secrets

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(8))[:16]  # one name in all processes of a run


def inherited() -> dict[str, str]:
    """Return our environment, without settings that a machine has for a service of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RELAYBOT_")}


def untraced() -> dict[str, str]:
    """Return it for a process whose lines other tests run: to trace them doubles its time."""
    return {name: value for name, value in inherited().items() if not name.startswith("COVERAGE")}
