"""What the work of a compute node is to the node: a function from a job to a text, and how it fails.

A program of the operator's is one such function (`relaybot/worker/command.py`), a model
behind an OpenAI-compatible server another (`relaybot/worker/model.py`). None of them knows
relays, leases or encryption.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from relaybot.errors import RelaybotError
from relaybot.nostr.nip90 import JobRequest


@dataclass(frozen=True, slots=True)
class Done:
    """A job's result; `usage` is what it took, by unit (`tokens`, say), for prices that are metered."""

    text: str
    usage: Mapping[str, int] = field(default_factory=dict)


Say = Callable[[str], Awaitable[None]]  # pass a piece of the result on before it is whole; it may get lost
Work = Callable[[JobRequest, Say], Awaitable[Done]]


class WorkFailed(RelaybotError):
    """The work cannot be done; its words go to the service, and from there to the customer."""
