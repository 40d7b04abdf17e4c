"""The section `relay` of config.yaml: where our own relay listens, what it takes, what it serves, what it keeps.

As in sections.py, nothing here acts on a value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from relaybot.settings.values import (
    YEAR_SECONDS,
    AddressRange,
    Contributor,
    Count,
    DataPath,
    KindRange,
    RelayUrl,
    Seconds,
    refused,
)
from splits.model import Text, Written

Host = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Span = Annotated[int, Field(ge=0, le=20 * YEAR_SECONDS)]  # of seconds
Often = Annotated[int, Field(ge=0, le=1_000_000_000)]
Kinds = Annotated[tuple[KindRange, ...], Field(max_length=1_000)]
Keys = Annotated[tuple[Contributor, ...], Field(max_length=100_000)]


class RetentionModel(Written):
    """How long events of some kinds are kept, and how many of each kind."""

    kinds: Annotated[Kinds, Field(min_length=1)]
    days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    events_max: Count | None = None

    @model_validator(mode="after")
    def _bounded(self) -> RetentionModel:
        if self.days is None and self.events_max is None:
            raise refused("days, events_max, or both")
        return self


class Relay(Written):
    """Our own relay: where it listens, what NIP-11 says of it, and what a stranger can make it hold."""

    host: Host = "127.0.0.1"  # this machine only: the world is let in on purpose
    port: Annotated[int, Field(ge=0, le=65_535)] = 7447  # 0 takes any free one
    url: RelayUrl | None = None
    description: Text = "The relay of a payment bot"
    contact: Annotated[str, StringConstraints(max_length=200)] = ""
    database: DataPath = Path("relay.sqlite3")

    # What one frame may carry
    message_bytes_max: Count = 131_072  # a contact list of 1,500 keys has about 110,000
    content_characters_max: Count = 65_536  # long articles have less
    tags_max: Count = 2_000  # each single-letter tag costs a row
    future_seconds: Seconds = 900  # clocks of phones are minutes off
    past_seconds: Span = 0  # 0 takes any date: people move their history here
    pow_bits_min: Annotated[int, Field(ge=0, le=64)] = 0  # 20 cost a phone seconds, for each event

    # Who may write what, and who may read what
    kinds_allowed: Kinds = ()  # empty: all but those refused
    kinds_refused: Kinds = ()
    kinds_of_members: Kinds = ()  # only keys with an account here write them
    authors_allowed: Keys = ()  # empty: everybody but those denied
    authors_denied: Keys = ()
    auth_required: bool = False  # clients that never AUTH exist
    wraps_to_recipients_only: bool = True  # else anybody sees who is written to, and when

    # What one connection may ask for, and keep waiting
    subscriptions_max: Count = 64  # busy clients use about 30
    filters_max: Count = 20  # in one REQ
    filter_values_max: Count = 2_000  # in one REQ: a feed of 1,000 follows fits twice
    limit_max: Count = 500  # stored events one filter returns; more is fetched with `until`
    unanswered_max: Count = 512  # frames being worked on; beyond, reading from that connection stops
    unsent_bytes_max: Count = 8_388_608  # what a slow reader leaves with us before it is dropped
    query_seconds: Seconds = 5  # indexed queries need milliseconds

    # How long a connection may be silent
    handshake_seconds: Seconds = 10  # a request's head fits into one packet
    ping_seconds: Seconds = 30  # middle boxes forget a connection after 60
    idle_seconds: Seconds = 90  # three pings
    stalled_seconds: Seconds = 60  # a reader that takes nothing for so long is gone

    # What all of them may hold together
    connections_max: Count = 5_000  # the limit of file descriptors (ulimit -n) must allow it

    # What one address or key may do, 0 for any number; this machine's own addresses are not counted
    connections_per_address_max: Often = 100  # a household, a small company
    events_per_address_minute_max: Often = 1_200  # somebody moves a history here
    events_per_key_minute_max: Often = 600  # the same, over many addresses
    requests_per_address_minute_max: Often = 1_200  # a client opens some 30 subscriptions at its start
    trusted_proxies: Annotated[tuple[AddressRange, ...], Field(max_length=100)] = ()

    # What goes by itself, beside what has expired and what its author deletes
    retention: Annotated[tuple[RetentionModel, ...], Field(max_length=100)] = ()

    @property
    def public_url(self) -> str:
        """The address that others are told: `url`, else host and port as they are."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"ws://{host}:{self.port}"
