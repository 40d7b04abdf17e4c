"""What an operator may set about the relay: its words (NIP-11) and its limits.

Plain data with defaults, each with its unit and its reason; the configuration maps onto
it, rules and server read it. Nothing here checks or does anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relaybot.nostr.nip42 import AUTH_KIND
from relaybot.relay.proxies import Network


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds on everything a stranger can make the relay hold or do."""

    # What one frame may carry. NIP-11 publishes these.
    message_bytes_max: int = 131_072  # bytes of one frame; a contact list of 1,500 keys has about 110,000
    content_characters_max: int = 65_536  # characters; long articles have less
    tags_max: int = 2_000  # tags of one event; each single-letter one costs a row
    future_seconds: int = 900  # seconds ahead of our clock; clocks of phones are minutes off
    past_seconds: int = 0  # seconds behind our clock, 0 for any: old events are moved between relays
    pow_bits_min: int = 0  # leading zero bits of an id

    # Who may write what, and read what. Empty: no such rule.
    kinds_allowed: frozenset[int] = frozenset()
    kinds_refused: frozenset[int] = frozenset({AUTH_KIND})
    kinds_of_members: frozenset[int] = frozenset()  # only keys with an account write these
    authors_allowed: frozenset[str] = frozenset()  # keys in hex
    authors_denied: frozenset[str] = frozenset()
    auth_required: bool = False  # for everything
    wraps_to_recipients_only: bool = True  # NIP-59: to protect who writes to whom

    # What one connection may ask for. NIP-11 publishes these.
    subscriptions_max: int = 64  # open at once; busy clients use about 30
    filters_max: int = 20  # filters of one REQ
    filter_values_max: int = 2_000  # ids, keys, kinds and tag values of one REQ together; a feed of 1,000 follows fits
    limit_max: int = 500  # stored events one filter returns; more is fetched with `until`
    limit_default: int = 500  # where a filter names none
    keys_max: int = 20  # a connection may AUTH with; a person has a few

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
    request_bytes_max: int = 24_576  # bytes of an HTTP request's head: a zap request of 16 KB travels in a URL

    # What one address or key may do, 0 for any number. This machine's own addresses are not counted.
    connections_per_address_max: int = 100  # a household or a small company behind one address
    events_per_address_minute_max: int = 1_200  # a client that moves its history here sends 20 a second
    events_per_key_minute_max: int = 600  # the same, for a key behind many addresses
    requests_per_address_minute_max: int = 1_200  # REQ and COUNT; a client opens some 30 at its start
    trusted_proxies: tuple[Network, ...] = ()  # whose word on a client's address counts


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """The relay as NIP-11 describes it; empty words are left out."""

    name: str = "relaybot"
    description: str = ""
    pubkey: str = ""  # the operator's, hex
    self_pubkey: str = ""  # the relay's own, hex
    contact: str = ""  # a URI: mailto:, https:, nostr:
    icon: str = ""  # a URL
    url: str = ""  # the address that others are told
    limits: RelayLimits = field(default_factory=RelayLimits)
