"""One client's conversation with the relay, as a pure state machine: frame in, action out.

Here NIP-01's answers and the limits of one connection are decided, and what a client may
read. What an action needs (store, other connections, sockets, time) is the shell's: see
hub.py and connection.py. Further messages (NEG-OPEN) are further cases of `receive`.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from relaybot.errors import Rejected
from relaybot.nostr.event import Event
from relaybot.nostr.filters import Filter
from relaybot.nostr.messages import (
    Auth,
    ClientEvent,
    ClientMessage,
    Count,
    RejectedEvent,
    RejectedRequest,
    Req,
    build_notice,
    build_ok,
    parse_client_message,
)
from relaybot.nostr.nip42 import check_auth
from relaybot.relay.reading import NOBODY, readable
from relaybot.relay.settings import RelayLimits


class StoreEvent(Struct, frozen=True, gc=False):
    """Offer the event to the hub; its answer goes back as OK."""

    raw: bytes
    event: Event


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Send what is stored, EOSE, then what comes; a subscription of this id ends first."""

    sub_id: str
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End the subscription, if it is open; NIP-01 wants no answer."""

    sub_id: str


@dataclass(frozen=True, slots=True)
class RefuseSubscription:
    """Send CLOSED; a subscription of this id ends too, as the client now takes it for ended."""

    sub_id: str
    message: str


@dataclass(frozen=True, slots=True)
class CountEvents:
    """Send how many events meet any of the filters."""

    query_id: str
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Call `authenticate` with the challenge, and send what it returns."""

    event: Event


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text."""

    text: str


Action: TypeAlias = StoreEvent | Subscribe | Unsubscribe | RefuseSubscription | CountEvents | Authenticate | Send


class Session:
    """What the relay remembers of one connection: open subscriptions, and whose it has shown to be."""

    __slots__ = ("_limits", "_open", "keys")

    def __init__(self, limits: RelayLimits) -> None:
        self._limits = limits
        self._open: set[str] = set()
        self.keys = NOBODY  # NIP-42: of the connection's clients, all of them for all messages

    def receive(self, frame: bytes) -> Action:
        """Return what is to be done about one frame of the client; never raises."""
        try:
            message = parse_client_message(frame)
        except RejectedEvent as rejected:
            # NIP-01: OK names an event; without a readable id there is only NOTICE
            said = str(rejected)
            return Send(build_ok(rejected.event_id, False, said) if rejected.event_id else build_notice(said))
        except RejectedRequest as rejected:
            return self._refuse(rejected.sub_id, rejected)
        except Rejected as rejected:
            return Send(build_notice(str(rejected)))
        return self._action(message)

    def _action(self, message: ClientMessage) -> Action:
        if isinstance(message, ClientEvent):
            return StoreEvent(message.raw, message.event)
        if isinstance(message, Req):
            return self._subscribe(message.sub_id, message.filters)
        if isinstance(message, Count):
            return self._count(message.query_id, message.filters)
        if isinstance(message, Auth):
            return Authenticate(message.event)
        self._open.discard(message.sub_id)
        return Unsubscribe(message.sub_id)

    def ended(self, sub_id: str) -> None:
        """Note that the relay itself ended a subscription (CLOSED was sent)."""
        self._open.discard(sub_id)

    def authenticate(self, event: Event, challenge: str | None, known_as: AbstractSet[str], now: int) -> str:
        """Note whose the connection is, too, if the event shows it; return the OK. Open subscriptions stay as they are.

        `challenge` is what was sent, None if nothing was; `known_as` are the relay's names.
        """
        try:
            check_auth(event, challenge=challenge, known_as=known_as, now=now)
            self._add(event.pubkey)
        except Rejected as rejected:
            return build_ok(event.id, False, str(rejected))
        return build_ok(event.id, True, "")

    def _add(self, key: str) -> None:
        keys = self.keys | {key}
        if len(keys) > self._limits.keys_max:
            raise Rejected("restricted", "too many keys on one connection", allowed=self._limits.keys_max)
        self.keys = keys

    def _subscribe(self, sub_id: str, filters: tuple[Filter, ...]) -> Action:
        limits = self._limits
        if sub_id not in self._open and len(self._open) >= limits.subscriptions_max:
            return self._refuse(sub_id, Rejected("error", "too many subscriptions", allowed=limits.subscriptions_max))
        try:
            asked = self._readable(filters)
        except Rejected as rejected:
            return self._refuse(sub_id, rejected)
        self._open.add(sub_id)
        return Subscribe(sub_id, tuple([self._with_limit(filter_) for filter_ in asked]))

    def _count(self, query_id: str, filters: tuple[Filter, ...]) -> Action:
        try:
            asked = self._readable(filters)
        except Rejected as rejected:
            return self._refuse(query_id, rejected)
        # `limit` bounds what is sent; nothing is sent here
        return CountEvents(query_id, tuple([replace(filter_, limit=None) for filter_ in asked]))

    def _readable(self, filters: tuple[Filter, ...]) -> Sequence[Filter]:
        limits = self._limits
        if limits.auth_required and not self.keys:
            raise Rejected("auth-required", "this relay is for those who AUTH")
        if len(filters) > limits.filters_max:
            raise Rejected("invalid", "too many filters", found=len(filters), allowed=limits.filters_max)
        values = sum([_count_values(filter_) for filter_ in filters])
        if values > limits.filter_values_max:
            raise Rejected("invalid", "too many values in filters", found=values, allowed=limits.filter_values_max)
        return readable(filters, self.keys) if limits.wraps_to_recipients_only else filters

    def _refuse(self, sub_id: str, rejected: Rejected) -> RefuseSubscription:
        self._open.discard(sub_id)
        return RefuseSubscription(sub_id, str(rejected))

    def _with_limit(self, filter_: Filter) -> Filter:
        # NIP-11: max_limit clamps, default_limit stands in
        wanted = self._limits.limit_default if filter_.limit is None else filter_.limit
        allowed = min(wanted, self._limits.limit_max)
        return filter_ if allowed == filter_.limit else replace(filter_, limit=allowed)


def _count_values(filter_: Filter) -> int:
    lists = (filter_.ids, filter_.authors, filter_.kinds, *filter_.tags.values())
    return sum([len(values) for values in lists if values is not None])
