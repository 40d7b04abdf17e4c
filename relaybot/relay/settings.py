"""What an operator may set about the relay: its words (NIP-11) and its limits.

Plain data with defaults, each with its unit and its reason; the configuration maps onto
it, rules and server read it. Nothing here checks or does anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

AUTH_KIND = 22_242  # NIP-42: signed for one connection, so nothing to hand on to others


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds on everything a stranger can make the relay hold or do."""

    # What one frame may carry. NIP-11 publishes these.
    message_bytes_max: int = 131_072  # bytes of one frame; a contact list of 1,500 keys has about 110,000
    content_characters_max: int = 65_536  # characters; long articles have less
    tags_max: int = 2_000  # tags of one event; each single-letter one costs a row
    kinds_refused: frozenset[int] = frozenset({AUTH_KIND})
    future_seconds: int = 900  # seconds ahead of our clock; clocks of phones are minutes off

    # What one connection may ask for. NIP-11 publishes these.
    subscriptions_max: int = 64  # open at once; busy clients use about 30
    filters_max: int = 20  # filters of one REQ
    filter_values_max: int = 2_000  # ids, keys, kinds and tag values of one REQ together; a feed of 1,000 follows fits
    limit_max: int = 500  # stored events one filter returns; more is fetched with `until`
    limit_default: int = 500  # where a filter names none

    # What one connection may keep waiting.
    unanswered_max: int = 512  # frames being worked on; beyond, we stop reading from this connection
    unsent_bytes_max: int = 8_388_608  # bytes a slow reader may leave with us before it is dropped
    query_seconds: float = 5.0  # time of one query; indexed ones need milliseconds

    # How long a connection may be silent, in seconds.
    handshake_seconds: float = 10.0  # until the request is complete
    ping_seconds: float = 30.0  # silence after which we ask whether somebody is there; middle boxes forget after 60
    idle_seconds: float = 90.0  # silence, pings included, after which the connection is closed
    stalled_seconds: float = 60.0  # how long a reader may take nothing while we have something for it
    close_seconds: float = 5.0  # for the closing handshake, and for what is unsent when the relay stops

    # What all of them may hold together.
    connections_max: int = 5_000  # open sockets; the usual limit of file descriptors must allow it
    request_bytes_max: int = 16_384  # bytes of an HTTP request's head


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """The relay as NIP-11 describes it; empty words are left out."""

    name: str = "relaybot"
    description: str = ""
    pubkey: str = ""  # the operator's, hex
    self_pubkey: str = ""  # the relay's own, hex
    contact: str = ""  # a URI: mailto:, https:, nostr:
    limits: RelayLimits = field(default_factory=RelayLimits)
