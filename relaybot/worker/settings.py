"""What an operator decides about a compute node, checked once when it starts.

The command line and the demo fill it in; nothing here reads files or the environment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relaybot.errors import BadConfig
from relaybot.nostr.event import HEX32_LENGTH, is_hex
from relaybot.nostr.keys import KeyPair
from relaybot.nostr.nip89 import NOTHING
from relaybot.nostr.nip90 import REQUEST_KINDS
from relaybot.worker.model import ModelServer
from relaybot.worker.work import Work
from wallet.money import Msat

Chance = Callable[[int], bytes]  # so many random bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """A compute node: whom it works for, where, what it does. BadConfig names what is wrong."""

    relay_urls: tuple[str, ...]
    service_pubkey: str
    kinds: frozenset[int]
    keypair: KeyPair
    name: str
    state_dir: Path
    about: str = ""
    lud16: str | None = None  # where its earnings go; None: they stay with the service as balance
    command: tuple[str, ...] | None = None  # exactly one of these three
    model: ModelServer | None = None
    work: Work | None = None
    models: frozenset[str] = frozenset()  # that a job may ask for; none: any
    least_msat: Msat = NOTHING  # what a job must pay at least
    concurrency: int = 1  # jobs worked on at the same time
    queue_max: int = 64  # jobs claimed beyond these: the service sends some before it hears `busy`
    claim_after_seconds: float = 0.25  # a job that is done sooner needs no claim: its result says that we had it
    heartbeat_seconds: float = 300.0
    output_bytes_max: int = 32_768  # what a service takes unless its operator says otherwise

    def __post_init__(self) -> None:
        kinds_fit = bool(self.kinds) and all(kind in REQUEST_KINDS for kind in self.kinds)
        _require(bool(self.relay_urls), "relays", self.relay_urls, "one or more ws:// or wss:// URLs")
        _require(is_hex(self.service_pubkey, HEX32_LENGTH), "service", self.service_pubkey, "a public key in hex")
        _require(kinds_fit, "kinds", sorted(self.kinds), "one or more of 5000..5999")
        ways = [way for way in (self.command, self.model, self.work) if way is not None]
        _require(len(ways) == 1, "command", self.command, "a command, a model, or built-in work: one of them")
        _require(self.command != (), "command", self.command, "a program and its arguments")
        for name in ("concurrency", "queue_max", "heartbeat_seconds", "output_bytes_max"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        _require(self.claim_after_seconds >= 0, "claim_after_seconds", self.claim_after_seconds, "0 or more")


def _require(holds: bool, path: str, found: object, allowed: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise BadConfig(f"worker.{path}", found, allowed)
