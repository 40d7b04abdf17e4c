"""What processes of the tests find around them."""

from __future__ import annotations

import os


def untraced() -> dict[str, str]:
    """Return the environment for a process whose lines other tests run: to trace them doubles its time."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "RELAYBOT_"))}
