"""What the operator must look at: a part of the service that stands still, and why.

An alarm is raised and cleared by whoever finds the trouble, each time it looks; the log has
one line for each change. While one stands, `/readyz` says that the service is not ready.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

log = structlog.get_logger()


class Alarms:
    """All alarms of one process, by name."""

    def __init__(self) -> None:
        self._standing: dict[str, str] = {}

    @property
    def standing(self) -> Mapping[str, str]:
        """Return why each alarm that stands was raised."""
        return dict(self._standing)

    def report(self, name: str, problem: str | None) -> None:
        """Raise the alarm `name` because of `problem`; None clears it."""
        before = self._standing.get(name)
        if problem is None:
            if self._standing.pop(name, None) is not None:
                log.info("alarm_over", alarm=name)
        elif problem != before:
            self._standing[name] = problem
            log.error("alarm", alarm=name, problem=problem)
