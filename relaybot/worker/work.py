"""What the work of a compute node is to the node: a function from a job to a text, and how it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from relaybot.errors import RelaybotError
from relaybot.nostr.nip90 import JobRequest

Work = Callable[[JobRequest], Awaitable[str]]


class WorkFailed(RelaybotError):
    """The work cannot be done; its words go to the service, and from there to the customer."""
