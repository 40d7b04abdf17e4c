"""What the work of a compute node is to the node: a function from a job to a text, and how it fails.

A program of the operator's is one such function (`relaybot/worker/command.py`). None of
them knows relays, leases or encryption.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from relaybot.errors import RelaybotError
from relaybot.nostr.nip90 import JobRequest

Work = Callable[[JobRequest], Awaitable[str]]


class WorkFailed(RelaybotError):
    """The work cannot be done; its words go to the service, and from there to the customer."""
