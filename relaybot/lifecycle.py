"""Life cycles as tables: (state, event) → next state; a missing pair raises and changes nothing.

The tables themselves stand beside the things that live: `handlers/states.py`,
`wallet/states.py`. Pictures in the docs are printed from them by `picture`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from relaybot.errors import IllegalStep

State = TypeVar("State", bound=Enum)
Step = TypeVar("Step", bound=Enum)


class Lifecycle(Generic[State, Step]):
    """One process's table of allowed steps."""

    def __init__(self, name: str, table: Mapping[tuple[State, Step], State]) -> None:
        """Take the whole `table`; `name` is used in errors and pictures."""
        self.name = name
        self.table = dict(table)

    def after(self, state: State, step: Step) -> State:
        """Return the state that follows; IllegalStep if the table has no such pair."""
        try:
            return self.table[state, step]
        except KeyError:
            raise IllegalStep(f"{self.name}: {step.value} is not possible in {state.value}") from None

    def allows(self, state: State, step: Step) -> bool:
        """Tell whether the table has this pair."""
        return (state, step) in self.table

    def picture(self) -> str:
        """Return the table as text, one line a pair, for the docs."""
        width = max(len(f"{state.value} --{step.value}") for state, step in self.table)
        return "\n".join(
            f"{f'{state.value} --{step.value}':<{width}}--> {following.value}"
            for (state, step), following in self.table.items()
        )
