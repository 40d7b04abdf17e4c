"""What the operator must look at: what is wrong with the service or its node, and why.

An alarm is raised and cleared by whoever finds the trouble, each time it looks; the log has
one line for each change. While one stands that stops a part of the service, `/readyz` says
that the service is not ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from relaybot.figures import Figure

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Alarm:
    problem: str
    stops: bool


class Alarms:
    """All alarms of one process, by name."""

    def __init__(self) -> None:
        self._standing: dict[str, _Alarm] = {}
        self.figures: dict[str, list[Figure]] = {}  # what whoever looks has found, by name, for the monitoring

    @property
    def standing(self) -> Mapping[str, str]:
        """Return why each alarm that stands was raised."""
        return {name: alarm.problem for name, alarm in self._standing.items()}

    @property
    def is_stopped(self) -> bool:
        """Tell whether a part of the service stands still."""
        return any(alarm.stops for alarm in self._standing.values())

    def note(self, *figures: Figure) -> None:
        """Keep what was found at a look, in place of what the last one found under the same names."""
        self.figures |= {one.name: [] for one in figures}
        for one in figures:
            self.figures[one.name].append(one)

    def report(self, name: str, problem: str | None, *, stops: bool = True) -> None:
        """Raise the alarm `name` because of `problem`; None clears it. What it is about `stops`, or goes on."""
        before = self._standing.get(name)
        if problem is None:
            if self._standing.pop(name, None) is not None:
                log.info("alarm_over", alarm=name)
        elif before is None or problem != before.problem:
            self._standing[name] = _Alarm(problem, stops)
            log.error("alarm", alarm=name, problem=problem)
